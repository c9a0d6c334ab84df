/* SPDX-License-Identifier: Apache-2.0
 *
 * RegressionTask: `type: sequence_regression`: one number of a text, or several. The net learns numbers that are scaled
 * by the mean and deviation of the training data alone; what it predicts is scaled back.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "model/sharding.h"
#include "task/kinds.h"
#include "task/labelled_task.h"
#include "task/metric_table.h"

typedef struct RegressionConfig {
    TsDataConfig data;
    TsChoice adapter;
    int loss; /* TsErrorKind */
    double huber;
    bool scale;
} RegressionConfig;

static const char *const loss_words[] = {"mse", "mae", "huber", NULL};

static const TsKey keys[] = {
    TS_KEY_STRUCT(RegressionConfig, data, &ts_data_table,
                  "examples: columns text, label (numbers with data.separator between), and of pairs of texts pair"),
    TS_KEY_CHOICE(RegressionConfig, adapter, &ts_adapters, "from hidden states to values", .fallback = "mlp_pool"),
    TS_KEY_ENUM(RegressionConfig, loss, loss_words, "squared, absolute, or squared near zero and linear beyond",
                .fallback = "mse"),
    TS_KEY_REAL(RegressionConfig, huber, "where huber becomes linear, in deviations of the training data",
                .fallback = "1", .range = TS_ABOVE(0)),
    TS_KEY_BOOL(RegressionConfig, scale, "learn values less their mean, over their deviation", .fallback = "true"),
    TS_KEYS_END};
const TsConfigTable ts_regression_task_table = {"sequence_regression_task", "Numbers of a text.",
                                                sizeof(RegressionConfig), keys, NULL};

typedef struct RegressionTask {
    TsLabelledTask labelled; /* the first; measured is mean, deviation, plain mean (3, outputs) */
    const RegressionConfig *config;
} RegressionTask;

/* What labels are shifted and divided by: the mean and deviation of the training data; 0 and 1 where not scaled. */
static double mean_of(const RegressionTask *own, int64_t k)
{
    return own->labelled.measured[k];
}

static double deviation_of(const RegressionTask *own, int64_t k)
{
    return own->labelled.measured[own->labelled.model.outputs + k];
}

static double plain_mean_of(const RegressionTask *own, int64_t k)
{
    return own->labelled.measured[2 * own->labelled.model.outputs + k];
}

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const RegressionTask *own = examples->own;
    int64_t outputs = own->labelled.model.outputs, count;
    (void)length;
    memset(row[TS_LABELLED_LABELS], 0, (size_t)outputs * sizeof(float));
    if (draw.example < 0 || own->labelled.label < 0)
        return;
    const double *values = ts_dataset_numbers(examples->dataset, own->labelled.label, draw.example, &count);
    for (int64_t k = 0; k < outputs; k++)
        ((float *)row[TS_LABELLED_LABELS])[k] = (float)((values[k] - mean_of(own, k)) / deviation_of(own, k));
}

static TsStatus check_count(const TsExamples *examples, int64_t example)
{
    const TsLabelledTask *labelled = examples->own;
    int64_t count;
    ts_dataset_numbers(examples->dataset, labelled->label, example, &count);
    if (count == labelled->model.outputs)
        return TS_OK;
    return ts_dataset_error(examples->dataset, example, "%lld number%s, but the first example has %lld",
                            (long long)count, count == 1 ? "" : "s", (long long)labelled->model.outputs);
}

/* Mean and deviation of the training data. Collective. */
static TsStatus measure(TsTask *task)
{
    RegressionTask *own = task->own;
    TsLabelledTask *labelled = &own->labelled;
    const TsExamples *examples = &labelled->examples;
    const TsSplit *split = &examples->part[TS_PART_TRAIN].split;
    int64_t begin, end, count, outputs;
    ts_dataset_numbers(examples->dataset, labelled->label, 0, &outputs);
    labelled->model.outputs = outputs;
    TS_TRY(ts_examples_check(examples, check_count));
    ts_examples_share(examples->setting->group, split->count, &begin, &end);
    double *values = ts_calloc((size_t)((end - begin) * outputs) + 1, sizeof *values);
    labelled->measured_count = 3 * outputs;
    labelled->measured = ts_calloc((size_t)labelled->measured_count, sizeof *labelled->measured);
    for (int64_t i = begin; i < end; i++)
        memcpy(values + (i - begin) * outputs,
               ts_dataset_numbers(examples->dataset, labelled->label, ts_split_example(split, i), &count),
               (size_t)outputs * sizeof *values);
    for (int64_t k = 0; k < outputs; k++) {
        TsMoments moments =
            ts_moments_reduce(ts_moments(values + k, values + k, end - begin, outputs), examples->setting->group);
        double deviation = sqrt(moments.square_x / moments.count);
        labelled->measured[k] = own->config->scale ? moments.mean_x : 0;
        labelled->measured[outputs + k] = own->config->scale && deviation > 0 ? deviation : 1;
        labelled->measured[2 * outputs + k] = moments.mean_x;
    }
    ts_free(values);
    return TS_OK;
}

