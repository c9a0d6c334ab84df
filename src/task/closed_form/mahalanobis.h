/* SPDX-License-Identifier: Apache-2.0
 *
 * Mahalanobis: how far an example is from the mean of others, in units of how these vary: |(x - mean) W|^2, where W is
 * the inverse square root of their covariance S, shrunk: (1 - s) S + s trace(S) / D I (Ledoit and Wolf 2004).
 */
#pragma once

#include "task/closed_form/features.h"

/* Owned by the caller; mean and shrinkage are the same on all ranks. */
typedef struct TsMahalanobis {
    double *mean;       /* (D) */
    TsDistMatrix *root; /* (D, D) f64: W, symmetric */
    double shrinkage;
} TsMahalanobis;

/* Solves; the features are centered by it. A shrinkage below 0: that of Ledoit and Wolf. Errors: a covariance that has
 * no inverse. Collective on the features' group; the same status on all ranks. ts_mahalanobis_free follows also where
 * it fails. */
TS_MUST_USE TsStatus ts_mahalanobis_solve(TsMahalanobis *solution, TsFeatures *features, double shrinkage);

void ts_mahalanobis_free(TsMahalanobis *solution);
