/* SPDX-License-Identifier: Apache-2.0
 *
 * Several long vectors taken together in one pass over memory: their Gram matrix, and their sum by coefficients.
 */
#pragma once

#include "tensor/kernels/isa.h"

/* What room `gram` needs for so many vectors, in doubles. */
enum { TS_GRAM_SEGMENTS = 64 };
static inline int64_t ts_gram_room(int vectors)
{
    return (int64_t)TS_GRAM_SEGMENTS * vectors * vectors;
}

typedef struct TsGramKernels {
    /* gram (vectors, vectors) += x[i] . x[j], both halves of it; x[i] (count). Summed in an order that depends on the
     * sizes alone, a few thousand elements at a time as reals, those sums in f64. room (ts_gram_room). */
    void (*gram)(double *gram, const void *const *x, int vectors, int64_t count_elems, double *room, int threads);

    /* out (count) = the sum of coefficient[i] x[i], (count) each, in the order of i; out may be any of them. */
    void (*combine)(void *out, const double *coefficient, const void *const *x, int vectors, int64_t count_elems,
                    int threads);
} TsGramKernels;

TS_KERNEL_TABLES(TsGramKernels, ts_gram_kernels)
