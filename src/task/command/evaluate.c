/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/evaluate.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/sharding.h"
#include "task/evaluator.h"
#include "task/run/histogram.h"
#include "task/run/restored.h"
#include "task/run/stop.h"

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

static void print_histogram(const TsTask *task, const char *what, int64_t number, const double *values, int64_t count,
                            int64_t stride, TsGroup *group, bool prints)
{
    TsHistogram histogram = ts_histogram(values, count, stride, group);
    if (!prints)
        return;
    printf("%s\thistogram %s %lld\t%.0f\t%.6g\t%.6g\t%.6g", task->name, what, (long long)number, histogram.count,
           histogram.least, histogram.greatest, histogram.mean);
    for (int i = 0; i < TS_HISTOGRAM_BINS; i++)
        printf("\t%.0f", histogram.counts[i]);
    printf("\n");
}

/* Of each class or label its probabilities, of each value what was predicted and by how much it was wrong. */
static void print_histograms(const TsJob *job, const TsTask *task, const TsObservations *observations)
{
    TsGroup *group = ts_mesh_group(job->mesh, ts_batch_axes());
    int64_t width = observations->width, count = observations->count;
    bool prints = ts_group_rank(job->group) == 0, of_values = observations->kind == TS_OBSERVES_VALUES;
    double *errors = ts_calloc((size_t)count + 1, sizeof *errors);
    for (int64_t k = 0; k < width && observations->kind != TS_OBSERVES_NOTHING; k++) {
        print_histogram(task, of_values ? "value" : "probability", k, observations->scores + k, count, width, group,
                        prints);
        for (int64_t i = 0; i < count && of_values; i++)
            errors[i] = observations->scores[i * width + k] - observations->truth[i * width + k];
        if (of_values)
            print_histogram(task, "error", k, errors, count, 1, group, prints);
    }
    ts_free(errors);
}

static TsStatus evaluate_task(TsScores *scores, const TsJob *job, const TsTask *task, TsLoader *data,
                              TsEvalOptions options)
{
    TsEvaluator *evaluator = NULL;
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, task, data)));
    TsStatus status = ts_evaluator_run(evaluator, scores, NULL, NULL);
    if (!status && options.baselines && task->kind->baseline)
        task->kind->baseline(task, scores, data, job->group);
    if (!status && options.confusion)
        print_confusion(job, task, ts_evaluator_observations(evaluator));
    if (!status && options.histograms)
        print_histograms(job, task, ts_evaluator_observations(evaluator));
    ts_evaluator_free(&evaluator);
    return status;
}

TsStatus ts_evaluation_run(TsEvaluation *evaluation, TsGroup *group, const TsConfig *config, TsEvalOptions options)
{
    TsJob *job = NULL;
    const TsTask *only = NULL;
    *evaluation = (TsEvaluation){0};
    ts_stop_watch();
    TS_TRY(ts_restored_open(&job, group, config, (TsRestoredOptions){0}));
    TsStatus status = options.task ? ts_job_find_task(&only, job, options.task) : TS_OK;
    evaluation->tasks = ts_calloc((size_t)job->task_count, sizeof *evaluation->tasks);
    for (int i = 0; i < job->task_count && !status; i++) {
        TsLoader *data = NULL;
        if (only && job->tasks[i] != only)
            continue;
        status = ts_restored_part(&data, job->tasks[i], options.part);
        if (status || !data)
            continue;
        status = evaluate_task(&evaluation->tasks[evaluation->count].scores, job, job->tasks[i], data, options);
        evaluation->tasks[evaluation->count++].task = ts_strdup(job->tasks[i]->name);
    }
    if (!status && evaluation->count == 0)
        status = ts_status_error(TS_CODE_NOT_FOUND, "no task has data for %s", options.part);
    ts_job_close(&job);
    return status;
}

void ts_evaluation_free(TsEvaluation *evaluation)
{
    for (int i = 0; i < evaluation->count; i++)
        ts_free(evaluation->tasks[i].task);
    ts_free(evaluation->tasks);
    *evaluation = (TsEvaluation){0};
}

static void print_scores(const char *task, const TsScores *scores)
{
    for (int s = 0; s < scores->count; s++)
        printf("%s\t%s\t%.6g\t%.0f\n", task, scores->score[s].name, scores->score[s].scalar.value,
               scores->score[s].scalar.weight);
}

/* The average over tasks, where there are several. */
static void print_average(const TsEvaluation *evaluation, const TsJobConfig *keys)
{
    const TsTaskConfig *task = keys->tasks.items;
    TsScores *scores = ts_calloc((size_t)evaluation->count + 1, sizeof *scores), average;
    double *weight = ts_calloc((size_t)evaluation->count + 1, sizeof *weight);
    int averaged = 0;
    for (int t = 0; t < evaluation->count; t++) {
        scores[t] = evaluation->tasks[t].scores;
        for (int64_t i = 0; i < keys->tasks.count; i++)
            if (strcmp(keys->tasks.names[i], evaluation->tasks[t].task) == 0)
                weight[t] = task[i].evaluation_weight;
        averaged += weight[t] > 0;
    }
    ts_scores_average(&average, scores, weight, evaluation->count);
    if (averaged > 1)
        print_scores(TS_AVERAGE, &average);
    ts_free(scores);
    ts_free(weight);
}

TsStatus ts_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options)
{
    TsEvaluation evaluation;
    TsStatus status = ts_evaluation_run(&evaluation, group, config, options);
    bool prints = !status && ts_group_rank(group) == 0;
    for (int t = 0; t < evaluation.count && prints; t++)
        print_scores(evaluation.tasks[t].task, &evaluation.tasks[t].scores);
    if (prints)
        print_average(&evaluation, ts_config_value(config));
    if (prints && fflush(stdout) != 0)
        status = ts_status_error(TS_CODE_IO, "the scores could not be printed");
    ts_evaluation_free(&evaluation);
    return ts_comm_agree(group, status);
}
