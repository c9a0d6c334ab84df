/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of rectangular blocks between arrays: what slices, concatenations, transpositions and updates are made of.
 */
#pragma once

#include <stddef.h>

#include "tensor/shape.h"

typedef struct TsCopy {
    void *out;
    const void *in;
    TsShape shape;                                       /* of the block */
    int64_t out_step[TS_MAX_DIMS], in_step[TS_MAX_DIMS]; /* elements from one index of a dim to the next */
    size_t elem_bytes;                                   /* 1, 2, 4 or 8 */
} TsCopy;

/* out[i . out_step] = in[i . in_step] for all i in shape. The two must not overlap. */
void ts_kernel_copy(const TsCopy *copy, int threads);

/* step[d] of an array of that shape without gaps. */
void ts_row_major_steps(int64_t *step, TsShape shape);
