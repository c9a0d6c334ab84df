/* SPDX-License-Identifier: Apache-2.0 */
#include "task/kinds/number_labels.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "task/kinds/kinds.h"
#include "task/metric/metric_table.h"

static double mean_of(const TsLabelledTask *labelled, int64_t k)
{
    return labelled->measured[k];
}

static double deviation_of(const TsLabelledTask *labelled, int64_t k)
{
    return labelled->measured[labelled->model.outputs + k];
}

static double plain_mean_of(const TsLabelledTask *labelled, int64_t k)
{
    return labelled->measured[2 * labelled->model.outputs + k];
}

void ts_numbers_collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    int64_t outputs = labelled->model.outputs, count;
    (void)length;
    memset(row[TS_LABELLED_LABELS], 0, (size_t)outputs * sizeof(float));
    if (draw.example < 0 || labelled->label < 0)
        return;
    const double *values = ts_dataset_numbers(examples->dataset, labelled->label, draw.example, &count);
    for (int64_t k = 0; k < outputs; k++)
        ((float *)row[TS_LABELLED_LABELS])[k] = (float)((values[k] - mean_of(labelled, k)) / deviation_of(labelled, k));
}

TsStatus ts_numbers_check(const TsExamples *examples, int64_t example)
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
static TsStatus measure(TsTask *task, bool scale)
{
    TsLabelledTask *labelled = task->own;
    const TsExamples *examples = &labelled->examples;
    const TsSplit *split = &examples->part[TS_PART_TRAIN].split;
    int64_t begin, end, count, outputs;
    ts_dataset_numbers(examples->dataset, labelled->label, 0, &outputs);
    labelled->model.outputs = outputs;
    TS_TRY(ts_examples_check(examples, ts_numbers_check));
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
        labelled->measured[k] = scale ? moments.mean_x : 0;
        labelled->measured[outputs + k] = scale && deviation > 0 ? deviation : 1;
        labelled->measured[2 * outputs + k] = moments.mean_x;
    }
    ts_free(values);
    return TS_OK;
}

TsStatus ts_numbers_measure(TsTask *task)
{
    return measure(task, false);
}

TsStatus ts_numbers_measure_scaled(TsTask *task)
{
    return measure(task, true);
}

TsRowColumn ts_numbers_column(const TsTask *task)
{
    return (TsRowColumn){"labels", TS_F32, ((const TsLabelledTask *)task->own)->model.outputs};
}

double ts_numbers_unscaled(const TsLabelledTask *labelled, int64_t output, double value)
{
    return value * deviation_of(labelled, output) + mean_of(labelled, output);
}

void ts_numbers_read(const TsLabelledTask *labelled, double *values, const TsArray *array, int64_t row)
{
    ts_kind_read_row(values, array, row);
    for (int64_t k = 0; k < labelled->model.outputs; k++)
        values[k] = ts_numbers_unscaled(labelled, k, values[k]);
}

void ts_numbers_observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                        int64_t row)
{
    const TsLabelledTask *labelled = task->own;
    int64_t outputs = labelled->model.outputs;
    double *values = ts_calloc(2 * (size_t)outputs, sizeof *values), *truth = values + outputs;
    ts_numbers_read(labelled, values, ts_batch_find(given, "values"), row);
    ts_numbers_read(labelled, truth, ts_batch_find(batch, "labels"), row);
    ts_observations_add_values(observations, values, truth);
    ts_free(values);
}

void ts_numbers_predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    const TsLabelledTask *labelled = task->own;
    int64_t outputs = labelled->model.outputs;
    double *values = ts_calloc((size_t)outputs, sizeof *values);
    json_t *list = json_array();
    (void)batch;
    ts_numbers_read(labelled, values, ts_batch_find(given, "values"), row);
    for (int64_t k = 0; k < outputs; k++)
        json_array_append_new(list, ts_kind_number(values[k]));
    json_object_set(cells, "value", outputs == 1 ? json_array_get(list, 0) : list);
    json_decref(list);
    ts_free(values);
}

void ts_numbers_baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group)
{
    const TsLabelledTask *labelled = task->own;
    const TsExamples *examples = &labelled->examples;
    const TsSplit *split = ts_examples_split(examples, task, data);
    int64_t begin, end, outputs = labelled->model.outputs, count;
    double sums[3] = {0};
    ts_examples_share(group, split->count, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const double *values =
            ts_dataset_numbers(examples->dataset, labelled->label, ts_split_example(split, i), &count);
        for (int64_t k = 0; k < outputs; k++) {
            double error = values[k] - plain_mean_of(labelled, k);
            sums[0] += fabs(error);
            sums[1] += error * error;
        }
        sums[2]++;
    }
    ts_metric_sum(sums, 3, group);
    ts_scores_add(scores, "mean/mae", ts_metric_scalar(sums[0] / (sums[2] * (double)outputs), sums[2]));
    ts_scores_add(scores, "mean/mse", ts_metric_scalar(sums[1] / (sums[2] * (double)outputs), sums[2]));
}
