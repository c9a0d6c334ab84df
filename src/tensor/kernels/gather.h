/* SPDX-License-Identifier: Apache-2.0
 *
 * Elements along one dim by number, and sums into places by number. Arrays are (outer, middle, inner), of which the
 * middle is looked up in.
 */
#pragma once

#include <stddef.h>

#include "tensor/kernels/take.h"

typedef struct TsGatherShape {
    int64_t outer, inner;
    int64_t middle; /* of x */
    int64_t count;  /* the middle dim of the ids */
} TsGatherShape;

/* out[o, n, i] = x[o, ids[o, n, i], i]; elem_bytes 1, 2, 4 or 8. */
void ts_kernel_gather(void *out, const void *x, TsTakeIds ids, TsGatherShape shape, size_t elem_bytes, int threads);

typedef struct TsGatherKernels {
    /* out = x, which may be the same memory, and then out[o, ids[o, n, i], i] += source[o, n, i], added in the order of
     * n for any number of threads. */
    void (*scatter_add)(void *out, const void *x, const void *source, TsTakeIds ids, TsGatherShape shape, int threads);
} TsGatherKernels;

TS_KERNEL_TABLES(TsGatherKernels, ts_gather_kernels)
