/* SPDX-License-Identifier: Apache-2.0
 *
 * RidgeTask: `type: ridge`: one number of a text, or several, by ridge regression on its features.
 */
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "task/closed_form/closed_task.h"
#include "task/closed_form/ridge.h"
#include "task/kinds/kinds.h"
#include "task/kinds/number_labels.h"

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

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    TsClosedTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->model.head = TS_HEAD_LINEAR;
    return ts_closed_configure(task, setting,
                               (TsLabelledOptions){.model = {.objective = TS_OBJECTIVE_VALUES},
                                                   .observed = TS_OBSERVES_VALUES,
                                                   .form = TS_LABEL_NUMBERS,
                                                   .collate = ts_numbers_collate,
                                                   .check = ts_numbers_check,
                                                   .measure = ts_numbers_measure,
                                                   .label_column = ts_numbers_column});
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
                                  .observe = ts_numbers_observe,
                                  .predict = ts_numbers_predict,
                                  .baseline = ts_numbers_baseline,
                                  .solve = solve};
