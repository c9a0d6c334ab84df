/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenClassificationTask: `type: token_classification`: a class of each token, such as the secondary structure of each
 * residue. A label that is ignored, and the special tokens, are neither learned nor counted.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/windows.h"
#include "model/headed_model.h"
#include "model/sharding.h"
#include "task/class_names.h"
#include "task/examples.h"
#include "task/kinds.h"
#include "task/metric_table.h"

typedef struct TokenConfig {
    TsDataConfig data;
    TsChoice adapter;
    TsList classes, ignored;
    bool words;
    double smoothing;
} TokenConfig;

static const TsKey keys[] = {
    TS_KEY_STRUCT(TokenConfig, data, &ts_data_table, "examples: columns text and labels, one for each token"),
    TS_KEY_CHOICE(TokenConfig, adapter, &ts_adapters, "from hidden states to classes", .fallback = "linear"),
    TS_KEY_LIST(TokenConfig, classes, TS_ELEMENT(TS_KIND_STRING),
                "in their order; left out: those that the training data have"),
    TS_KEY_LIST(TokenConfig, ignored, TS_ELEMENT(TS_KIND_STRING), "labels that do not count"),
    TS_KEY_BOOL(TokenConfig, words, "labels are words with data.separator between; else single bytes",
                .fallback = "false"),
    TS_KEY_REAL(TokenConfig, smoothing, "of labels", .fallback = "0", .range = TS_FROM_TO(0, 1)),
    TS_KEYS_END};
const TsConfigTable ts_token_classification_task_table = {"token_classification_task", "The class of each token.",
                                                          sizeof(TokenConfig), keys, NULL};

typedef struct TokenTask {
    TsExamples examples;
    TsHeadedModel model;
    const TokenConfig *config;
    TsClassNames *classes; /* owned */
    double *counts;        /* (classes) in the training data */
    int text, labels;      /* columns */
} TokenTask;

enum { TOKENS, SEEN, LABELS };

static const TsRowColumn columns[] = {
    {"tokens", TS_I32, TS_ROW_LENGTH}, {"seen", TS_BOOL, TS_ROW_LENGTH}, {"labels", TS_I32, TS_ROW_LENGTH}};

/* ---- labels ---- */

/* The labels of an example, one after the other. */
typedef struct Reader {
    TsField cell;
    size_t at;
} Reader;

static bool next_label(const TokenTask *own, Reader *reader, TsField *label)
{
    if (reader->at >= reader->cell.bytes)
        return false;
    const char *begin = reader->cell.text + reader->at;
    size_t left = reader->cell.bytes - reader->at, bytes = 1;
    if (own->config->words) {
        const char *end = memchr(begin, own->config->data.separator[0], left);
        bytes = end ? (size_t)(end - begin) : left;
    }
    *label = (TsField){begin, bytes};
    reader->at += bytes + own->config->words;
    return true;
}

static bool is_ignored(const TokenTask *own, TsField label)
{
    for (int64_t i = 0; i < own->config->ignored.count; i++) {
        const char *word = ((const char *const *)own->config->ignored.items)[i];
        if (strlen(word) == label.bytes && memcmp(word, label.text, label.bytes) == 0)
            return true;
    }
    return false;
}

static Reader labels_of(const TokenTask *own, int64_t example)
{
    return (Reader){.cell = ts_dataset_text(own->examples.dataset, own->labels, example)};
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TokenTask *own = examples->own;
    int32_t *labels = row[LABELS];
    ts_examples_put_text(examples, own->text, row[TOKENS], row[SEEN], length, draw.example);
    for (int64_t i = 0; i < length; i++)
        labels[i] = TS_LABEL_IGNORED;
    if (draw.example < 0)
        return;
    Reader reader = labels_of(own, draw.example);
    TsField label;
    int32_t end = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END);
    for (int64_t i = ts_examples_before(examples); i < length && next_label(own, &reader, &label); i++) {
        bool cut = end >= 0 && ((int32_t *)row[TOKENS])[i] == end; /* the text was cut: the end stands there */
        labels[i] = cut || is_ignored(own, label) ? TS_LABEL_IGNORED
                                                  : ts_class_names_find(own->classes, label.text, label.bytes);
    }
}

