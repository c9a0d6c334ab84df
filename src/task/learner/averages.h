/* SPDX-License-Identifier: Apache-2.0
 *
 * Averages: exponential moving averages of the parameters that learn, beside them: the Learner adds to them after each
 * step, a checkpoint holds them as "average/PATH", and evaluation and decoding may use them instead of the parameters.
 *
 * At step t + 1 a += (1 - d) (p - a), d = min(decay, (1 + t) / (10 + t)); they begin as the first parameters. They lie
 * where optimizer state does.
 */
#pragma once

#include "model/parameter.h"
#include "tensor/batch.h"

typedef struct TsAverages TsAverages;

/* The name of an average in Programs and checkpoints, "average/PATH". */
typedef struct TsAverageName {
    char text[256];
} TsAverageName;
TsAverageName ts_average_name(const char *path);

/* The averages of the trainable rows, in `state`, which has an array for each, and `arrays`, the parameters by path;
 * borrowed for its life, and with values where something is done with them. Collective on the mesh; the Status is
 * agreed. Owned by the caller. */
TS_MUST_USE TsStatus ts_averages_create(TsAverages **averages, const TsParameters *parameters, const TsBatch *arrays,
                                        const TsBatch *state, int threads);

/* Sets *averages to NULL; NULL is fine. */
void ts_averages_free(TsAverages **averages);

/* Makes them what the parameters are now: when those begin. Collective on the mesh. */
void ts_averages_begin(TsAverages *averages);

/* Brings the arrays of ts_averages_arrays up to date. Collective on the mesh. */
void ts_averages_gather(TsAverages *averages);

/* Gives back the arrays of ts_averages_arrays, which are made anew when asked for: nothing is bound to them any more.
 * Not collective. */
void ts_averages_drop(TsAverages *averages);

/* By path, placed as the parameters are: the averages as they were last gathered, and what is frozen. Made when first
 * asked for. Not collective. Borrowed. */
const TsBatch *ts_averages_arrays(TsAverages *averages);
