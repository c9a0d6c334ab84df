/* SPDX-License-Identifier: Apache-2.0
 *
 * Balance: how much the gradient of each task counts where several learn in one step.
 *
 * Every method here comes down to a coefficient a task: the update follows sum_i c_i g_i, g_i being the gradient of
 * task i's weighted loss. What methods know of gradients is their Gram matrix, g_i . g_j over the parameters that tasks
 * share, so no rank ever holds a whole gradient. Plain arithmetic on a few numbers, the same on every rank; the Trainer
 * brings losses and Gram matrix, already summed over ranks.
 */
#pragma once

#include "base/config.h"

/* L = sum_i exp(-s_i) L_i / 2 + s_i / 2, the s_i learned by Adam (Kendall, Gal and Cipolla 2018). */
typedef struct TsUncertaintyConfig {
    double rate;
} TsUncertaintyConfig;

/* c_i = T softmax(r_i / temperature), r_i = L_i(t-1) / L_i(t-2), L_i(t) being the mean over an interval of steps (Liu,
 * Johns and Davison 2019). */
typedef struct TsDynamicAverageConfig {
    double temperature;
    int64_t every; /* steps of an interval */
} TsDynamicAverageConfig;

/* The weights w_i are learned by gradient descent so that |w_i g_i| comes near to the mean norm times the relative pace
 * (L_i / L_i(0), over its mean) to the alpha; they add up to T (Chen et al. 2018). */
typedef struct TsGradnormConfig {
    double alpha, rate;
} TsGradnormConfig;

/* fixed, uncertainty, dynamic_average, gradnorm, pcgrad. PCGrad (Yu et al. 2020): for tasks i, and j in a random order,
 * if g_i . g_j < 0 then g_i -= (g_i . g_j / |g_j|^2) g_j, against the original g_j. */
extern const TsVariants ts_balances;

typedef struct TsBalance TsBalance;

/* Of `count` tasks. The choice is borrowed. Owned by the caller: ts_balance_free. */
TsBalance *ts_balance_create(TsChoice method, int count, uint64_t seed);

/* Sets *balance to NULL; NULL is fine. */
void ts_balance_free(TsBalance **balance);

/* Whether coefficients are only known once all gradients are: they must be kept apart until then. */
bool ts_balance_waits_for_gradients(const TsBalance *balance);

/* Whether ts_balance_update takes a Gram matrix. */
bool ts_balance_takes_gram(const TsBalance *balance);

/* coefficient (count) of the step; 0 for tasks that are not active (NULL: all are). gram (count, count): only where
 * coefficients wait for gradients, else NULL. */
void ts_balance_coefficients(TsBalance *balance, double *coefficient, const double *gram, const bool *active,
                             int64_t step);

/* Learns from the step, unless its numbers are not finite: loss (count), weighted; gram (count, count) of the gradients
 * of those losses, NULL where it is not taken. */
void ts_balance_update(TsBalance *balance, const double *loss, const double *gram, const bool *active);

/* What a checkpoint keeps of it: *state (the result) numbers, read and written in place; borrowed. */
int ts_balance_state(TsBalance *balance, double **state);
