/* SPDX-License-Identifier: Apache-2.0
 *
 * The ops that optimizers are written from, beside ts_adamw of ops.h: each one pass over a parameter and its state,
 * whose arrays have one shape and dtype and may be cut alike in any way. Not collective. ops/optimizer.c
 *
 * Where `factor` is 0 nothing changes, whatever the gradient holds, and an update is zeros.
 */
#pragma once

#include "tensor/graph.h"

/* What one step is about; `step` counts from 1. */
typedef struct TsOptimizerScalars {
    TsTensor rate;   /* f32 scalar */
    TsTensor factor; /* f32 scalar: what the gradient is multiplied by: clipping; 0 skips the step */
    TsTensor step;   /* i64 scalar */
} TsOptimizerScalars;

/* All are plain numbers of the rule; those that a rule does not name are 0. */
typedef struct TsOptimizerRuleOptions {
    double beta1, beta2, epsilon, decay;
    bool nesterov;
    bool corrected_betas; /* beta is beta (1 - beta^(t-1)) / (1 - beta^t), and means need no correction: Pax's Adam */
} TsOptimizerRuleOptions;

typedef struct TsOptimizerOut {
    TsTensor first, second, third;
} TsOptimizerOut;

/* p - rate (g + decay p) -> parameter. */
TsTensor ts_sgd(TsTensor parameter, TsTensor gradient, TsOptimizerScalars scalars, TsOptimizerRuleOptions options);

/* v = beta1 v + g + decay p; p - rate v, or with nesterov p - rate (g + decay p + beta1 v): Sutskever et al. 2013, as
 * PyTorch has it. -> parameter, velocity. */
TsOptimizerOut ts_momentum(TsTensor parameter, TsTensor velocity, TsTensor gradient, TsOptimizerScalars scalars,
                           TsOptimizerRuleOptions options);

/* Kingma and Ba 2015, with `decay` added to the gradient. -> parameter, mean, variance. */
TsOptimizerOut ts_adam(TsTensor parameter, TsTensor mean, TsTensor variance, TsTensor gradient,
                       TsOptimizerScalars scalars, TsOptimizerRuleOptions options);

/* p - rate (sign(beta1 m + (1 - beta1) g) + decay p); m = beta2 m + (1 - beta2) g: Chen et al. 2023. -> parameter,
 * mean.
 */
TsOptimizerOut ts_lion(TsTensor parameter, TsTensor mean, TsTensor gradient, TsOptimizerScalars scalars,
                       TsOptimizerRuleOptions options);

/* What Adam would do: mean / (sqrt(variance) + epsilon) + decay p, to be scaled. -> mean, variance, update. */
TsOptimizerOut ts_adam_update(TsTensor mean, TsTensor variance, TsTensor parameter, TsTensor gradient,
                              TsOptimizerScalars scalars, TsOptimizerRuleOptions options);

/* v = beta1 v + (1 - beta1) g; the update is v, or with nesterov beta1 v + (1 - beta1) g. -> velocity, update. */
TsOptimizerOut ts_velocity(TsTensor velocity, TsTensor gradient, TsOptimizerScalars scalars,
                           TsOptimizerRuleOptions options);

/* p - rate (scale u + decay p); scale is a scalar of the dtype of sums, f64 for f64, else f32. -> parameter. */
TsTensor ts_descend(TsTensor parameter, TsTensor update, TsTensor scale, TsOptimizerScalars scalars,
                    TsOptimizerRuleOptions options);

/* a + (1 - d) (p - a), d = min(beta1, (1 + t) / (10 + t)), t = step - 1. -> average. */
TsTensor ts_average(TsTensor average, TsTensor parameter, TsOptimizerScalars scalars, TsOptimizerRuleOptions options);
