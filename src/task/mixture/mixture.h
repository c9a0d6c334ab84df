/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixture: which task a step runs.
 *
 * Tasks alternate (`interleaved`): each step draws one; or a step runs all that have a rate (`joint`, `concurrent`:
 * courses.h). Rates count examples: a task whose batches are larger is drawn
 * less often. Mixtures may hold mixtures; the rate of a task is the sum over all ways to it of the product of the rates
 * on the way. The draw for a step is a function of (seed, step, places in the data) alone, so every rank, and every
 * resumed run, has the same sequence without a word between them.
 */
#pragma once

#include "task/mixture/sampler.h"

typedef enum TsMixtureMode { TS_MIXTURE_INTERLEAVED, TS_MIXTURE_JOINT, TS_MIXTURE_CONCURRENT } TsMixtureMode;
typedef enum TsMixtureUnit { TS_BY_EXAMPLES, TS_BY_TOKENS, TS_BY_STEPS } TsMixtureUnit;
typedef enum TsExhausted { TS_EXHAUSTED_REPEAT, TS_EXHAUSTED_DROP, TS_EXHAUSTED_STOP } TsExhausted;

/* A mixture in a mixture. */
typedef struct TsSubmixtureConfig {
    TsChoice sampler; /* of ts_samplers */
    TsMap of;         /* of double: weights of tasks and mixtures, by name */
} TsSubmixtureConfig;

typedef struct TsMixtureConfig {
    TsMixtureMode mode;
    TsChoice balance; /* of ts_balances: of what a joint or concurrent step adds up */
    bool conflicts;   /* gradients are kept apart, and what they have to do with one another is said */
    double scaling;   /* concurrent: the efficiency of a group of twice as many ranks */
    int64_t recut;    /* concurrent: how often groups are looked at, in steps */
    int64_t batches;  /* of a step of all tasks, as rates say; 0: one of each */
    TsChoice sampler; /* of ts_samplers */
    TsMap of;         /* of double: weights of tasks and mixtures, by name; empty: the tasks with their own weights */
    TsMap mixtures;   /* of TsSubmixtureConfig, by name */
    TsMixtureUnit by; /* what rates count */
    TsExhausted exhausted;
    double epochs;   /* passes through a task's data, after which it is exhausted */
    bool importance; /* losses are scaled by loss weight over rate */
} TsMixtureConfig;

extern const TsConfigTable ts_mixture_table;

/* What a mixture knows of a task. */
typedef struct TsMixtureTask {
    const char *name; /* borrowed */
    double weight, loss_weight;
    int64_t examples;     /* of its training data */
    int64_t rows, tokens; /* of a batch; at least 1 */
} TsMixtureTask;

typedef struct TsMixture TsMixture;

/* Of `count` tasks. Errors name the task or mixture: a weight that is negative or not finite, all of them zero, a name
 * that is none, a mixture that contains itself. Not collective. Same on all ranks: everything. The config is borrowed.
 * Owned by the caller: ts_mixture_free. */
TS_MUST_USE TsStatus ts_mixture_create(TsMixture **mixture, const TsMixtureConfig *config, const TsMixtureTask *tasks,
                                       int count, uint64_t seed);

/* Sets *mixture to NULL; NULL is fine. */
void ts_mixture_free(TsMixture **mixture);

/* The task of `step` (from 1), where places[i] examples of task i were taken before it; -1: data are exhausted, and the
 * run ends. Not collective, no allocation. */
int ts_mixture_task(TsMixture *mixture, int64_t step, const int64_t *places);

/* The part of all that is counted (examples, tokens or steps) which each task has from `step` on: (count), borrowed
 * until the next call. All zero where everything is exhausted. */
const double *ts_mixture_rates(TsMixture *mixture, int64_t step, const int64_t *places);

/* batches (count): how many batches of each task a step of all tasks has: none of a task without a rate, of the others
 * one each, or where the config asks for more, so many that what rates count comes as near to them as whole batches
 * can, and at least one each. */
void ts_mixture_batches(TsMixture *mixture, int64_t *batches, int64_t step, const int64_t *places);

/* What the loss of a task is multiplied by at `step`: its loss weight; with `importance` that, over the loss weights of
 * all tasks that have a rate, over the chance that this step draws it. */
double ts_mixture_loss_scale(TsMixture *mixture, int task, int64_t step, const int64_t *places);
