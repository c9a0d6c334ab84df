/* SPDX-License-Identifier: Apache-2.0
 *
 * Layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) of rows. Sums have the same bits for any number of
 * threads.
 */
#pragma once

#include <stddef.h>

#include "tensor/kernels/isa.h"

typedef struct TsNormalizeRows {
    int64_t rows, columns;
    double epsilon;
    bool rms; /* the mean is not taken out */
} TsNormalizeRows;

typedef struct TsNormalizeKernels {
    /* out (rows, columns) = x-hat * scale + bias; scale, bias (columns), NULL for none.
     * What belongs to columns is f32 where rows are bf16. */
    void (*forward)(void *out, const void *x, const void *scale, const void *bias, TsNormalizeRows shape, int threads);

    /* Computes x-hat again. d_scale and d_bias (columns) are both given or both NULL; scratch is then
     * ts_normalize_scratch_bytes. scale NULL counts as ones. d_x may be d_out. */
    void (*backward)(void *d_x, void *d_scale, void *d_bias, const void *x, const void *scale, const void *d_out,
                     TsNormalizeRows shape, void *scratch, int threads);

    /* One row. */
    void (*forward_row)(void *out, const void *x, const void *scale, const void *bias, TsNormalizeRows shape);

    /* One row of the gradient: adds to `sums`, (2, columns) of what is computed in, those of d_scale and d_bias; NULL
     * for none.
     */
    void (*backward_row)(void *d_x, void *sums, const void *x, const void *scale, const void *d_out,
                         TsNormalizeRows shape);
} TsNormalizeKernels;

/* Rows are cut into so many segments, each with sums of its own. */
static inline int64_t ts_normalize_segments(int64_t rows)
{
    return rows >= 1024 ? 32 : rows / 32 + 1;
}

static inline size_t ts_normalize_scratch_bytes(int64_t rows, int64_t columns, TsDtype dtype)
{
    return (size_t)(ts_normalize_segments(rows) * 2 * columns) * (dtype == TS_F64 ? sizeof(double) : sizeof(float));
}

TS_KERNEL_TABLES(TsNormalizeKernels, ts_normalize_kernels)
