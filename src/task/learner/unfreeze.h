/* SPDX-License-Identifier: Apache-2.0
 *
 * Unfreezing: which parameters learn only from a step on (fine_tune.unfreeze): Howard and Ruder 2018. Until then
 * neither they nor their state move, and their gradients do not count in norms.
 */
#pragma once

#include "model/parameter.h"

typedef struct TsUnfreezing {
    int count;           /* entries */
    const int64_t *from; /* (count) the first step in which they learn; owned */
    int *of;             /* (rows of the table) the entry; -1: none. Owned */
} TsUnfreezing;

/* By the first pattern that is found in each path that learns. An error names a pattern that is found in none. `config`
 * NULL: no entries. Owned by the caller: ts_unfreezing_free, also after an error. Not collective. */
TS_MUST_USE TsStatus ts_unfreezing_create(TsUnfreezing *unfreezing, const TsFineTuneConfig *config,
                                          const TsParameters *parameters);

void ts_unfreezing_free(TsUnfreezing *unfreezing);

/* Of `steps` that a parameter was bound in, up to the step `step` of the run, those in which it learned; at least 1. */
int64_t ts_unfreezing_steps(const TsUnfreezing *unfreezing, int row, int64_t steps, int64_t step);
