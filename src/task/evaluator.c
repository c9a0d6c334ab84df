/* SPDX-License-Identifier: Apache-2.0 */
#include "task/evaluator.h"

#include "base/memory.h"

struct TsEvaluator {
    const TsJob *job;
    const TsTask *task;
    TsStep *step;
};

TsStatus ts_evaluator_create(TsEvaluator **evaluator, const TsJob *job, const TsTask *task)
{
    TsEvaluator *made = ts_calloc(1, sizeof *made);
    *made = (TsEvaluator){.job = job, .task = task};
    TsStatus status =
        ts_step_create(&made->step, task, task->validation,
                       (TsStepOptions){.parameters = job->parameters, .dtype = job->dtype, .threads = job->threads});
    if (status)
        ts_evaluator_free(&made);
    else
        ts_step_bind(made->step, job->arrays, NULL);
    *evaluator = made;
    return status;
}

void ts_evaluator_free(TsEvaluator **evaluator)
{
    if (!*evaluator)
        return;
    ts_step_free(&(*evaluator)->step);
    ts_free(*evaluator);
    *evaluator = NULL;
}

void ts_evaluator_run(TsEvaluator *evaluator, TsWeightedScalar *scalars)
{
    TsMetrics *metrics = ts_step_metrics(evaluator->step);
    int64_t place = 0, batches = ts_loader_batches(evaluator->task->validation);
    ts_metrics_reset(metrics);
    for (int64_t batch = 0; batch < batches; batch++) {
        ts_loader_next(evaluator->task->validation, &place);
        ts_step_run(evaluator->step, batch);
    }
    ts_metrics_reduce(scalars, metrics, ts_mesh_group(evaluator->job->mesh, ts_batch_axes()));
}

const TsMetrics *ts_evaluator_metrics(const TsEvaluator *evaluator)
{
    return ts_step_metrics(evaluator->step);
}
