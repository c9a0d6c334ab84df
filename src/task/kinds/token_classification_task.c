/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenClassificationTask: `type: token_classification`: a class of each token, such as the secondary structure of each
 * residue. A label that is ignored, and the special tokens, are neither learned nor counted.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/windows.h"
#include "task/kinds/kinds.h"
#include "task/kinds/labelled_task.h"

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
    TsLabelledTask labelled; /* the first */
    const TokenConfig *config;
} TokenTask;

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    int32_t *classes = row[TS_LABELLED_LABELS];
    for (int64_t i = 0; i < length; i++)
        classes[i] = TS_LABEL_IGNORED;
    if (draw.example < 0 || labelled->label < 0)
        return;
    TsLabels labels = ts_labelled_labels(labelled, draw.example);
    TsField label;
    int32_t end = ts_tokenizer_special(examples->tokenizer, TS_SPECIAL_END);
    for (int64_t i = ts_examples_before(examples); i < length && ts_labels_next(&labels, &label); i++) {
        bool cut =
            end >= 0 && ((int32_t *)row[TS_LABELLED_TOKENS])[i] == end; /* the text was cut: the end stands there */
        classes[i] =
            cut || ts_labelled_ignores(labelled, label) ? TS_LABEL_IGNORED : ts_labelled_class(labelled, label);
    }
}

static TsStatus check(const TsExamples *examples, int64_t example)
{
    const TsLabelledTask *labelled = examples->own;
    TsLabels labels = ts_labelled_labels(labelled, example);
    int64_t count = 0, expected = ts_dataset_tokens(examples->dataset, labelled->text, example, NULL, 0);
    for (TsField label; ts_labels_next(&labels, &label); count++)
        if (!ts_labelled_ignores(labelled, label) && ts_labelled_class(labelled, label) < 0) {
            char *where = ts_format(" of token %lld", (long long)count);
            TsStatus status = ts_labelled_unknown(labelled, example, label, where);
            ts_free(where);
            return status;
        }
    if (count != expected)
        return ts_dataset_error(examples->dataset, example, "%lld labels for %lld tokens", (long long)count,
                                (long long)expected);
    return TS_OK;
}

static TsRowColumn label_column(const TsTask *task)
{
    (void)task;
    return (TsRowColumn){"labels", TS_I32, TS_ROW_LENGTH};
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const TokenConfig *config = setting->keys;
    TokenTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = config;
    TS_TRY(ts_kind_check_adapter(setting, &config->adapter, TS_ADAPTER_TOKENS));
    return ts_labelled_configure(
        task, setting,
        (TsLabelledOptions){
            .data = &config->data,
            .model = {.adapter = config->adapter, .objective = TS_OBJECTIVE_CLASSES, .smoothing = config->smoothing},
            .observed = TS_OBSERVES_CLASSES,
            .role = "labels",
            .form = config->words ? TS_LABEL_SEPARATED : TS_LABEL_BYTES,
            .classes = config->classes,
            .ignored = config->ignored,
            .collate = collate,
            .check = check,
            .label_column = label_column,
            .of_tokens = true});
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const TokenConfig *)value)->data;
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
    int64_t length, width = own->labelled.model.outputs;
    double *scores = read_row(given, row, &length);
    const int32_t *labels = (const int32_t *)ts_batch_find(batch, "labels")->data + row * length;
    for (int64_t i = 0; i < length; i++)
        if (labels[i] >= 0)
            ts_observations_add_class(observations, scores + i * width, labels[i]);
    ts_free(scores);
}

/* The likeliest class of each token of a row of `end` tokens, those in front of and behind the text left out. Owned by
 * the caller. */
static char *name_classes(const TokenTask *own, const double *scores, int64_t end)
{
    int64_t width = own->labelled.model.outputs, before = ts_examples_before(&own->labelled.examples);
    int64_t behind = ts_tokenizer_special(own->labelled.examples.tokenizer, TS_SPECIAL_END) >= 0;
    TsText text = {0};
    for (int64_t i = before; i < end - behind; i++) {
        int64_t best = 0;
        for (int64_t c = 1; c < width; c++)
            best = scores[i * width + c] > scores[i * width + best] ? c : best;
        if (own->config->words && i > before)
            ts_text_append_bytes(&text, own->config->data.separator, 1);
        ts_text_append(&text, "%s", ts_class_names_at(own->labelled.classes, best));
    }
    char *names = ts_strdup(text.data ? text.data : "");
    ts_text_free(&text);
    return names;
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    int64_t length, end = 0;
    double *scores = read_row(given, row, &length);
    const bool *seen = (const bool *)ts_batch_find(batch, "seen")->data + row * length;
    while (end < length && seen[end])
        end++;
    char *names = name_classes(task->own, scores, end);
    json_object_set_new(cells, "labels", json_string(names));
    ts_free(names);
    ts_free(scores);
}

static char *name_values(const TsTask *task, const float *values, int64_t positions)
{
    const TokenTask *own = task->own;
    int64_t elems = positions * own->labelled.model.outputs;
    double *scores = ts_calloc((size_t)elems + 1, sizeof *scores);
    for (int64_t i = 0; i < elems; i++)
        scores[i] = (double)values[i];
    char *names = name_classes(own, scores, positions);
    ts_free(scores);
    return names;
}

const TsTaskKind ts_token_classification_task = {.needs = (const char *const[]){"text", "labels", NULL},
                                                 .data = data_of,
                                                 .configure = configure,
                                                 .release = ts_labelled_release,
                                                 .keep = ts_labelled_keep,
                                                 .give_out = ts_labelled_give_probabilities,
                                                 .observe = observe,
                                                 .predict = predict,
                                                 .name_values = name_values,
                                                 .baseline = ts_labelled_majority};
