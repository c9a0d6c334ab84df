/* SPDX-License-Identifier: Apache-2.0
 *
 * One AdamW step over a block of a parameter, in one pass over its memory.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsAdamwStep {
    double beta1, beta2, epsilon, decay;
    double rate;
    double factor; /* of the gradient; 0: nothing changes, whatever the gradient holds */
    int64_t step;  /* from 1 */
} TsAdamwStep;

typedef struct TsAdamwKernels {
    /* Outputs may be the inputs of the same name. All (count). */
    void (*step)(void *parameter_out, void *mean_out, void *variance_out, const void *parameter, const void *mean,
                 const void *variance, const void *gradient, int64_t count_elems, TsAdamwStep step, int threads);
} TsAdamwKernels;

TS_KERNEL_TABLES(TsAdamwKernels, ts_adamw_kernels)
