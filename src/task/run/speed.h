/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed: how fast a run goes, beside what its ranks can do: a product of matrices that is timed on all of them at once
 * when the run begins.
 */
#pragma once

#include "comm/group.h"
#include "tensor/array.h"

typedef struct TsSpeed {
    double peak_flops; /* a second, of all ranks together */
    double since_s;    /* what follows is counted since then */
    int64_t steps, tokens;
    double flops;
    double waited_s; /* for other ranks, by the accounting, at since_s */
} TsSpeed;

/* Times a product in `dtype` (of bf16, that of f32 is taken) for a tenth of a second. Collective on group. */
TsSpeed ts_speed_start(TsGroup *group, TsDtype dtype, int threads);

/* Adds a step. Not collective. */
void ts_speed_add(TsSpeed *speed, int64_t tokens, double flops);

typedef struct TsSpeedReport {
    double steps_per_s, tokens_per_s;
    double flops_fraction;         /* of the peak */
    double communication_fraction; /* of the time, waiting for others: the mean of the ranks */
    double imbalance;              /* the most that a rank computes, over the mean, less 1 */
} TsSpeedReport;

/* What there is to say since the last time, and own_s (ranks), the seconds that each rank did not wait for others;
 * counts anew. The same on all ranks. Collective on group: one small message each. */
TsSpeedReport ts_speed_take(TsSpeed *speed, double *own_s, TsGroup *group);
