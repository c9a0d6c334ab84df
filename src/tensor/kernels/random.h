/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers in a block of an array: functions of the stream and of the element's index in the whole array, so that
 * they are the same however the array is cut.
 */
#pragma once

#include "base/philox.h"
#include "tensor/kernels/isa.h"
#include "tensor/shape.h"

typedef struct TsRandomBlock {
    TsShape shape, whole;
    const int64_t *first; /* of the block in the whole, in each dim */
} TsRandomBlock;

typedef enum TsNoise {
    TS_NOISE_UNIFORM,
    TS_NOISE_NORMAL,
    TS_NOISE_GUMBEL, /* -log(-log u) */
} TsNoise;

typedef struct TsRandomKernels {
    /* out = x / (1 - rate), or 0 with probability `rate`. May be in place. */
    void (*drop)(void *out, const void *x, TsRandomBlock block, TsStream stream, double rate, int threads);

    /* The same of elements [first, first + count) of the block, on one thread; out and x begin there. */
    void (*drop_run)(void *out, const void *x, TsRandomBlock block, TsStream stream, double rate, int64_t first,
                     int64_t count_elems);

    /* f32 whatever the table. */
    void (*noise)(float *out, TsNoise kind, TsRandomBlock block, TsStream stream, int threads);
} TsRandomKernels;

TS_KERNEL_TABLES(TsRandomKernels, ts_random_kernels)