static TsRowColumn label_column(const TsTask *task)
{
    return (TsRowColumn){"labels", TS_F32, ((const RegressionTask *)task->own)->labelled.model.outputs};
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    const RegressionConfig *config = setting->keys;
    RegressionTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = config;
    TS_TRY(ts_kind_check_adapter(setting, &config->adapter, TS_ADAPTER_SEQUENCE));
    return ts_labelled_configure(task, setting,
                                 (TsLabelledOptions){.data = &config->data,
                                                     .model = {.adapter = config->adapter,
                                                               .objective = TS_OBJECTIVE_VALUES,
                                                               .error = (TsErrorKind)config->loss,
                                                               .huber = config->huber},
                                                     .observed = TS_OBSERVES_VALUES,
                                                     .role = "label",
                                                     .form = TS_LABEL_NUMBERS,
                                                     .collate = collate,
                                                     .check = check_count,
                                                     .measure = measure,
                                                     .label_column = label_column});
}

static const TsDataConfig *data_of(const void *value)
{
    return &((const RegressionConfig *)value)->data;
}

static void give_out(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns)
{
    (void)scope;
    (void)task;
    (void)columns;
    ts_output("values", predictions, ts_batch_placement());
}

/* A row in the units of the data. */
static void read_scaled(const RegressionTask *own, double *values, const TsArray *array, int64_t row)
{
    ts_kind_read_row(values, array, row);
    for (int64_t k = 0; k < own->labelled.model.outputs; k++)
        values[k] = values[k] * deviation_of(own, k) + mean_of(own, k);
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    const RegressionTask *own = task->own;
    double *values = ts_calloc(2 * (size_t)own->labelled.model.outputs, sizeof *values),
           *truth = values + own->labelled.model.outputs;
    read_scaled(own, values, ts_batch_find(given, "values"), row);
    read_scaled(own, truth, ts_batch_find(batch, "labels"), row);
    ts_observations_add_values(observations, values, truth);
    ts_free(values);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const RegressionTask *own = task->own;
    double *values = ts_calloc((size_t)own->labelled.model.outputs, sizeof *values);
    json_t *list = json_array();
    (void)batch;
    read_scaled(own, values, ts_batch_find(given, "values"), row);
    for (int64_t k = 0; k < own->labelled.model.outputs; k++)
        json_array_append_new(list, ts_kind_number(values[k]));
    json_object_set(cells, "value", own->labelled.model.outputs == 1 ? json_array_get(list, 0) : list);
    json_decref(list);
    ts_free(values);
}

/* The numbers in the units of the data. */
static char *name_values(const TsTask *task, const float *values, int64_t positions)
{
    const RegressionTask *own = task->own;
    TsText text = {0};
    (void)positions;
    for (int64_t k = 0; k < own->labelled.model.outputs; k++)
        ts_text_append(&text, "%s%.7g", k ? own->config->data.separator : "",
                       (double)values[k] * deviation_of(own, k) + mean_of(own, k));
    char *name = ts_strdup(text.data);
    ts_text_free(&text);
    return name;
}

/* The mean of the training data. */
static void baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    const RegressionTask *own = task->own;
    const TsExamples *examples = &own->labelled.examples;
    const TsSplit *split = ts_examples_split(examples, task, data);
    int64_t begin, end, outputs = own->labelled.model.outputs, count;
    double sums[3] = {0};
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const double *values =
            ts_dataset_numbers(examples->dataset, own->labelled.label, ts_split_example(split, i), &count);
        for (int64_t k = 0; k < outputs; k++) {
            double error = values[k] - plain_mean_of(own, k);
            sums[0] += fabs(error);
            sums[1] += error * error;
        }
        sums[2]++;
    }
    ts_metric_sum(sums, 3, group);
    ts_scores_add(scores, "mean/mae", ts_metric_scalar(sums[0] / (sums[2] * (double)outputs), sums[2]));
    ts_scores_add(scores, "mean/mse", ts_metric_scalar(sums[1] / (sums[2] * (double)outputs), sums[2]));
}

const TsTaskKind ts_regression_task = {.needs = (const char *const[]){"text", "label", NULL},
                                       .data = data_of,
                                       .configure = configure,
                                       .release = ts_labelled_release,
                                       .keep = ts_labelled_keep,
                                       .give_out = give_out,
                                       .observe = observe,
                                       .predict = predict,
                                       .name_values = name_values,
                                       .baseline = baseline};
