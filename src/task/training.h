/* SPDX-License-Identifier: Apache-2.0
 *
 * Training: what a run is made of while it goes on, and the parts of its life: beginning, steps, hooks, end. Private to
 * the Trainer (trainer.c), whose parts these are.
 */
#pragma once

#include "task/early_stop.h"
#include "task/evaluator.h"
#include "task/progress.h"
#include "task/recording.h"
#include "task/run_dir.h"
#include "task/saving.h"
#include "task/summaries.h"
#include "task/trainer.h"

/* A task in training. */
typedef struct TsCourse {
    TsTask *task;
    TsStep *passes[TS_MAX_LENGTHS]; /* one a length of batches */
    double flops[TS_MAX_LENGTHS];   /* of each, on all ranks together */
    TsEvaluator *evaluator;         /* NULL: no validation data */
} TsCourse;

typedef struct TsTraining {
    TsJob *job;
    const TsJobConfig *keys; /* of the job */
    TsRunDir *dir;
    TsCourse *courses; /* (job->task_count) */
    TsMixture *mixture;
    int64_t *places, *task_steps; /* (job->task_count) examples taken of each task, and its steps, so far */
    int next_task;                /* of the next step; -1: data are exhausted */
    TsLearner *learner;
    TsSaving *saving;
    TsBatch *kept; /* parameters and optimizer state, lent: what a checkpoint holds */
    int64_t step;  /* that was finished last */
    int64_t skipped_steps, skipped_in_row;
    TsLearnerReport report; /* of the last step */
    TsProgress progress;
    TsSpeed speed;
    TsSummaries *summaries;
    TsEarlyStop early_stop;
    double evaluated_s, said_s;
    TsRecording recording;
    bool is_recorded; /* in RUN/run.json */
} TsTraining;

/* Makes everything, and goes on where the run stands. Collective on group; the same status on all ranks.
 * ts_training_end follows also where it fails. training_begin.c */
TS_MUST_USE TsStatus ts_training_begin(TsTraining *training, TsGroup *group, const TsConfig *config,
                                       TsTrainOptions options);
void ts_training_end(TsTraining *training);

/* Summaries, evaluation, checkpoint, ends of the run, in this order, each where it is due. `signal` is what asks this
 * rank to stop, or 0. Collective; the same status on all ranks. hooks.c */
TS_MUST_USE TsStatus ts_training_hooks(TsTraining *training, int signal);

/* Evaluates all tasks that have data for it. Collective. */
void ts_training_evaluate(TsTraining *training);

/* Whether there is no further step. */
bool ts_training_is_over(const TsTraining *training);
