/* SPDX-License-Identifier: Apache-2.0 */
#include "task/evaluate.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/sharding.h"
#include "task/evaluator.h"
#include "task/restored.h"

/* ---- evaluation ---- */

static void print_scores(const TsJob *job, const TsTask *task, const TsScores *scores)
{
    for (int i = 0; i < scores->count && ts_group_rank(job->group) == 0; i++)
        printf("%s\t%s\t%.6g\t%.0f\n", task->name, scores->score[i].name, scores->score[i].scalar.value,
               scores->score[i].scalar.weight);
}

static void print_confusion(const TsJob *job, const TsTask *task, const TsObservations *observations)
{
    int64_t width = observations->width;
    if (observations->kind != TS_OBSERVES_CLASSES)
        return;
    int64_t *matrix = ts_calloc((size_t)(width * width) + 1, sizeof *matrix);
    ts_confusion_matrix(matrix, observations, ts_mesh_group(job->mesh, ts_batch_axes()));
    for (int64_t i = 0; i < width * width && ts_group_rank(job->group) == 0; i++) {
        if (i % width == 0)
            printf("%s\tconfusion %lld", task->name, (long long)(i / width));
        printf("\t%lld%s", (long long)matrix[i], i % width == width - 1 ? "\n" : "");
    }
    ts_free(matrix);
}

static TsStatus evaluate_task(const TsJob *job, const TsTask *task, TsLoader *data, TsEvalOptions options)
{
    TsEvaluator *evaluator = NULL;
    TsScores scores = {0};
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, task, data)));
    ts_evaluator_run(evaluator, &scores, NULL, NULL);
    if (options.baselines && task->kind->baseline)
        task->kind->baseline(task, &scores, data, job->group);
    print_scores(job, task, &scores);
    if (options.confusion)
        print_confusion(job, task, ts_evaluator_observations(evaluator));
    ts_evaluator_free(&evaluator);
    return ts_comm_agree(job->group, ts_group_rank(job->group) || fflush(stdout) == 0
                                         ? TS_OK
                                         : ts_status_error(TS_CODE_IO, "the scores could not be printed"));
}

TsStatus ts_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options)
{
    TsJob *job = NULL;
    const TsTask *only = NULL;
    TS_TRY(ts_restored_open(&job, group, config, (TsList){0}));
    TsStatus status = options.task ? ts_job_find_task(&only, job, options.task) : TS_OK;
    int evaluated = 0;
    for (int i = 0; i < job->task_count && !status; i++) {
        TsLoader *data = NULL;
        if (only && job->tasks[i] != only)
            continue;
        status = ts_restored_part(&data, job->tasks[i], options.part);
        if (!status && data) {
            status = evaluate_task(job, job->tasks[i], data, options);
            evaluated++;
        }
    }
    if (!status && evaluated == 0)
        status = ts_status_error(TS_CODE_NOT_FOUND, "no task has data for %s", options.part);
    ts_job_close(&job);
    return status;
}
