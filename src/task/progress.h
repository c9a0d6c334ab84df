/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress: what a run says while it goes: lines for people, and metrics.jsonl.
 */
#pragma once

#include "task/learner.h"
#include "task/metric.h"
#include "task/metrics.h"
#include "task/run_dir.h"

typedef struct TsProgress {
    int64_t steps_at_start, steps; /* of the run: where this start began, and where it ends */
    double started_s, last_s;      /* by ts_progress_now */
    int64_t tokens;                /* since last_s */
} TsProgress;

/* Seconds of a clock that does not jump. */
double ts_progress_now(void);

TsProgress ts_progress_start(int64_t step, int64_t steps);

/* What there is to say about the steps since the last time. */
typedef struct TsProgressTask {
    const char *name;
    TsWeightedScalar loss; /* weight 0: did not run */
} TsProgressTask;

typedef struct TsProgressReport {
    int64_t step;
    const TsProgressTask *tasks; /* (task_count) */
    int task_count;
    TsLearnerReport learner; /* of the last step */
    int64_t skipped_steps;   /* of the run */
} TsProgressReport;

/* Prints "step  1200/2000  loss 2.913  41.2k tokens/s  3:12 left", adds it to the metrics, and begins to count anew. */
void ts_progress_say(TsProgress *progress, TsRunDir *dir, TsProgressReport report);

/* Prints and adds a task's evaluation. */
void ts_progress_say_evaluation(TsRunDir *dir, int64_t step, const char *task, const TsScores *scores);
