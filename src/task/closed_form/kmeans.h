/* SPDX-License-Identifier: Apache-2.0
 *
 * Kmeans: k centers, such that the sum of squared distances from examples to their nearest center is small: Lloyd's
 * iterations (1982) from centers drawn by k-means++ (Arthur and Vassilvitskii 2007), the best of several beginnings; or
 * on random batches of examples (Sculley 2010), for many.
 *
 * What is drawn is a function of the seed and of the numbers of examples: the same on any number of ranks.
 */
#pragma once

#include "task/closed_form/features.h"

typedef struct TsKmeans {
    int64_t k;
    int64_t restarts;   /* beginnings, at least 1 */
    int64_t iterations; /* of each, at most */
    double tolerance;   /* it ends where centers move less, as a part of the mean variance of columns */
    int64_t batch;      /* examples; 0: all in each iteration */
    uint64_t seed;
    const double *begin; /* (k, D) centers to begin from, in place of drawn ones; NULL: none */
} TsKmeans;

/* Owned by the caller; the same on all ranks. */
typedef struct TsKmeansSolution {
    double *centers; /* (k, D) */
    double inertia;  /* the sum of squared distances */
    int64_t iterations;
} TsKmeansSolution;

/* Solves. Errors: more centers than different examples. Collective on the features' group; the same status on all
 * ranks. ts_kmeans_free follows also where it fails. */
TS_MUST_USE TsStatus ts_kmeans_solve(TsKmeansSolution *solution, const TsFeatures *features, TsKmeans kmeans);

void ts_kmeans_free(TsKmeansSolution *solution);

/* nearest and squares (local): of each of this rank's examples the number of its center, the first of equals, and the
 * squared distance. Not collective. */
void ts_kmeans_assign(int32_t *nearest, double *squares, const TsFeatures *features, const double *centers, int64_t k);
