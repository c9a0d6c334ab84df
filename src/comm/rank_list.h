/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of ranks in words, for messages. Included by src/comm only.
 */
#pragma once

#include <stdbool.h>

/* "rank 3", "ranks 0-4, 7"; ends in "…" where it does not fit. */
typedef struct TsRankList {
    char text[200];
} TsRankList;

/* The ranks r in 0..ranks-1 for which chosen[r] holds. Not collective. */
TsRankList ts_rank_list(const bool *chosen, int ranks);
