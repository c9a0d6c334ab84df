/* SPDX-License-Identifier: Apache-2.0
 *
 * NumberLabels: what the kinds share whose labels are numbers, one or several of an example: rows of them, that all
 * examples have as many, and their mean and deviation in the training data, by which they may be scaled.
 *
 * task->own of these kinds begins with a TsLabelledTask, whose `measured` is (3, outputs): what is taken from labels,
 * what they are divided by, and their mean.
 */
#pragma once

#include "task/kinds/labelled_task.h"

/* TsLabelledOptions.collate, .check and .label_column: labels (B, outputs) f32, scaled. */
void ts_numbers_collate(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw);
TS_MUST_USE TsStatus ts_numbers_check(const TsExamples *examples, int64_t example);
TsRowColumn ts_numbers_column(const TsTask *task);

/* TsLabelledOptions.measure: labels as they are, and less their mean over their deviation. Collective. */
TS_MUST_USE TsStatus ts_numbers_measure(TsTask *task);
TS_MUST_USE TsStatus ts_numbers_measure_scaled(TsTask *task);

/* A number that was scaled, in the units of the data. */
double ts_numbers_unscaled(const TsLabelledTask *labelled, int64_t output, double value);

/* A row of scaled numbers in the units of the data: values (outputs). */
void ts_numbers_read(const TsLabelledTask *labelled, double *values, const TsArray *array, int64_t row);

/* TsTaskKind.observe and .predict of "values", and .baseline: the mean of the training data. */
void ts_numbers_observe(const TsTask *task, TsObservations *observations, const TsBatch *given, const TsBatch *batch,
                        int64_t row);
void ts_numbers_predict(const TsTask *task, json_t *cells, const TsBatch *given, const TsBatch *batch, int64_t row);
void ts_numbers_baseline(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group);
