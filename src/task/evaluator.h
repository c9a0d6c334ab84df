/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluator: a task's losses and metrics over data of its own, every example exactly once.
 */
#pragma once

#include "task/job.h"
#include "task/step.h"

typedef struct TsEvaluator TsEvaluator;

/* Of `data`, a loader in order that the task made, such as task->validation. All borrowed for its life. Not collective.
 * Same on all ranks: everything. Owned by the caller. */
TS_MUST_USE TsStatus ts_evaluator_create(TsEvaluator **evaluator, const TsJob *job, const TsTask *task, TsLoader *data);

/* Evaluates these parameters, by path, instead of the job's: borrowed for its life. Not collective. */
void ts_evaluator_bind(TsEvaluator *evaluator, const TsBatch *parameters);

/* Runs end after so many batches, or with the data; 0: with the data. Not collective; the same on all ranks. */
void ts_evaluator_limit(TsEvaluator *evaluator, int64_t batches);

/* Sets *evaluator to NULL; NULL is fine. */
void ts_evaluator_free(TsEvaluator **evaluator);

/* Called for each local row of each batch, in the order of batches, with what was given out for it. */
typedef void TsRowVisitor(void *visitor, const TsBatch *given, const TsBatch *batch, int64_t row, int64_t example);

/* Runs over the data, all of it but for a limit, with the parameters as they are; the scores are the same on all ranks.
 * `visit` may be NULL. An error, the same on all ranks, where they were asked to stop meanwhile (stop.h): there are no
 * scores then. Collective on the mesh. */
TS_MUST_USE TsStatus ts_evaluator_run(TsEvaluator *evaluator, TsScores *scores, TsRowVisitor *visit, void *visitor);

/* What its Programs give out, of the first length of batches; borrowed. */
const TsBatch *ts_evaluator_given(const TsEvaluator *evaluator);

/* What the last run observed on this rank; borrowed. */
const TsObservations *ts_evaluator_observations(const TsEvaluator *evaluator);

/* The names of the scores that a run of this task gives, in their order; returns how many. Not collective. */
int ts_evaluator_names(const TsEvaluator *evaluator, const char **names);
