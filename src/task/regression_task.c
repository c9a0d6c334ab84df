/* SPDX-License-Identifier: Apache-2.0
 *
 * RegressionTask: `type: sequence_regression`: one number of a text, or several. The net learns numbers that are scaled
 * by the mean and deviation of the training data alone; what it predicts is scaled back.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "model/headed_model.h"
#include "model/sharding.h"
#include "task/examples.h"
#include "task/kinds.h"
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
                  "examples: columns text and label, numbers with data.separator between"),
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
    TsExamples examples;
    TsHeadedModel model;
    const RegressionConfig *config;
    double *mean, *deviation; /* (outputs) of the training data; 0 and 1 where not scaled */
    double *plain_mean;       /* (outputs) */
    int text, label;          /* columns */
    TsRowColumn columns[4];
} RegressionTask;

enum { TOKENS, SEEN, LABELS, WEIGHTS };

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const RegressionTask *own = examples->own;
    ts_examples_put_text(examples, own->text, row[TOKENS], row[SEEN], length, draw.example);
    *(float *)row[WEIGHTS] = draw.example < 0 ? 0 : 1;
    memset(row[LABELS], 0, (size_t)own->model.outputs * sizeof(float));
    if (draw.example < 0)
        return;
    int64_t count;
    const double *values = ts_dataset_numbers(examples->dataset, own->label, draw.example, &count);
    for (int64_t k = 0; k < own->model.outputs; k++)
        ((float *)row[LABELS])[k] = (float)((values[k] - own->mean[k]) / own->deviation[k]);
}

static int64_t tokens(const TsExamples *examples, int64_t example)
{
    return ts_examples_text_tokens(examples, ((const RegressionTask *)examples->own)->text, example);
}

static TsStatus check_count(const TsExamples *examples, int64_t example)
{
    const RegressionTask *own = examples->own;
    int64_t count;
    ts_dataset_numbers(examples->dataset, own->label, example, &count);
    if (count == own->model.outputs)
        return TS_OK;
    return ts_dataset_error(examples->dataset, example, "%lld numbers, but the first example has %lld",
                            (long long)count, (long long)own->model.outputs);
}

/* Mean and deviation of the training data. Collective. */
static void measure(RegressionTask *own)
{
    const TsSplit *split = &own->examples.part[TS_PART_TRAIN].split;
    int64_t begin, end, count, outputs = own->model.outputs;
    ts_examples_share(own->examples.setting->group, split->count, &begin, &end);
    double *values = ts_calloc((size_t)((end - begin) * outputs) + 1, sizeof *values);
    own->mean = ts_calloc(3 * (size_t)outputs, sizeof *own->mean);
    own->deviation = own->mean + outputs;
    own->plain_mean = own->deviation + outputs;
    for (int64_t i = begin; i < end; i++)
        memcpy(values + (i - begin) * outputs,
               ts_dataset_numbers(own->examples.dataset, own->label, ts_split_example(split, i), &count),
               (size_t)outputs * sizeof *values);
    for (int64_t k = 0; k < outputs; k++) {
        TsMoments moments =
            ts_moments_reduce(ts_moments(values + k, values + k, end - begin, outputs), own->examples.setting->group);
        double deviation = sqrt(moments.square_x / moments.count);
        own->plain_mean[k] = moments.mean_x;
        own->mean[k] = own->config->scale ? moments.mean_x : 0;
        own->deviation[k] = own->config->scale && deviation > 0 ? deviation : 1;
    }
    ts_free(values);
}

