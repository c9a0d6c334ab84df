/* SPDX-License-Identifier: Apache-2.0
 *
 * Logistic: multinomial logistic regression: the sum of -log softmax(X W + b)[class] + l2/2 |W|^2, least by Newton's
 * method, whose steps are found by conjugate gradients (Nash 2000), to a stated norm of the gradient.
 *
 * Rows of W sum to 0 over classes, as b does: adding a constant to all classes changes nothing.
 */
#pragma once

#include "task/closed_form/features.h"

typedef struct TsLogistic {
    const int32_t *classes; /* (local) of this rank's examples */
    int64_t class_count;    /* K */
    double l2;              /* above 0 */
    double gradient_norm;   /* of the mean over examples: where it ends */
    int64_t steps;          /* of Newton, at most */
} TsLogistic;

/* Owned by the caller; the same on all ranks. */
typedef struct TsLogisticSolution {
    double *kernel;             /* (D, K) */
    double *bias;               /* (K) */
    double gradient_norm, loss; /* reached; loss is the mean, with the penalty */
    int64_t steps;
} TsLogisticSolution;

/* Solves; the features are centered by it. Errors: examples of one class only, a norm that was not reached. Collective
 * on the features' group; the same status on all ranks. ts_logistic_free follows also where it fails. */
TS_MUST_USE TsStatus ts_logistic_solve(TsLogisticSolution *solution, TsFeatures *features, TsLogistic logistic);

void ts_logistic_free(TsLogisticSolution *solution);
