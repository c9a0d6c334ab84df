/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions. Sums are taken in an order that depends on the sizes alone, so that they have the same bits for any
 * number of threads; bf16 is summed in f32.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsReduceKernels {
    /* out (outer, inner) = the sum, or the largest, over the middle dim of x (outer, middle, inner). The largest of
     * nothing is -infinity; a NaN comes through. */
    void (*sum)(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, int threads);
    void (*sum_wide)(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, int threads); /* f32 */
    void (*max)(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, int threads);

    /* *out = the sum of the squares: a double for f64, else a float. */
    void (*sum_squares)(void *out, const void *x, int64_t count_elems, int threads);

    /* out (rows), i32: where the largest of each row of x (rows, columns) stands, the first of equals; a NaN counts as
     * the largest. */
    void (*argmax)(int32_t *out, const void *x, int64_t rows, int64_t columns, int threads);
} TsReduceKernels;

TS_KERNEL_TABLES(TsReduceKernels, ts_reduce_kernels)
