/* SPDX-License-Identifier: Apache-2.0
 *
 * Pca: the directions in which features vary most: eigenvectors of their covariance (Hotelling 1933), or where examples
 * are fewer than columns, from those of the square of examples.
 *
 * The largest coefficient of a direction is positive, so that it has one sign.
 */
#pragma once

#include "task/closed_form/features.h"

/* Owned by the caller; the same on all ranks. */
typedef struct TsPcaSolution {
    double *mean;       /* (D) */
    double *directions; /* (D, k), as columns, of length 1 */
    double *variance;   /* (k), falling: by n - 1 */
    double *ratio;      /* (k) of all variance */
} TsPcaSolution;

/* The first k; the features are centered by it. Errors: k is above what varies. Collective on the features' group; the
 * same status on all ranks. ts_pca_free follows also where it fails. */
TS_MUST_USE TsStatus ts_pca_solve(TsPcaSolution *solution, TsFeatures *features, int64_t k);

void ts_pca_free(TsPcaSolution *solution);
