/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary position embedding (Su et al. 2021): pairs of columns of a head turned by an angle that grows with the
 * position: pair p by position * base^(-2 p / turned).
 */
#pragma once

#include <stddef.h>

#include "tensor/kernels/isa.h"

typedef struct TsRotaryShape {
    int64_t batch, length, heads, width; /* x (batch, length, heads, width) */
    int64_t turned;                      /* the first of the width; even; the rest is copied */
    int64_t first;                       /* the position of the first of length */
    double base;
    bool interleaved; /* pairs are (2 p, 2 p + 1); else (p, p + turned / 2) */
    bool backwards;   /* by the negative angle: the gradient */
} TsRotaryShape;

typedef struct TsRotaryKernels {
    /* out may be x. Scratch: ts_rotary_scratch_bytes. */
    void (*turn)(void *out, const void *x, const TsRotaryShape *shape, void *scratch, int threads);
} TsRotaryKernels;

/* A cosine and a sine for each pair, once a thread. */
static inline size_t ts_rotary_scratch_bytes(int64_t turned, int threads)
{
    return (size_t)(turned / 2 * 2 * (threads > 1 ? threads : 1)) * sizeof(double);
}

TS_KERNEL_TABLES(TsRotaryKernels, ts_rotary_kernels)