static int64_t tokens(const TsExamples *examples, int64_t example)
{
    return ts_examples_text_tokens(examples, ((const TokenTask *)examples->own)->text, example);
}

static TsStatus check_labels(const TsExamples *examples, int64_t example)
{
    const TokenTask *own = examples->own;
    Reader reader = labels_of(own, example);
    TsField label;
    int64_t count = 0, expected = ts_dataset_tokens(examples->dataset, own->text, example, NULL, 0);
    for (; next_label(own, &reader, &label); count++)
        if (!is_ignored(own, label) && ts_class_names_find(own->classes, label.text, label.bytes) < 0)
            return ts_dataset_error(examples->dataset, example,
                                    "the label \"%.*s\" of token %lld is none of the "
                                    "%lld classes%s",
                                    (int)(label.bytes < 60 ? label.bytes : 60), label.text, (long long)count,
                                    (long long)ts_class_names_count(own->classes),
                                    own->config->classes.count ? "" : " of the training data");
    if (count != expected)
        return ts_dataset_error(examples->dataset, example, "%lld labels for %lld tokens", (long long)count,
                                (long long)expected);
    return TS_OK;
}

/* Those that are given, or those of the training data; then how often each occurs there. Collective. */
static TsStatus find_classes(TokenTask *own)
{
    const TsList *given = &own->config->classes;
    TsGroup *group = own->examples.setting->group;
    const TsSplit *split = &own->examples.part[TS_PART_TRAIN].split;
    int64_t begin, end;
    TsField label;
    own->classes = ts_class_names_create();
    for (int64_t i = 0; i < given->count; i++) {
        const char *name = ((const char *const *)given->items)[i];
        ts_class_names_add(own->classes, name, strlen(name));
    }
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end && given->count == 0; i++)
        for (Reader reader = labels_of(own, ts_split_example(split, i)); next_label(own, &reader, &label);)
            if (!is_ignored(own, label))
                ts_class_names_add(own->classes, label.text, label.bytes);
    if (given->count == 0)
        ts_class_names_gather(own->classes, group);
    own->model.outputs = ts_class_names_count(own->classes);
    if (own->model.outputs == 0)
        return ts_config_error(own->examples.setting->config, &own->config->ignored, "no label is left to learn");
    TS_TRY(ts_examples_check(&own->examples, check_labels));
    own->counts = ts_calloc((size_t)own->model.outputs, sizeof *own->counts);
    for (int64_t i = begin; i < end; i++)
        for (Reader reader = labels_of(own, ts_split_example(split, i)); next_label(own, &reader, &label);)
            if (!is_ignored(own, label))
                own->counts[ts_class_names_find(own->classes, label.text, label.bytes)]++;
    ts_metric_sum(own->counts, own->model.outputs, group);
    return TS_OK;
}

/* ---- the kind ---- */

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    static const TsColumnSpec specs[] = {{"text", TS_CELL_TOKENS, false}, {"labels", TS_CELL_TEXT, false}};
    TokenTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = setting->keys;
    own->examples.own = own;
    own->examples.collate = collate;
    own->examples.tokens = tokens;
    own->examples.columns = columns;
    own->examples.column_count = sizeof columns / sizeof *columns;
    own->model = (TsHeadedModel){.backbone = *(const TsTransformer *)setting->backbone->value,
                                 .name = setting->name,
                                 .adapter = own->config->adapter,
                                 .objective = TS_OBJECTIVE_CLASSES,
                                 .smoothing = own->config->smoothing};
    own->model.backbone.vocab = setting->vocab;
    TS_TRY(ts_kind_check_adapter(setting, &own->config->adapter, TS_ADAPTER_TOKENS));
    TS_TRY(ts_examples_open(&own->examples, setting, &own->config->data, specs, 2));
    if (setting->without_data)
        return TS_OK;
    own->text = ts_dataset_column(own->examples.dataset, "text");
    own->labels = ts_dataset_column(own->examples.dataset, "labels");
    TS_TRY(find_classes(own));
    ts_examples_load(&own->examples, task);
    task->sample = ts_examples_sample(setting->mesh);
    task->model = &ts_headed_model;
    task->options = &own->model;
    task->observed = TS_OBSERVES_CLASSES;
    task->observed_width = own->model.outputs;
    return TS_OK;
}

