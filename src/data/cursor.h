/* SPDX-License-Identifier: Apache-2.0
 *
 * Cursor: a task's place in its data, as one integer: how many examples were handed out since the beginning. Which
 * example comes at a place is a function of (order, seed, place) alone, computed and never stored: so resuming is exact
 * and does not depend on the number of ranks.
 */
#pragma once

#include <stdint.h>

typedef enum TsOrder {
    TS_ORDER_SHUFFLED,  /* each epoch its own keyed permutation; the epochs follow one another without end */
    TS_ORDER_SEQUENTIAL /* every example once, in order; beyond the last there is nothing */
} TsOrder;

/* The example at `place` of `count` examples, or -1 beyond the last of TS_ORDER_SEQUENTIAL. Not collective. */
int64_t ts_cursor_example(TsOrder order, uint64_t seed, int64_t count, int64_t place);
