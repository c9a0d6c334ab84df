/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluator: a task's losses over its validation data, every example exactly once.
 */
#pragma once

#include "task/job.h"
#include "task/step.h"

typedef struct TsEvaluator TsEvaluator;

/* Of a task that has validation data. All borrowed for its life. Not collective. Same on all ranks: everything. Owned
 * by the caller. */
TS_MUST_USE TsStatus ts_evaluator_create(TsEvaluator **evaluator, const TsJob *job, const TsTask *task);

/* Sets *evaluator to NULL; NULL is fine. */
void ts_evaluator_free(TsEvaluator **evaluator);

/* Runs over all validation data with the parameters as they are. scalars (ts_metrics_count), the same on all ranks.
 * Collective on the mesh. */
void ts_evaluator_run(TsEvaluator *evaluator, TsWeightedScalar *scalars);

/* The names of what it measures; borrowed. */
const TsMetrics *ts_evaluator_metrics(const TsEvaluator *evaluator);
