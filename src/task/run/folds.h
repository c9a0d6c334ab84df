/* SPDX-License-Identifier: Apache-2.0
 *
 * Folds: what is done with each of k folds in its turn, in one job, where `split: {type: k_fold}` of a task leaves out
 * which: training in run.dir/fold_0, run.dir/fold_1 and so on, and the scores of each beside their mean.
 */
#pragma once

#include "task/command/evaluate.h"
#include "task/run/trainer.h"

/* How many folds the tasks ask for; 0: none of them for all. Tasks that differ are an error. Not collective; the same
 * on all ranks. */
TS_MUST_USE TsStatus ts_folds_count(int64_t *count, const TsConfig *config);

/* Trains each fold, or goes on with it, evaluates it on its own examples, and prints on rank 0 a line a score: TASK,
 * name, mean, deviation, then the value of each fold, between tabs; also in run.dir/folds.tsv. Where no task asks for
 * folds it is ts_train. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_folds_train(TsGroup *group, const TsConfig *config, TsTrainOptions options);

/* The same with runs that are there: evaluates the newest checkpoint of each. Where no task asks for folds it is
 * ts_evaluate. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_folds_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options);
