/* SPDX-License-Identifier: Apache-2.0
 *
 * Adding a part to sums of earlier parts, in one pass over memory.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsAccumulateKernels {
    /* to = part[parts - 1] + (... + (part[0] + in)), or `in` where there are no parts; the maximum in place of the sum
     * unless `sums`. `to` may be any of the parts. All (count). */
    void (*add)(void *to, const void *const *part, int parts, const void *in, int64_t count_elems, bool sums,
                int threads);
} TsAccumulateKernels;

TS_KERNEL_TABLES(TsAccumulateKernels, ts_accumulate_kernels)
