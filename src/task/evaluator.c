/* SPDX-License-Identifier: Apache-2.0 */
#include "task/evaluator.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "task/run/stop.h"

struct TsEvaluator {
    const TsJob *job;
    const TsTask *task;
    TsLoader *data;
    TsStep *steps[TS_MAX_LENGTHS]; /* one a length of batches */
    TsObservations observations;
    int64_t limit; /* batches of a run; 0: all */
};

TsStatus ts_evaluator_create(TsEvaluator **evaluator, const TsJob *job, const TsTask *task, TsLoader *data)
{
    TsEvaluator *made = ts_calloc(1, sizeof *made);
    *made = (TsEvaluator){.job = job,
                          .task = task,
                          .data = data,
                          .observations = ts_observations_create(task->observed, task->observed_width)};
    TsStatus status = TS_OK;
    for (int k = 0; k < ts_loader_lengths(data) && !status; k++) {
        status = ts_step_create(&made->steps[k], task, ts_loader_batch(data, k),
                                (TsStepOptions){.parameters = ts_job_parameters_of(job, task),
                                                .sequence = ts_job_sequence(job->keys),
                                                .gives_out = true,
                                                .metrics = k ? ts_step_metrics(made->steps[0]) : NULL,
                                                .dtype = job->dtype,
                                                .threads = job->threads});
        if (!status)
            ts_step_bind(made->steps[k], job->arrays, NULL);
    }
    if (status)
        ts_evaluator_free(&made);
    *evaluator = made;
    return status;
}

void ts_evaluator_bind(TsEvaluator *evaluator, const TsBatch *parameters)
{
    for (int k = 0; k < TS_MAX_LENGTHS && evaluator->steps[k]; k++)
        ts_step_bind(evaluator->steps[k], parameters, NULL);
}

void ts_evaluator_limit(TsEvaluator *evaluator, int64_t batches)
{
    evaluator->limit = batches;
}

void ts_evaluator_free(TsEvaluator **evaluator)
{
    if (!*evaluator)
        return;
    for (int k = TS_MAX_LENGTHS - 1; k >= 0; k--)
        ts_step_free(&(*evaluator)->steps[k]);
    ts_observations_free(&(*evaluator)->observations);
    ts_free(*evaluator);
    *evaluator = NULL;
}

/* Adds up to scores what the losses came to, and what follows from them. */
static void score_losses(const TsEvaluator *evaluator, TsScores *scores)
{
    TsMetrics *metrics = ts_step_metrics(evaluator->steps[0]);
    TsWeightedScalar losses[TS_MAX_LOSSES];
    ts_metrics_reduce(losses, metrics, ts_mesh_group(evaluator->job->mesh, ts_batch_axes()));
    for (int i = 0; i < ts_metrics_count(metrics); i++)
        ts_scores_add(scores, ts_metrics_name(metrics, i), losses[i]);
    if (evaluator->task->has_perplexity)
        ts_scores_add(scores, "perplexity", (TsWeightedScalar){exp(losses[0].value), losses[0].weight});
    if (evaluator->task->nats_to_bits_a_byte > 0)
        ts_scores_add(scores, "bits_a_byte",
                      (TsWeightedScalar){losses[0].value * evaluator->task->nats_to_bits_a_byte, losses[0].weight});
}

TsStatus ts_evaluator_run(TsEvaluator *evaluator, TsScores *scores, TsRowVisitor *visit, void *visitor)
{
    const TsTask *task = evaluator->task;
    int64_t place = 0, batches = ts_loader_batches(evaluator->data), rows = ts_loader_local_rows(evaluator->data);
    TsGroup *group = ts_mesh_group(evaluator->job->mesh, ts_batch_axes());
    *scores = (TsScores){0};
    if (evaluator->limit && evaluator->limit < batches)
        batches = evaluator->limit;
    ts_metrics_reset(ts_step_metrics(evaluator->steps[0]));
    ts_observations_clear(&evaluator->observations);
    for (int64_t number = 0; number < batches; number++) {
        int why = ts_stop_agreed(evaluator->job->group);
        if (why)
            return ts_stop_error(why);
        int k = ts_loader_next(evaluator->data, &place);
        const TsBatch *batch = ts_loader_batch(evaluator->data, k);
        ts_step_run(evaluator->steps[k], number, 1);
        for (int64_t row = 0; row < rows; row++) {
            int64_t example = ts_loader_examples(evaluator->data)[row];
            if (example < 0)
                continue;
            if (task->kind->observe && task->observed != TS_OBSERVES_NOTHING)
                task->kind->observe(task, &evaluator->observations, ts_step_given(evaluator->steps[k]), batch, row);
            if (visit)
                visit(visitor, ts_step_given(evaluator->steps[k]), batch, row, example);
        }
    }
    score_losses(evaluator, scores);
    for (int i = 0; i < task->metric_count; i++)
        ts_scores_add(scores, task->metrics[i]->name, task->metrics[i]->compute(&evaluator->observations, group));
    return TS_OK;
}

const TsBatch *ts_evaluator_given(const TsEvaluator *evaluator)
{
    return ts_step_given(evaluator->steps[0]);
}

const TsObservations *ts_evaluator_observations(const TsEvaluator *evaluator)
{
    return &evaluator->observations;
}

int ts_evaluator_names(const TsEvaluator *evaluator, const char **names)
{
    const TsMetrics *metrics = ts_step_metrics(evaluator->steps[0]);
    int count = 0;
    for (int i = 0; i < ts_metrics_count(metrics); i++)
        names[count++] = ts_metrics_name(metrics, i);
    if (evaluator->task->has_perplexity)
        names[count++] = "perplexity";
    if (evaluator->task->nats_to_bits_a_byte > 0)
        names[count++] = "bits_a_byte";
    for (int i = 0; i < evaluator->task->metric_count; i++)
        names[count++] = evaluator->task->metrics[i]->name;
    return count;
}
