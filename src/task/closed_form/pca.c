/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/pca.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/dist_linalg.h"

static double *make(int64_t elems)
{
    return ts_calloc((size_t)elems + 1, sizeof(double));
}

/* values (side), rising, and vectors (side, k): of the k largest, largest first, on every rank. */
static TsStatus find_vectors(double *values, double *vectors, const TsFeatures *x, bool dual, int64_t k)
{
    int64_t side = dual ? x->count : x->columns;
    TsGrid grid = ts_grid_make(x->group, 0, 0);
    TsDistMatrix *square = ts_dist_matrix_create(grid, TS_F64, side, side, ts_dist_block(grid, side));
    TsDistMatrix *v = ts_dist_matrix_create(grid, TS_F64, side, side, square->block);
    double *rising = make(side * k);
    if (dual)
        ts_features_kernel(square, x);
    else
        ts_features_gram(square, x);
    TsStatus status = ts_dist_eigen(values, v, square);
    ts_dist_matrix_free(&square);
    if (!status)
        ts_dist_matrix_get(rising, v, (TsPanel){0, side - k, side, k});
    for (int64_t i = 0; i < side; i++)
        for (int64_t c = 0; c < k; c++)
            vectors[i * k + c] = rising[i * k + k - 1 - c];
    ts_dist_matrix_free(&v);
    ts_free(rising);
    return status;
}

/* Columns of length 1, the largest coefficient of each positive. */
static void orient(double *directions, int64_t columns, int64_t k)
{
    for (int64_t c = 0; c < k; c++) {
        double most = 0, squares = 0;
        for (int64_t j = 0; j < columns; j++) {
            double one = directions[j * k + c];
            most = fabs(one) > fabs(most) ? one : most;
            squares += one * one;
        }
        double by = squares > 0 ? copysign(1 / sqrt(squares), most) : 0;
        for (int64_t j = 0; j < columns; j++)
            directions[j * k + c] *= by;
    }
}

/* That k directions vary: the square's eigenvalues above what rounding makes of 0. */
static TsStatus check_rank(const double *values, int64_t side, const TsFeatures *x, int64_t k)
{
    double precision = x->dtype == TS_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    double least = precision * (double)(x->count > x->columns ? x->count : x->columns); /* of a singular value */
    int64_t rank = 0;
    for (int64_t i = 0; i < side; i++)
        rank += values[i] > fmax(least * least, DBL_EPSILON * (double)side) * values[side - 1];
    if (rank >= k)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID,
                           "%lld directions are asked for, but %lld columns of %lld examples vary in %lld",
                           (long long)k, (long long)x->columns, (long long)x->count, (long long)rank);
}

TsStatus ts_pca_solve(TsPcaSolution *solution, TsFeatures *features, int64_t k)
{
    int64_t columns = features->columns, n = features->count, most = n - 1 < columns ? n - 1 : columns;
    bool dual = n < columns;
    int64_t side = dual ? n : columns;
    *solution = (TsPcaSolution){0};
    if (k > most)
        return ts_status_error(TS_CODE_INVALID,
                               "%lld directions are asked for, but %lld columns of %lld examples vary in "
                               "%lld at most",
                               (long long)k, (long long)columns, (long long)n, (long long)most);
    solution->mean = make(columns);
    solution->directions = make(columns * k);
    solution->variance = make(k);
    solution->ratio = make(k);
    ts_features_mean(solution->mean, features);
    ts_features_center(features, solution->mean);
    double *values = make(side), *vectors = dual ? make(side * k) : solution->directions, all = 0;
    TsStatus status = find_vectors(values, vectors, features, dual, k);
    if (!status)
        status = check_rank(values, side, features, k);
    if (!status && dual)
        ts_features_transposed_times(solution->directions, features, vectors + features->first * k, k);
    orient(solution->directions, columns, k);
    for (int64_t i = 0; i < side; i++)
        all += fmax(values[i], 0);
    for (int64_t c = 0; c < k; c++) {
        solution->variance[c] = values[side - 1 - c] / (double)(n - 1);
        solution->ratio[c] = values[side - 1 - c] / all;
    }
    if (dual)
        ts_free(vectors);
    ts_free(values);
    return status;
}

void ts_pca_free(TsPcaSolution *solution)
{
    ts_free(solution->mean);
    ts_free(solution->directions);
    ts_free(solution->variance);
    ts_free(solution->ratio);
    *solution = (TsPcaSolution){0};
}
