/* SPDX-License-Identifier: Apache-2.0
 *
 * Training: what a run is made of while it goes on, and the parts of its life: beginning, steps, hooks, end. Private to
 * the Trainer (trainer.c), whose parts these are.
 */
#pragma once

#include "task/mixture/courses.h"
#include "task/run/early_stop.h"
#include "task/evaluator.h"
#include "task/run/hosts.h"
#include "task/run/progress.h"
#include "task/run/run_dir.h"
#include "task/run/saving.h"
#include "task/run/slow.h"
#include "task/run/summaries.h"
#include "task/run/trainer.h"

/* How often the run went back, and what it knows of the last time. */
typedef struct TsRollbacks {
    int64_t count;
    int64_t failed_step, to_step; /* where it could not go on, and where it went back to */
} TsRollbacks;

typedef struct TsTraining {
    TsJob *job;
    const TsJobConfig *keys; /* of the job */
    TsRunDir *dir;
    TsCourses *courses;
    bool exhausted;           /* there are no data for a further step */
    TsEvaluator **evaluators; /* (job->task_count) NULL: no validation data */
    int averaged_count;       /* tasks whose scores are averaged, if it is more than one */
    TsLearner *learner;       /* of the courses */
    TsSaving *saving;
    TsBatch *kept; /* parameters and optimizer state, lent: what a checkpoint holds */
    int64_t step;  /* that was finished last */
    int64_t skipped_steps, skipped_in_row;
    TsRollbacks rollbacks;
    TsCourseReport report; /* of the last step */
    TsProgress progress;
    TsSpeed speed;
    TsHosts *hosts;
    double *own_s; /* (ranks) */
    TsSlow slow;
    TsSummaries *summaries;
    TsEarlyStop early_stop;
    double evaluated_s, said_s, decoded_s, spread_s;
    TsRecording recording;
    bool is_recorded; /* in RUN/run.json */
} TsTraining;

/* Makes everything, and goes on where the run stands. Collective on group; the same status on all ranks.
 * ts_training_end follows also where it fails. training_begin.c */
TS_MUST_USE TsStatus ts_training_begin(TsTraining *training, TsGroup *group, const TsConfig *config,
                                       TsTrainOptions options);
void ts_training_end(TsTraining *training);

/* What a checkpoint's state says of where the run stands, and what is packed into it. Not collective. training_state.c
 */
json_t *ts_training_pack(const TsTraining *training);
TS_MUST_USE TsStatus ts_training_unpack(TsTraining *training, const TsCheckpoint *checkpoint);

/* After learner.skip_limit skipped steps in a row: goes back to an older checkpoint, with the data where they are, or
 * gives the error that ends the run. Collective; the same status on all ranks. roll_back.c */
TS_MUST_USE TsStatus ts_training_roll_back(TsTraining *training);

/* Summaries, evaluation, checkpoint, ends of the run, in this order, each where it is due. Collective; the same status
 * on all ranks. hooks.c */
TS_MUST_USE TsStatus ts_training_hooks(TsTraining *training);

/* Solves the tasks that are solved, and evaluates all that have data for it, unless the ranks are asked to stop
 * meanwhile. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_training_evaluate(TsTraining *training);

/* Continues decode.prompts by every task that can, and says, adds to the metrics and gives to TensorBoard what came of
 * it. Collective; the same status on all ranks. texts.c */
TS_MUST_USE TsStatus ts_training_decode(TsTraining *training);

/* That there is something to continue, where run.decode_every asks for it. Not collective. */
TS_MUST_USE TsStatus ts_training_expect_prompts(const TsTraining *training);

/* What evaluation and decoding see: the averages, as they are now, or the parameters. Collective. */
const TsBatch *ts_training_evaluated(const TsTraining *training);

/* Whether there is no further step. */
bool ts_training_is_over(const TsTraining *training);
