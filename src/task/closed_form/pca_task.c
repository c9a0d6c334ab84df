/* SPDX-License-Identifier: Apache-2.0
 *
 * PcaTask: `type: pca`: the directions in which the features of texts vary most, and how far a text lies along each.
 */
#include <jansson.h>
#include <math.h>

#include "base/memory.h"
#include "task/closed_form/closed_task.h"
#include "task/closed_form/pca.h"
#include "task/kinds/kinds.h"

typedef struct PcaConfig {
    TsClosedConfig closed; /* the first */
    int64_t components;
    bool whiten;
} PcaConfig;

static const TsKey keys[] = {
    TS_CLOSED_KEYS(PcaConfig, "examples: column text"),
    TS_KEY_INT(PcaConfig, components, "how many directions", .fallback = "2", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_BOOL(PcaConfig, whiten, "in units of the deviation along each direction", .fallback = "false"), TS_KEYS_END};
const TsConfigTable ts_pca_task_table = {"pca_task", "Principal components of the features of a text.",
                                         sizeof(PcaConfig), keys, NULL};

static TsStatus configure(TsTask *task, const TsTaskSetting *setting)
{
    TsClosedTask *own = ts_calloc(1, sizeof *own);
    task->own = own;
    own->model.head = TS_HEAD_LINEAR;
    own->model.outputs = ((const PcaConfig *)setting->keys)->components;
    TS_TRY(ts_closed_configure(task, setting, ts_closed_unlabelled()));
    task->observed = TS_OBSERVES_NOTHING;
    return TS_OK;
}

static void predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row)
{
    (void)batch;
    json_object_set_new(cells, "components", ts_closed_numbers(task, given, row));
}

/* Directions as the kernel, over their deviations where they are whitened; the bias takes the mean off. */
static void put_solution(const TsTask *task, const TsSolving *solving, const TsPcaSolution *solution,
                         const TsFeatures *x, const int64_t *kept)
{
    const TsClosedTask *own = task->own;
    int64_t k = own->model.outputs;
    double *bias = ts_calloc((size_t)k, sizeof *bias);
    for (int64_t i = 0; i < x->columns * k; i++) {
        if (((const PcaConfig *)own->config)->whiten)
            solution->directions[i] /= sqrt(solution->variance[i % k]);
        bias[i % k] -= solution->mean[i / k] * solution->directions[i];
    }
    ts_closed_put_linear(task, solving, solution->directions, x->columns, kept, bias);
    ts_closed_report(solving, "explained_variance", solution->variance, k);
    ts_closed_report(solving, "explained_variance_ratio", solution->ratio, k);
    ts_free(bias);
}

static TsStatus solve(const TsTask *task, const TsSolving *solving)
{
    int64_t *kept = NULL;
    TsFeatures *x = NULL;
    TsPcaSolution solution = {.mean = NULL};
    TsStatus status = ts_closed_varying(&x, &kept, task, solving);
    if (!status)
        status = ts_pca_solve(&solution, x, ((const TsClosedTask *)task->own)->model.outputs);
    if (!status)
        put_solution(task, solving, &solution, x, kept);
    ts_pca_free(&solution);
    ts_features_free(&x);
    ts_free(kept);
    return status;
}

const TsTaskKind ts_pca_task = {.needs = (const char *const[]){"text", NULL},
                                .data = ts_closed_data,
                                .configure = configure,
                                .release = ts_labelled_release,
                                .keep = ts_closed_keep,
                                .give_out = ts_closed_give_values,
                                .predict = predict,
                                .solve = solve};
