/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of optimizers over blocks of a parameter and its state, each in one pass over their memory. AdamW, which has
 * the most to do, has a file of its own (adamw.h).
 *
 * A rule takes arrays of (count) in the order that it names, `in`, and gives the first of them anew, `out`; an output
 * may be the input of the same place. Where `factor` is 0 the step is skipped: outputs are what the inputs of the same
 * place were, and an update is zeros, whatever the gradient holds.
 */
#pragma once

#include "tensor/kernels/isa.h"

typedef struct TsOptimizerStep {
    double beta1, beta2, epsilon, decay; /* of the rule, as far as it has them; beta1 is also a momentum */
    bool nesterov, corrected_betas;
    double rate, factor, scale;
    int64_t step; /* from 1 */
} TsOptimizerStep;

typedef void TsOptimizerRule(void *const *out, const void *const *in, int64_t count_elems, const TsOptimizerStep *step,
                             int threads);

typedef struct TsOptimizerKernels {
    TsOptimizerRule *sgd;         /* parameter, gradient -> parameter */
    TsOptimizerRule *momentum;    /* parameter, velocity, gradient -> parameter, velocity */
    TsOptimizerRule *adam;        /* parameter, mean, variance, gradient -> parameter, mean, variance */
    TsOptimizerRule *lion;        /* parameter, mean, gradient -> parameter, mean */
    TsOptimizerRule *adam_update; /* mean, variance, parameter, gradient -> mean, variance, update */
    TsOptimizerRule *velocity;    /* velocity, gradient -> velocity, update */
    TsOptimizerRule *descend;     /* parameter, update -> parameter */
    TsOptimizerRule *average;     /* average, parameter -> average */
} TsOptimizerKernels;

TS_KERNEL_TABLES(TsOptimizerKernels, ts_optimizer_kernels)
