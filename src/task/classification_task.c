/* SPDX-License-Identifier: Apache-2.0
 *
 * ClassificationTask: `type: sequence_classification`: one class of a text, or any of several labels.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "model/headed_model.h"
#include "model/sharding.h"
#include "task/class_names.h"
#include "task/examples.h"
#include "task/kinds.h"
#include "task/metric_table.h"

typedef enum ClassWeights { WEIGHTS_NONE, WEIGHTS_BALANCED } ClassWeights;

typedef struct ClassificationConfig {
    TsDataConfig data;
    TsChoice adapter;
    TsList classes;
    bool multi_label;
    int class_weights;
    double smoothing;
} ClassificationConfig;

static const char *const weights_words[] = {"none", "balanced", NULL};

static const TsKey keys[] = {
    TS_KEY_STRUCT(ClassificationConfig, data, &ts_data_table, "examples: columns text and label"),
    TS_KEY_CHOICE(ClassificationConfig, adapter, &ts_adapters, "from hidden states to classes", .fallback = "mlp_pool"),
    TS_KEY_LIST(ClassificationConfig, classes, TS_ELEMENT(TS_KIND_STRING),
                "in their order; left out: those that the training data have"),
    TS_KEY_BOOL(ClassificationConfig, multi_label, "any number of labels each, with data.separator between",
                .fallback = "false"),
    TS_KEY_ENUM(ClassificationConfig, class_weights, weights_words,
                "of the loss: balanced is examples / (those of the class * classes)", .fallback = "none"),
    TS_KEY_REAL(ClassificationConfig, smoothing, "of labels", .fallback = "0", .range = TS_FROM_TO(0, 1)),
    TS_KEYS_END};
const TsConfigTable ts_classification_task_table = {"sequence_classification_task",
                                                    "Which class a text is of, or which labels it bears.",
                                                    sizeof(ClassificationConfig), keys, NULL};

typedef struct ClassificationTask {
    TsExamples examples;
    TsHeadedModel model;
    const ClassificationConfig *config;
    TsClassNames *classes; /* owned */
    double *counts;        /* (classes) of the training data */
    double trained;        /* examples of it */
    int text, label;       /* columns */
    TsRowColumn columns[4];
} ClassificationTask;

/* ---- rows ---- */

enum { TOKENS, SEEN, LABELS, WEIGHTS };

static const TsRowColumn class_columns[] = {
    {"tokens", TS_I32, TS_ROW_LENGTH}, {"seen", TS_BOOL, TS_ROW_LENGTH}, {"labels", TS_I32, 0}, {"weights", TS_F32, 0}};

/* Each label of a cell in turn: false at its end. */
static bool next_label(TsField *label, TsField cell, char separator, size_t *at)
{
    if (*at > cell.bytes)
        return false;
    const char *begin = cell.text + *at, *end = memchr(begin, separator, cell.bytes - *at);
    *label = (TsField){begin, end ? (size_t)(end - begin) : cell.bytes - *at};
    *at += label->bytes + 1;
    return true;
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const ClassificationTask *own = examples->own;
    ts_examples_put_text(examples, own->text, row[TOKENS], row[SEEN], length, draw.example);
    TsField cell = {0};
    if (draw.example >= 0)
        cell = ts_dataset_text(examples->dataset, own->label, draw.example);
    *(float *)row[WEIGHTS] = draw.example < 0 ? 0 : 1;
    if (!own->config->multi_label) {
        int32_t label = draw.example < 0 ? -100 : ts_class_names_find(own->classes, cell.text, cell.bytes);
        *(int32_t *)row[LABELS] = label;
        if (label >= 0 && own->config->class_weights == WEIGHTS_BALANCED && own->counts[label] > 0)
            *(float *)row[WEIGHTS] =
                (float)(own->trained / (own->counts[label] * (double)ts_class_names_count(own->classes)));
        return;
    }
    memset(row[LABELS], 0, (size_t)own->model.outputs * sizeof(float));
    TsField label;
    for (size_t at = 0; draw.example >= 0 && next_label(&label, cell, examples->config->separator[0], &at);) {
        int32_t found = ts_class_names_find(own->classes, label.text, label.bytes);
        if (found >= 0)
            ((float *)row[LABELS])[found] = 1;
    }
}

static int64_t tokens(const TsExamples *examples, int64_t example)
{
    return ts_examples_text_tokens(examples, ((const ClassificationTask *)examples->own)->text, example);
}

