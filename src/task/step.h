/* SPDX-License-Identifier: Apache-2.0
 *
 * Step: a task's compiled pass over a batch: forward, and to train also backward, with the collectives in their places.
 *
 * Gradients come out where the Learner wants them, or, where several tasks learn in one step, are added up as they
 * come. Losses stay parts on each rank, in the step's Metrics.
 */
#pragma once

#include "model/parameter.h"
#include "task/learner/learner.h"
#include "task/metric/metrics.h"
#include "task/learner/objective.h"
#include "task/task.h"
#include "tensor/program.h"
#include "tensor/timeline.h"

typedef struct TsStep TsStep;

typedef enum TsStepGradients {
    TS_GRADIENTS_GIVEN,    /* outputs, where the Learner wants them */
    TS_GRADIENTS_ADDED,    /* the same, added to what is bound */
    TS_GRADIENTS_IN_PARTS, /* added to what is bound as parts of a sum over the batch axes: no message between ranks */
} TsStepGradients;

typedef struct TsStepOptions {
    TsParameters *parameters;           /* tracing declares here */
    const TsLearnerConfig *learner;     /* NULL: a pass that evaluates: no dropout, no gradients */
    const TsObjectiveConfig *objective; /* NULL: the mean of the first loss */
    const TsVnConfig *vn;               /* NULL: no noise */
    uint64_t seed;                      /* of dropout and noise */
    TsAxis sequence;                    /* cuts the sequence between blocks; TS_AXIS_NONE: it is whole */
    bool gives_out;                     /* also what the task's metrics and predictions are made of: ts_step_given */
    TsStepGradients gradients;          /* what becomes of them */
    const TsBatch *added;               /* gradients that are TS_GRADIENTS_ADDED, whatever `gradients` says; or NULL */
    TsMetrics *metrics;                 /* that losses are added to, borrowed; NULL: the step's own */
    TsMemoryPolicy memory;              /* what the backward pass computes again */
    TsDtype dtype;
    int threads;
} TsStepOptions;

/* Traces and compiles the task's Model over `batch`, which it is bound to. All borrowed for the life of the step. Not
 * collective. Same on all ranks: everything. Errors: those of tracing and compiling, with the task's name before them.
 * Owned by the caller. */
TS_MUST_USE TsStatus ts_step_create(TsStep **step, const TsTask *task, const TsBatch *batch, TsStepOptions options);

/* The metrics that such a step would have, for who does not run it but adds up what others do. Not collective. Owned by
 * the caller. */
TsMetrics *ts_step_metrics_of(const TsTask *task, const TsBatch *batch, TsStepOptions options);

/* Sets *step to NULL; NULL is fine. */
void ts_step_free(TsStep **step);

/* Binds parameters, and to train gradients, by name: borrowed. Not collective. */
void ts_step_bind(TsStep *step, const TsBatch *parameters, const TsBatch *gradients);

/* Runs it on what the batch holds, and adds the losses to the metrics. Gradients are those of loss_scale times the
 * loss. Collective on the mesh; same on all ranks: number, the step's in the run, and loss_scale. */
void ts_step_run(TsStep *step, int64_t number, double loss_scale);

/* The losses by name; borrowed. */
TsMetrics *ts_step_metrics(const TsStep *step);

/* Records what runs of it do from now on; NULL: no more. Not collective. */
void ts_step_record(TsStep *step, TsTimeline *timeline);

/* What the task's kind gives out, by name, as of the last run: rows cut along data, nothing else. Borrowed. */
const TsBatch *ts_step_given(const TsStep *step);

/* What it runs, for plans; borrowed. */
const TsProgram *ts_step_program(const TsStep *step);
