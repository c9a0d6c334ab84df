/* SPDX-License-Identifier: Apache-2.0
 *
 * Progress: what a run says while it goes: lines for people, and metrics.jsonl.
 */
#pragma once

#include "task/config.h"
#include "task/run/report.h"
#include "task/run/run_dir.h"

typedef struct TsProgress {
    int64_t steps_at_start, steps; /* of the run: where this start began, and where it ends */
    double started_s;              /* by ts_progress_now */
    bool rewrites;                 /* one line, in place */
} TsProgress;

/* Seconds of a clock that does not jump. */
double ts_progress_now(void);

/* From `step` to `steps`, as run.progress says. */
TsProgress ts_progress_start(int64_t step, int64_t steps, TsProgressKind kind);

/* Prints "step  1200/2000  loss 2.913  41.2k tokens/s  78 % of peak  3:12 left", and adds it to the metrics. */
void ts_progress_say(const TsProgress *progress, TsRunDir *dir, const TsReport *report);

/* Prints and adds a task's evaluation. */
void ts_progress_say_evaluation(TsRunDir *dir, int64_t step, const char *task, const TsScores *scores);
