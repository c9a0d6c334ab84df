/* SPDX-License-Identifier: Apache-2.0
 *
 * Report: what there is to say about the steps of a run since the last time: to people (progress.h), to metrics.jsonl,
 * and to TensorBoard (summaries.h).
 */
#pragma once

#include "task/learner/learner.h"
#include "task/metric/metric.h"
#include "task/run/speed.h"

typedef struct TsReportTask {
    const char *name;
    TsWeightedScalar loss; /* since the last report; weight 0: it did not run */
    double rate;           /* of the mixture, from now on */
    int64_t steps;         /* that it had so far */
    double grad_norm;      /* of its gradient over what tasks share; 0 where it is not known */
} TsReportTask;

typedef struct TsReport {
    int64_t step;
    const TsReportTask *tasks; /* (task_count) */
    int task_count;
    const double *cosines;   /* (task_count, task_count) between their gradients; NULL: not known */
    TsWeightedScalar loss;   /* of all that ran, by their weights */
    TsLearnerReport learner; /* of the last step */
    double weight_norm;
    int64_t skipped_steps, rollbacks; /* of the run */
    TsSpeedReport speed;
} TsReport;
