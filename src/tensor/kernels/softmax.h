/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax of rows and what belongs to it. The largest of a row is taken out first, so that nothing overflows; a row of
 * -infinity alone has the softmax 0 and the logsumexp -infinity. The same bits for any number of threads.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsSoftmaxKernels {
    /* out, x (rows, columns); out may be x. */
    void (*softmax)(void *out, const void *x, int64_t rows, int64_t columns, int threads);
    void (*log_softmax)(void *out, const void *x, int64_t rows, int64_t columns, int threads);

    /* out (rows), of the type of x. */
    void (*logsumexp)(void *out, const void *x, int64_t rows, int64_t columns, int threads);

    /* From y, the output, and d_y; all (rows, columns); d_x may be d_y or y. */
    void (*d_softmax)(void *d_x, const void *y, const void *d_y, int64_t rows, int64_t columns, int threads);
    void (*d_log_softmax)(void *d_x, const void *y, const void *d_y, int64_t rows, int64_t columns, int threads);
} TsSoftmaxKernels;

TS_KERNEL_TABLES(TsSoftmaxKernels, ts_softmax_kernels)
