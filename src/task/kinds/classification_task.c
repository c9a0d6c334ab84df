/* SPDX-License-Identifier: Apache-2.0
 *
 * ClassificationTask: `type: sequence_classification`: one class of a text, or any of several labels.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/windows.h"
#include "task/kinds/kinds.h"
#include "task/kinds/labelled_task.h"

typedef enum ClassWeights { WEIGHTS_NONE, WEIGHTS_BALANCED } ClassWeights;

typedef struct ClassificationConfig {
    TsDataConfig data;
    TsChoice adapter;
    TsList classes;
    bool multi_label;
    int class_weights;
    double smoothing;
} ClassificationConfig;

static TsStatus check_config(const void *value)
{
    const ClassificationConfig *config = value;
    if (config->multi_label && config->class_weights == WEIGHTS_BALANCED)
        return ts_status_error(TS_CODE_INVALID, "class_weights: balanced weighs an example by its one class; with "
                                                "multi_label it may have several");
    if (config->multi_label && config->smoothing > 0)
        return ts_status_error(TS_CODE_INVALID, "smoothing: of one class, not of multi_label");
    return TS_OK;
}

static const char *const weights_words[] = {"none", "balanced", NULL};

static const TsKey keys[] = {
    TS_KEY_STRUCT(ClassificationConfig, data, &ts_data_table,
                  "examples: columns text, label, and of pairs of texts pair"),
    TS_KEY_CHOICE(ClassificationConfig, adapter, &ts_adapters, "from hidden states to classes", .fallback = "mlp_pool"),
    TS_KEY_LIST(ClassificationConfig, classes, TS_ELEMENT(TS_KIND_STRING),
                "in their order; left out: those that the training data have"),
    TS_KEY_BOOL(ClassificationConfig, multi_label,
                "any number of labels each, with data.separator between; an empty cell has none", .fallback = "false"),
    TS_KEY_ENUM(ClassificationConfig, class_weights, weights_words,
                "of the loss: balanced is examples / (those of the class * classes)", .fallback = "none"),
    TS_KEY_REAL(ClassificationConfig, smoothing, "of labels", .fallback = "0", .range = TS_FROM_TO(0, 1)),
    TS_KEYS_END};
const TsConfigTable ts_classification_task_table = {"sequence_classification_task",
                                                    "Which class a text is of, or which labels it bears.",
                                                    sizeof(ClassificationConfig), keys, check_config};

typedef struct ClassificationTask {
    TsLabelledTask labelled; /* the first */
    const ClassificationConfig *config;
} ClassificationTask;

/* ---- rows ---- */

static void collate_labels(const TsExamples *examples, void *const *row, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    float *values = row[TS_LABELLED_LABELS];
    memset(values, 0, (size_t)labelled->model.outputs * sizeof *values);
    if (draw.example < 0 || labelled->label < 0)
        return;
    TsLabels labels = ts_labelled_labels(labelled, draw.example);
    for (TsField label; ts_labels_next(&labels, &label);) {
        int32_t found = ts_labelled_class(labelled, label);
        if (found >= 0)
            values[found] = 1;
    }
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const ClassificationTask *own = examples->own;
    const TsLabelledTask *labelled = &own->labelled;
    (void)length;
    if (own->config->multi_label) {
        collate_labels(examples, row, draw);
        return;
    }
    int32_t *class_index = row[TS_LABELLED_LABELS];
    *class_index = TS_LABEL_IGNORED;
    if (draw.example < 0 || labelled->label < 0)
        return;
    *class_index = ts_labelled_class(labelled, ts_dataset_text(examples->dataset, labelled->label, draw.example));
    if (own->config->class_weights == WEIGHTS_BALANCED && *class_index >= 0 && labelled->measured[*class_index] > 0)
        *(float *)row[TS_LABELLED_WEIGHTS] =
            (float)(labelled->measured_sum / (labelled->measured[*class_index] * (double)labelled->model.outputs));
}