static void release(TsTask *task)
{
    TokenTask *own = task->own;
    ts_examples_close(&own->examples);
    ts_class_names_free(&own->classes);
    ts_free(own->counts);
    ts_free(own);
}

static const TsChoice *tokenizer(const void *value)
{
    return &((const TokenConfig *)value)->data.tokenizer;
}

static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns_in)
{
    (void)scope;
    (void)task;
    (void)columns_in;
    ts_output("probabilities", ts_softmax(predictions), ts_batch_placement());
}

/* The probabilities of a row's tokens, (T, K); owned by the caller. */
static double *read_row(const TsBatch *given, int64_t row, int64_t *length)
{
    const TsArray *array = ts_batch_find(given, "probabilities");
    double *scores = ts_calloc((size_t)(array->shape.size[1] * array->shape.size[2]) + 1, sizeof *scores);
    *length = array->shape.size[1];
    ts_kind_read_row(scores, array, row);
    return scores;
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    const TokenTask *own = task->own;
    int64_t length, width = own->model.outputs;
    double *scores = read_row(given, row, &length);
    const int32_t *labels = (const int32_t *)ts_batch_find(batch, "labels")->data + row * length;
    for (int64_t i = 0; i < length; i++)
        if (labels[i] >= 0)
            ts_observations_add_class(observations, scores + i * width, labels[i]);
    ts_free(scores);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const TokenTask *own = task->own;
    int64_t length, width = own->model.outputs, before = ts_examples_before(&own->examples);
    double *scores = read_row(given, row, &length);
    const bool *seen = (const bool *)ts_batch_find(batch, "seen")->data + row * length;
    int64_t end = 0, behind = ts_tokenizer_special(own->examples.tokenizer, TS_SPECIAL_END) >= 0;
    TsText text = {0};
    while (end < length && seen[end])
        end++;
    for (int64_t i = before; i < end - behind; i++) {
        int64_t best = 0;
        for (int64_t c = 1; c < width; c++)
            best = scores[i * width + c] > scores[i * width + best] ? c : best;
        if (own->config->words && i > before)
            ts_text_append_bytes(&text, own->config->data.separator, 1);
        ts_text_append(&text, "%s", ts_class_names_at(own->classes, best));
    }
    json_object_set_new(cells, "labels", json_string(text.data ? text.data : ""));
    ts_text_free(&text);
    ts_free(scores);
}

/* The class that most tokens of the training data have. */
static void baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    const TokenTask *own = task->own;
    int64_t majority = 0, begin, end;
    TsPart part = data == task->test ? TS_PART_TEST : data == task->validation ? TS_PART_VALIDATION : TS_PART_TRAIN;
    const TsSplit *split = &own->examples.part[part].split;
    TsField label;
    double right[2] = {0};
    for (int64_t c = 1; c < own->model.outputs; c++)
        majority = own->counts[c] > own->counts[majority] ? c : majority;
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        for (Reader reader = labels_of(own, ts_split_example(split, i)); next_label(own, &reader, &label);)
            if (!is_ignored(own, label)) {
                right[0] += ts_class_names_find(own->classes, label.text, label.bytes) == majority;
                right[1]++;
            }
    ts_metric_sum(right, 2, group);
    ts_scores_add(scores, "majority/accuracy", ts_metric_scalar(right[0] / right[1], right[1]));
}

const TsTaskKind ts_token_classification_task = {.needs = (const char *const[]){"text", "labels", NULL},
                                                 .tokenizer = tokenizer,
                                                 .configure = configure,
                                                 .release = release,
                                                 .give_out = give_out,
                                                 .observe = observe,
                                                 .predict = predict,
                                                 .baseline = baseline};
