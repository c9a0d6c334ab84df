/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary position embedding (Su et al. 2021): pairs of columns of a head turned by an angle that grows with the
 * position: pair p by position * base^(-2 p / turned), or by what a scaling makes of that frequency.
 */
#pragma once

#include <math.h>
#include <stddef.h>

#include "tensor/kernels/isa.h"

typedef struct TsRotaryShape {
    int64_t batch, length, heads, width; /* x (batch, length, heads, width) */
    int64_t turned;                      /* the first of the width; even; the rest is copied */
    int64_t first;                       /* the position of the first of length */
    double base;
    double factor, low, high, original; /* TsRotaryScaling */
    bool interleaved;                   /* pairs are (2 p, 2 p + 1); else (p, p + turned / 2) */
    bool backwards;                     /* by the negative angle: the gradient */
} TsRotaryShape;

typedef struct TsRotaryKernels {
    /* out may be x. Scratch: ts_rotary_scratch_bytes. */
    void (*turn)(void *out, const void *x, const TsRotaryShape *shape, void *scratch, int threads);
} TsRotaryKernels;

/* The angle between two neighbouring positions, of pair p. */
static inline double ts_rotary_frequency(const TsRotaryShape *shape, int64_t p)
{
    double frequency = pow(shape->base, -2.0 * (double)p / (double)shape->turned);
    double factor = shape->factor > 0 ? shape->factor : 1;
    if (factor == 1 || !(shape->high > 0))
        return frequency / factor;
    double waves = shape->original * frequency / (2 * 3.14159265358979323846);
    double kept = (waves - shape->low) / (shape->high - shape->low); /* of the frequency as it was */
    kept = kept < 0 ? 0 : kept > 1 ? 1 : kept;
    return kept * frequency + (1 - kept) * frequency / factor;
}

/* A cosine and a sine for each pair, once a thread. */
static inline size_t ts_rotary_scratch_bytes(int64_t turned, int threads)
{
    return (size_t)(turned / 2 * 2 * (threads > 1 ? threads : 1)) * sizeof(double);
}

TS_KERNEL_TABLES(TsRotaryKernels, ts_rotary_kernels)