static TsStatus check(const TsExamples *examples, int64_t example)
{
    const TsLabelledTask *labelled = examples->own;
    TsLabels labels = ts_labelled_labels(labelled, example);
    for (TsField label; ts_labels_next(&labels, &label);)
        if (ts_labelled_class(labelled, label) < 0)
            return ts_labelled_unknown(labelled, example, label, "");
    return TS_OK;
}

static TsRowColumn label_column(const TsTask *task)
{
    const ClassificationTask *own = task->own;
    return own->config->multi_label ? (TsRowColumn){"labels", TS_F32, own->labelled.model.outputs}
                                    : (TsRowColumn){"labels", TS_I32, 0};
}

/* ---- the kind ---- */

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const ClassificationConfig *config = setting->keys;
    ClassificationTask *own = ts_calloc(1, sizeof *own);
    bool multi = config->multi_label;
    task->own = own;
    own->config = config;
    TS_TRY(ts_kind_check_adapter(setting, &config->adapter, TS_ADAPTER_SEQUENCE));
    return ts_labelled_configure(
        task, setting,
        (TsLabelledOptions){.data = &config->data,
                            .model = {.adapter = config->adapter,
                                      .objective = multi ? TS_OBJECTIVE_LABELS : TS_OBJECTIVE_CLASSES,
                                      .smoothing = config->smoothing},
                            .observed = multi ? TS_OBSERVES_LABELS : TS_OBSERVES_CLASSES,
                            .role = "label",
                            .form = multi ? TS_LABEL_SEPARATED : TS_LABEL_WHOLE,
                            .classes = config->classes,
                            .collate = collate,
                            .check = check,
                            .label_column = label_column});
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const ClassificationConfig *)value)->data;
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    const ClassificationTask *own = task->own;
    int64_t width = own->labelled.model.outputs;
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
    const TsClassNames *classes = own->labelled.classes;
    int64_t width = own->labelled.model.outputs, best = 0;
    double *scores = ts_calloc((size_t)width + 1, sizeof *scores);
    json_t *all = json_object(), *labels = json_array();
    (void)batch;
    ts_kind_read_row(scores, ts_batch_find(given, "probabilities"), row);
    for (int64_t c = 0; c < width; c++) {
        best = scores[c] > scores[best] ? c : best;
        json_object_set_new(all, ts_class_names_at(classes, c), ts_kind_number(scores[c]));
        if (scores[c] > 0.5)
            json_array_append_new(labels, json_string(ts_class_names_at(classes, c)));
    }
    if (own->config->multi_label)
        json_object_set(cells, "labels", labels);
    else
        json_object_set_new(cells, "class", json_string(ts_class_names_at(classes, best)));
    json_object_set_new(cells, "probabilities", all);
    json_decref(labels);
    ts_free(scores);
}

/* The likeliest class, or the labels that are likelier than not. */
static char *name_values(const TsTask *task, const float *values, int64_t positions)
{
    const ClassificationTask *own = task->own;
    const TsClassNames *classes = own->labelled.classes;
    int64_t best = 0;
    TsText labels = {0};
    (void)positions;
    for (int64_t c = 0; c < own->labelled.model.outputs; c++) {
        best = values[c] > values[best] ? c : best;
        if (values[c] > 0.5f)
            ts_text_append(&labels, "%s%s", labels.size_bytes ? own->config->data.separator : "",
                           ts_class_names_at(classes, c));
    }
    char *name = ts_strdup(!own->config->multi_label ? ts_class_names_at(classes, best)
                           : labels.data             ? labels.data
                                                     : "");
    ts_text_free(&labels);
    return name;
}

const TsTaskKind ts_classification_task = {.needs = (const char *const[]){"text", "label", NULL},
                                           .data = data_of,
                                           .configure = configure,
                                           .release = ts_labelled_release,
                                           .keep = ts_labelled_keep,
                                           .give_out = ts_labelled_give_probabilities,
                                           .observe = observe,
                                           .predict = predict,
                                           .name_values = name_values,
                                           .baseline = ts_labelled_majority};
