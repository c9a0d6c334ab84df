/* SPDX-License-Identifier: Apache-2.0
 *
 * Ridge: min over W, b of |X W + b - Y|^2 + alpha |W|^2: linear regression of several outputs (Hoerl and Kennard 1970).
 *
 * With one alpha by Cholesky of X^T X + alpha, or where examples are fewer than columns of X X^T + alpha, and steps of
 * refinement in f64. With several, the one of least leave-one-out error, exactly, all from one eigendecomposition.
 */
#pragma once

#include "task/closed_form/features.h"

typedef struct TsRidge {
    const double *targets; /* (local, outputs) of this rank's examples */
    int64_t outputs;
    const double *alphas; /* (alpha_count) */
    int64_t alpha_count;
    bool without_bias;
} TsRidge;

/* Owned by the caller; the same on all ranks. */
typedef struct TsRidgeSolution {
    double *kernel; /* (D, outputs) */
    double *bias;   /* (outputs) */
    double alpha;
    double *errors; /* (alpha_count) mean squared errors of examples that were left out; NULL of a single alpha */
} TsRidgeSolution;

/* Solves; the features are centered by it. Errors: nothing to learn from, no single solution. Collective on the
 * features' group; the same status on all ranks. ts_ridge_free follows also where it fails. */
TS_MUST_USE TsStatus ts_ridge_solve(TsRidgeSolution *solution, TsFeatures *features, TsRidge ridge);

void ts_ridge_free(TsRidgeSolution *solution);
