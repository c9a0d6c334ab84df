/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixture: which task a step runs.
 *
 * Tasks alternate (`interleaved`): each step samples one. The draw for a step is a function of (seed, step, rates)
 * alone, so every rank, and every resumed run, has the same sequence without a word between them.
 */
#pragma once

#include "base/config.h"

typedef enum TsMixtureMode { TS_MIXTURE_INTERLEAVED } TsMixtureMode;

typedef struct TsProportional {
    double alpha; /* of weight^alpha */
} TsProportional;

typedef struct TsMixtureConfig {
    TsMixtureMode mode;
    TsChoice sampler; /* of ts_samplers */
} TsMixtureConfig;

extern const TsVariants ts_samplers; /* uniform, proportional, round_robin */
extern const TsConfigTable ts_mixture_table;

typedef struct TsMixture TsMixture;

/* Of `count` tasks with these weights (not negative, finite, not all zero: else an error that names the task). Not
 * collective. Same on all ranks: everything. Owned by the caller. */
TS_MUST_USE TsStatus ts_mixture_create(TsMixture **mixture, const TsMixtureConfig *config, const char *const *names,
                                       const double *weights, int count, uint64_t seed);

/* Sets *mixture to NULL; NULL is fine. */
void ts_mixture_free(TsMixture **mixture);

/* The task of `step` (from 1). */
int ts_mixture_task(const TsMixture *mixture, int64_t step);

/* The part of all steps that a task gets, in 0..1. */
double ts_mixture_rate(const TsMixture *mixture, int task);
