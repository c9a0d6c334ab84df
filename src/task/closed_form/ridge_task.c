/* SPDX-License-Identifier: Apache-2.0
 *
 * RidgeTask: `type: ridge`: one number of a text, or several, by ridge regression on its features.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "task/closed_form/closed_task.h"
#include "task/closed_form/ridge.h"
#include "task/kinds.h"
#include "task/metric_table.h"

typedef struct RidgeConfig {
    TsClosedConfig closed; /* the first */
    TsList alpha;
    bool bias;
} RidgeConfig;

static const TsKey keys[] = {
    TS_CLOSED_KEYS(RidgeConfig, "examples: columns text and label, numbers with data.separator between"),
    TS_KEY_LIST(RidgeConfig, alpha, (&(const TsKey){.kind = TS_KIND_REAL, .range = TS_AT_LEAST(0)}),
                "weight of the squares of coefficients; of several the one whose examples are predicted best by all "
                "others",
                .fallback = "[1]", .range = TS_BETWEEN(1, 1000)),
    TS_KEY_BOOL(RidgeConfig, bias, "a constant beside the columns", .fallback = "true"), TS_KEYS_END};
const TsConfigTable ts_ridge_task_table = {"ridge_task", "Ridge regression on the features of a text.",
                                           sizeof(RidgeConfig), keys, NULL};

/* ---- labels ---- */

static void collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw)
{
    const TsLabelledTask *labelled = examples->own;
    int64_t outputs = labelled->model.outputs, count;
    (void)length;
    memset(row[TS_LABELLED_LABELS], 0, (size_t)outputs * sizeof(float));
    if (draw.example < 0 || labelled->label < 0)
        return;
    const double *values = ts_dataset_numbers(examples->dataset, labelled->label, draw.example, &count);
    for (int64_t k = 0; k < outputs; k++)
        ((float *)row[TS_LABELLED_LABELS])[k] = (float)values[k];
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

/* How many outputs there are, and the mean of each in the training data: measured is 0, 1 and the means. Collective. */
static TsStatus measure(TsTask *task)
{
    TsLabelledTask *labelled = task->own;
    const TsExamples *examples = &labelled->examples;
    const TsSplit *split = &examples->part[TS_PART_TRAIN].split;
    int64_t begin, end, count, outputs;
    ts_dataset_numbers(examples->dataset, labelled->label, 0, &outputs);
    labelled->model.outputs = outputs;
    TS_TRY(ts_examples_check(examples, check_count));
    ts_examples_share(examples->setting->group, split->count, &begin, &end);
    labelled->measured_count = 3 * outputs;
    labelled->measured = ts_calloc((size_t)labelled->measured_count, sizeof *labelled->measured);
    double *means = labelled->measured + 2 * outputs;
    for (int64_t i = begin; i < end; i++)
        for (int64_t k = 0; k < outputs; k++)
            means[k] += ts_dataset_numbers(examples->dataset, labelled->label, ts_split_example(split, i), &count)[k];
    ts_metric_sum(means, outputs, examples->setting->group);
    for (int64_t k = 0; k < outputs; k++) {
        means[k] /= (double)split->count;
        labelled->measured[outputs + k] = 1;
    }
    return TS_OK;
}

static TsRowColumn label_column(const TsTask *task)
{
    return (TsRowColumn){"labels", TS_F32, ((const TsLabelledTask *)task->own)->model.outputs};
}

/* ---- the kind ---- */

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    TsClosedTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->model.head = TS_HEAD_LINEAR;
    return ts_closed_configure(task, setting,
                               (TsLabelledOptions){.model = {.objective = TS_OBJECTIVE_VALUES},
                                                   .observed = TS_OBSERVES_VALUES,
                                                   .form = TS_LABEL_NUMBERS,
                                                   .collate = collate,
                                                   .check = check_count,
                                                   .measure = measure,
                                                   .label_column = label_column});
}

static void observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                    int64_t row)
{
    int64_t outputs = task->observed_width;
    double *values = ts_calloc(2 * (size_t)outputs, sizeof *values), *truth = values + outputs;
    ts_kind_read_row(values, ts_batch_find(given, "values"), row);
    ts_kind_read_row(truth, ts_batch_find(batch, "labels"), row);
    ts_observations_add_values(observations, values, truth);
    ts_free(values);
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    json_t *list = ts_closed_numbers(task, given, row);
    (void)batch;
    json_object_set(cells, "value", json_array_size(list) == 1 ? json_array_get(list, 0) : list);
    json_decref(list);
}

/* The targets of this rank's rows. Owned by the caller. */
static double *targets_of(const TsTask *task, const TsFeatures *x)
{
    const TsLabelledTask *labelled = task->own;
    int64_t outputs = labelled->model.outputs, count;
    double *targets = ts_calloc((size_t)(x->local * outputs) + 1, sizeof *targets);
    for (int64_t i = 0; i < x->local; i++)
        memcpy(targets + i * outputs,
               ts_dataset_numbers(labelled->examples.dataset, labelled->label, ts_closed_example(task, x->first + i),
                                  &count),
               (size_t)outputs * sizeof *targets);
    return targets;
}

static TsStatus solve(const TsTask *task, const TsSolving *solving)
{
    const TsClosedTask *own = task->own;
    const RidgeConfig *config = (const RidgeConfig *)own->config;
    int64_t outputs = own->model.outputs, *kept = NULL;
    TsFeatures *x = NULL;
    TsRidgeSolution solution = {.kernel = NULL};
    TsStatus status = ts_closed_varying(&x, &kept, task, solving);
    if (!status) {
        double *targets = targets_of(task, x);
        status = ts_ridge_solve(&solution, x,
                                (TsRidge){.targets = targets,
                                          .outputs = outputs,
                                          .alphas = config->alpha.items,
                                          .alpha_count = config->alpha.count,
                                          .without_bias = !config->bias});
        ts_free(targets);
    }
    if (!status) {
        ts_closed_put_linear(task, solving, solution.kernel, x->columns, kept, solution.bias);
        ts_closed_report(solving, "alpha", &solution.alpha, 1);
        if (solution.errors)
            ts_closed_report(solving, "left_out_errors", solution.errors, config->alpha.count);
    }
    ts_ridge_free(&solution);
    ts_features_free(&x);
    ts_free(kept);
    return status;
}

const TsTaskKind ts_ridge_task = {.needs = (const char *const[]){"text", "label", NULL},
                                  .data = ts_closed_data,
                                  .configure = configure,
                                  .release = ts_labelled_release,
                                  .keep = ts_closed_keep,
                                  .give_out = ts_closed_give_values,
                                  .observe = observe,
                                  .predict = predict,
                                  .solve = solve};
