/* SPDX-License-Identifier: Apache-2.0
 *
 * Rank order: where each of many numbers stands among those of all ranks, without any rank holding all of them.
 *
 * A sample sort: each rank sorts its own, splitters are chosen from regular samples of all, numbers move once, are
 * counted where they arrive, and the counts go back to their owners. Equals are told apart by their place, so that even
 * when all numbers are alike no rank receives much more than its share. Used by metrics.
 */
#pragma once

#include "comm/group.h"

/* Of one number among all: how many are smaller, and how many are equal, itself included. */
typedef struct TsStanding {
    int64_t smaller, equal;
} TsStanding;

/* standing[i] = that of values[i * stride] among the values of all ranks of group, i < count. No NaNs. Returns how many
 * values this rank received. Collective on group. */
int64_t ts_rank_order(TsStanding *standing, const double *values, int64_t count, int64_t stride, TsGroup *group);
