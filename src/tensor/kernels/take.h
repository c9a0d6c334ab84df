/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a table by number, and their gradient. A table of `rows` rows begins at row `first` of the whole, of which a
 * rank may hold a part: an id outside it gives a row of zeros, and adds nothing.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsTakeIds {
    const void *ids;
    TsDtype dtype; /* i32 or i64 */
    int64_t count;
} TsTakeIds;

static inline int64_t ts_take_id(TsTakeIds ids, int64_t index)
{
    return ids.dtype == TS_I64 ? ((const int64_t *)ids.ids)[index] : ((const int32_t *)ids.ids)[index];
}

/* The first index whose id is not in [0, limit), or -1. */
int64_t ts_kernel_take_check(TsTakeIds ids, int64_t limit);

/* out (count, row_bytes) = table (rows, row_bytes) [ids - first]. */
void ts_kernel_take(void *out, const void *table, TsTakeIds ids, int64_t first, int64_t rows, int64_t row_bytes,
                    int threads);

typedef struct TsTakeKernels {
    /* d_table (rows, columns) = sum (rows, columns; NULL: zeros), and the rows of d_out (count, columns) with that id,
     * added in the order of the ids for any number of threads. d_table may be sum. bf16 is summed in scratch, (rows,
     * columns) f32. */
    void (*backward)(void *d_table, const void *sum, const void *d_out, TsTakeIds ids, int64_t first, int64_t rows,
                     int64_t columns, void *scratch, int threads);
} TsTakeKernels;

TS_KERNEL_TABLES(TsTakeKernels, ts_take_kernels)
