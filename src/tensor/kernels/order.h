/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows in order and running sums along a dim. The same bits for any number of threads.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsOrderKernels {
    /* The first `count` of each row of x (rows, columns) in falling order, or in rising order, and where they stood
     * there: values, indices (rows, count). Equals stay in the order of x; a NaN counts as the largest. */
    void (*top)(void *values, int32_t *indices, const void *x, int64_t rows, int64_t columns, int64_t count,
                bool rising, int threads);

    /* out[o, m, i] = the sum of x[o, n, i] over n <= m, or n >= m where `from_end`; x, out (outer, middle, inner). */
    void (*running_sum)(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, bool from_end,
                        int threads);
} TsOrderKernels;

TS_KERNEL_TABLES(TsOrderKernels, ts_order_kernels)
