/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of a few rows with a matrix: what a step of decoding is made of. They are bound by reading the matrix, which
 * is read once, in the order in which it lies, however many rows there are.
 *
 * Called by matmul.c alone. Every element of the result is summed in an order of its own that neither the number of
 * rows nor that of threads changes.
 */
#pragma once

#include "tensor/kernels/isa.h"

enum { TS_MATVEC_ROWS = 8 }; /* at most so many */

/* c (m, n) = a (m, k) op(b); rows lie row_a, row_b and row_c elements apart. c is f32 where wide, else as a and b. */
typedef struct TsMatvec {
    void *c;
    const void *a; /* (m, k) */
    const void *b; /* (k, n), or (n, k) where transposed */
    int64_t m, n, k;
    int64_t row_a, row_b, row_c;
    bool transposed;
    bool wide;
    int threads;
} TsMatvec;

typedef struct TsMatvecKernels {
    void (*multiply)(const TsMatvec *product);
} TsMatvecKernels;

TS_KERNEL_TABLES(TsMatvecKernels, ts_matvec_kernels)