static TsStatus load(TsTask *task, RegressionTask *own)
{
    TsExamples *examples = &own->examples;
    own->text = ts_dataset_column(examples->dataset, "text");
    own->label = ts_dataset_column(examples->dataset, "label");
    ts_dataset_numbers(examples->dataset, own->label, 0, &own->model.outputs);
    TS_TRY(ts_examples_check(examples, check_count));
    measure(own);
    own->columns[TOKENS] = (TsRowColumn){"tokens", TS_I32, TS_ROW_LENGTH};
    own->columns[SEEN] = (TsRowColumn){"seen", TS_BOOL, TS_ROW_LENGTH};
    own->columns[LABELS] = (TsRowColumn){"labels", TS_F32, own->model.outputs};
    own->columns[WEIGHTS] = (TsRowColumn){"weights", TS_F32, 0};
    examples->columns = own->columns;
    examples->column_count = 4;
    ts_examples_load(examples, task);
    return TS_OK;
}

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    static const TsColumnSpec specs[] = {{"text", TS_CELL_TOKENS, false}, {"label", TS_CELL_NUMBERS, false}};
    RegressionTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->config = setting->keys;
    own->examples.own = own;
    own->examples.collate = collate;
    own->examples.tokens = tokens;
    own->model = (TsHeadedModel){.backbone = *(const TsTransformer *)setting->backbone->value,
                                 .name = setting->name,
                                 .adapter = own->config->adapter,
                                 .objective = TS_OBJECTIVE_VALUES,
                                 .error = (TsErrorKind)own->config->loss,
                                 .huber = own->config->huber};
    own->model.backbone.vocab = setting->vocab;
    TS_TRY(ts_kind_check_adapter(setting, &own->config->adapter, TS_ADAPTER_SEQUENCE));
    TS_TRY(ts_examples_open(&own->examples, setting, &own->config->data, specs, 2));
    if (setting->without_data)
        return TS_OK;
    TS_TRY(load(task, own));
    task->sample = ts_examples_sample(setting->mesh);
    task->model = &ts_headed_model;
    task->options = &own->model;
    task->observed = TS_OBSERVES_VALUES;
    task->observed_width = own->model.outputs;
    return TS_OK;
}

static void release(TsTask *task)
{
    RegressionTask *own = task->own;
    ts_examples_close(&own->examples);
    ts_free(own->mean);
    ts_free(own);
}

static const TsChoice *tokenizer(const void *value)
{
    return &((const RegressionConfig *)value)->data.tokenizer;
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
    for (int64_t k = 0; k < own->model.outputs; k++)
        values[k] = values[k] * own->deviation[k] + own->mean[k];
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    const RegressionTask *own = task->own;
    double *values = ts_calloc(2 * (size_t)own->model.outputs, sizeof *values), *truth = values + own->model.outputs;
    read_scaled(own, values, ts_batch_find(given, "values"), row);
    read_scaled(own, truth, ts_batch_find(batch, "labels"), row);
    ts_observations_add_values(observations, values, truth);
    ts_free(values);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const RegressionTask *own = task->own;
    double *values = ts_calloc((size_t)own->model.outputs, sizeof *values);
    json_t *list = json_array();
    (void)batch;
    read_scaled(own, values, ts_batch_find(given, "values"), row);
    for (int64_t k = 0; k < own->model.outputs; k++)
        json_array_append_new(list, isfinite(values[k]) ? json_real(values[k]) : json_null());
    json_object_set(cells, "value", own->model.outputs == 1 ? json_array_get(list, 0) : list);
    json_decref(list);
    ts_free(values);
}

/* The mean of the training data. */
static void baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    const RegressionTask *own = task->own;
    TsPart part = data == task->test ? TS_PART_TEST : data == task->validation ? TS_PART_VALIDATION : TS_PART_TRAIN;
    const TsSplit *split = &own->examples.part[part].split;
    int64_t begin, end, outputs = own->model.outputs, count;
    double sums[3] = {0};
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const double *values =
            ts_dataset_numbers(own->examples.dataset, own->label, ts_split_example(split, i), &count);
        for (int64_t k = 0; k < outputs; k++) {
            double error = values[k] - own->plain_mean[k];
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
                                       .tokenizer = tokenizer,
                                       .configure = configure,
                                       .release = release,
                                       .give_out = give_out,
                                       .observe = observe,
                                       .predict = predict,
                                       .baseline = baseline};