/* ---- classes ---- */

static void add_labels(const ClassificationTask *own, TsClassNames *names, int64_t example)
{
    const TsExamples *examples = &own->examples;
    TsField cell = ts_dataset_text(examples->dataset, own->label, example), label = cell;
    size_t at = 0;
    if (!own->config->multi_label)
        ts_class_names_add(names, cell.text, cell.bytes);
    else
        while (next_label(&label, cell, examples->config->separator[0], &at))
            ts_class_names_add(names, label.text, label.bytes);
}

/* Those that are given, or those of the training data, gathered by all ranks. */
static TsStatus find_classes(ClassificationTask *own)
{
    const TsList *given = &own->config->classes;
    own->classes = ts_class_names_create();
    for (int64_t i = 0; i < given->count; i++) {
        const char *name = ((const char *const *)given->items)[i];
        ts_class_names_add(own->classes, name, strlen(name));
    }
    if (given->count)
        return ts_class_names_count(own->classes) == given->count
                   ? TS_OK
                   : ts_config_error(own->examples.setting->config, given, "a class stands twice");
    const TsSplit *split = &own->examples.part[TS_PART_TRAIN].split;
    int64_t begin, end;
    ts_examples_share(own->examples.setting->group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        add_labels(own, own->classes, ts_split_example(split, i));
    ts_class_names_gather(own->classes, own->examples.setting->group);
    return TS_OK;
}

static TsStatus check_labels(const TsExamples *examples, int64_t example)
{
    const ClassificationTask *own = examples->own;
    TsField cell = ts_dataset_text(examples->dataset, own->label, example), label = cell;
    size_t at = 0;
    while (own->config->multi_label ? next_label(&label, cell, examples->config->separator[0], &at) : at++ == 0)
        if (ts_class_names_find(own->classes, label.text, label.bytes) < 0)
            return ts_dataset_error(examples->dataset, example, "the label \"%.*s\" is none of the %lld classes%s",
                                    (int)(label.bytes < 60 ? label.bytes : 60), label.text,
                                    (long long)ts_class_names_count(own->classes),
                                    own->config->classes.count ? "" : " of the training data");
    return TS_OK;
}

static void count_classes(ClassificationTask *own)
{
    const TsSplit *split = &own->examples.part[TS_PART_TRAIN].split;
    int64_t begin, end, classes = ts_class_names_count(own->classes);
    own->counts = ts_calloc((size_t)classes + 1, sizeof *own->counts);
    ts_examples_share(own->examples.setting->group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        TsField cell = ts_dataset_text(own->examples.dataset, own->label, ts_split_example(split, i)), label = cell;
        size_t at = 0;
        char separator = own->examples.config->separator[0];
        while (own->config->multi_label ? next_label(&label, cell, separator, &at) : at++ == 0) {
            int32_t found = ts_class_names_find(own->classes, label.text, label.bytes);
            if (found >= 0)
                own->counts[found]++;
        }
    }
    ts_metric_sum(own->counts, classes, own->examples.setting->group);
    own->trained = (double)split->count;
}

/* ---- the kind ---- */

static TsStatus load(TsTask *task, ClassificationTask *own)
{
    TsExamples *examples = &own->examples;
    own->text = ts_dataset_column(examples->dataset, "text");
    own->label = ts_dataset_column(examples->dataset, "label");
    TS_TRY(find_classes(own));
    own->model.outputs = ts_class_names_count(own->classes);
    TS_TRY(ts_examples_check(examples, check_labels));
    count_classes(own);
    examples->column_count = sizeof class_columns / sizeof *class_columns;
    memcpy(own->columns, class_columns, sizeof class_columns);
    if (own->config->multi_label)
        own->columns[LABELS] = (TsRowColumn){"labels", TS_F32, own->model.outputs};
    examples->columns = own->columns;
    ts_examples_load(examples, task);
    return TS_OK;
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    static const TsColumnSpec specs[] = {{"text", TS_CELL_TOKENS, false}, {"label", TS_CELL_TEXT, false}};
    ClassificationTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = setting->keys;
    own->examples.own = own;
    own->examples.collate = collate;
    own->examples.tokens = tokens;
    bool multi = own->config->multi_label;
    own->model = (TsHeadedModel){.backbone = *(const TsTransformer *)setting->backbone->value,
                                 .name = setting->name,
                                 .adapter = own->config->adapter,
                                 .objective = multi ? TS_OBJECTIVE_LABELS : TS_OBJECTIVE_CLASSES,
                                 .smoothing = own->config->smoothing};
    own->model.backbone.vocab = setting->vocab;
    TS_TRY(ts_kind_check_adapter(setting, &own->config->adapter, TS_ADAPTER_SEQUENCE));
    TS_TRY(ts_examples_open(&own->examples, setting, &own->config->data, specs, 2));
    if (setting->without_data)
        return TS_OK;
    TS_TRY(load(task, own));
    task->sample = ts_examples_sample(setting->mesh);
    task->model = &ts_headed_model;
    task->options = &own->model;
    task->observed = multi ? TS_OBSERVES_LABELS : TS_OBSERVES_CLASSES;
    task->observed_width = own->model.outputs;
    return TS_OK;
}

static void release(TsTask *task)
{
    ClassificationTask *own = task->own;
    ts_examples_close(&own->examples);
    ts_class_names_free(&own->classes);
    ts_free(own->counts);
    ts_free(own);
}

static const TsChoice *tokenizer(const void *value)
{
    return &((const ClassificationConfig *)value)->data.tokenizer;
}

static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns)
{
    const ClassificationTask *own = task->own;
    (void)scope;
    (void)columns;
    ts_output("probabilities", own->config->multi_label ? ts_sigmoid(predictions) : ts_softmax(predictions),
              ts_batch_placement());
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    const ClassificationTask *own = task->own;
    int64_t width = own->model.outputs;
    double *scores = ts_calloc(2 * (size_t)width + 1, sizeof *scores), *truth = scores + width;
    ts_kind_read_row(scores, ts_batch_find(given, "probabilities"), row);
    if (!own->config->multi_label) {
        ts_observations_add_class(observations, scores, ((int32_t *)ts_batch_find(batch, "labels")->data)[row]);
    } else {
        ts_kind_read_row(truth, ts_batch_find(batch, "labels"), row);
        ts_observations_add_values(observations, scores, truth);
    }
    ts_free(scores);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const ClassificationTask *own = task->own;
    int64_t width = own->model.outputs, best = 0;
    double *scores = ts_calloc((size_t)width + 1, sizeof *scores);
    json_t *all = json_object(), *labels = json_array();
    (void)batch;
    ts_kind_read_row(scores, ts_batch_find(given, "probabilities"), row);
    for (int64_t c = 0; c < width; c++) {
        best = scores[c] > scores[best] ? c : best;
        json_object_set_new(all, ts_class_names_at(own->classes, c), json_real(scores[c]));
        if (scores[c] > 0.5)
            json_array_append_new(labels, json_string(ts_class_names_at(own->classes, c)));
    }
    if (own->config->multi_label)
        json_object_set(cells, "labels", labels);
    else
        json_object_set_new(cells, "class", json_string(ts_class_names_at(own->classes, best)));
    json_object_set_new(cells, "probabilities", all);
    json_decref(labels);
    ts_free(scores);
}

/* The class that the training data have most. */
static void baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    const ClassificationTask *own = task->own;
    int64_t majority = 0, begin, end, width = own->model.outputs;
    TsPart part = data == task->test ? TS_PART_TEST : data == task->validation ? TS_PART_VALIDATION : TS_PART_TRAIN;
    const TsSplit *split = &own->examples.part[part].split;
    if (own->config->multi_label)
        return;
    for (int64_t c = 1; c < width; c++)
        majority = own->counts[c] > own->counts[majority] ? c : majority;
    double right[2] = {0};
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        TsField cell = ts_dataset_text(own->examples.dataset, own->label, ts_split_example(split, i));
        right[0] += ts_class_names_find(own->classes, cell.text, cell.bytes) == majority;
        right[1]++;
    }
    ts_metric_sum(right, 2, group);
    ts_scores_add(scores, "majority/accuracy", ts_metric_scalar(right[0] / right[1], right[1]));
}

const TsTaskKind ts_classification_task = {.needs = (const char *const[]){"text", "label", NULL},
                                           .tokenizer = tokenizer,
                                           .configure = configure,
                                           .release = release,
                                           .give_out = give_out,
                                           .observe = observe,
                                           .predict = predict,
                                           .baseline = baseline};
