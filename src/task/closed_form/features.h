/* SPDX-License-Identifier: Apache-2.0
 *
 * Features: numbers of examples, a row each, dealt out among the ranks of a group in blocks of whole rows: no rank
 * holds them all. What closed-form solvers work on.
 *
 * Rows are f32 or f64. What is small (a mean, coefficients) is whole on every rank, in f64; what is a square of columns
 * or of examples is a DistMatrix. n examples, D columns.
 */
#pragma once

#include "tensor/dist_matrix.h"

typedef struct TsFeatures {
    TsGroup *group; /* borrowed */
    TsDtype dtype;
    int64_t count, columns; /* n of all ranks together, D */
    int64_t first, local;   /* this rank's rows are [first, first + local) */
    int threads;
    void *data; /* (local, D), row-major; owned */
} TsFeatures;

/* Zeroed. Not collective; same on all ranks: everything. Owned by the caller. */
TsFeatures *ts_features_create(TsGroup *group, TsDtype dtype, int64_t count, int64_t columns, int threads);

/* Sets *features to NULL; NULL is fine. */
void ts_features_free(TsFeatures **features);

/* The rank that holds a row, and the first row of a rank (of the rank behind the last: n). */
int ts_features_owner(const TsFeatures *features, int64_t row);
int64_t ts_features_first(const TsFeatures *features, int rank);

/* out (rows, D): this rank's rows from its `from`-th on, as f64. Not collective. */
void ts_features_read(double *out, const TsFeatures *features, int64_t from, int64_t rows);

/* out (D), on every rank: the row of that number. Collective. */
void ts_features_row(double *out, const TsFeatures *features, int64_t row);

/* An error that names the first example and its column that is NaN or infinite; `what` begins it. Collective; the same
 * on all ranks. */
TS_MUST_USE TsStatus ts_features_check_finite(const TsFeatures *features, const char *what);

/* kept (D): the numbers of the columns that are not the same in all examples, which alone are left; returns how many,
 * the new D. Collective. */
int64_t ts_features_drop_constant(TsFeatures *features, int64_t *kept);

/* mean (D). Collective. */
void ts_features_mean(double *mean, const TsFeatures *features);

/* Takes the mean (D) off every row. Not collective. */
void ts_features_center(TsFeatures *features, const double *mean);

/* The lower part of X^T X (D, D), or of X X^T (n, n), added up in the matrix's dtype, f32 only of f32. Collective. */
void ts_features_gram(TsDistMatrix *gram, const TsFeatures *features);
void ts_features_kernel(TsDistMatrix *kernel, const TsFeatures *features);

/* out (local, k) = X w, w (D, k). Not collective. */
void ts_features_times(double *out, const TsFeatures *features, const double *w, int64_t k);

/* out (D, k) = X^T r over the rows of all ranks, r (local, k) of this rank's. Collective. */
void ts_features_transposed_times(double *out, const TsFeatures *features, const double *r, int64_t k);

/* values (count) = their sums over the ranks, in a fixed order. Collective. */
void ts_features_sum(double *values, int64_t count, const TsFeatures *features);
