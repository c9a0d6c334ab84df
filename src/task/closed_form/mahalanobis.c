/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/mahalanobis.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/dist_linalg.h"

/* The sums of squares of X^T X, and over examples of |x|^4. Collective. */
static void sum_squares(double *square, double *fourth, const TsDistMatrix *gram, const TsFeatures *x)
{
    double sums[2] = {0}, *row = ts_calloc((size_t)x->columns + 1, sizeof *row);
    for (int64_t j = 0; j < gram->local_columns; j++) {
        int64_t column = ts_cyclic_global(j, gram->block, gram->grid.column, gram->grid.columns);
        for (int64_t i = 0; i < gram->local_rows; i++) {
            int64_t at = ts_cyclic_global(i, gram->block, gram->grid.row, gram->grid.rows);
            double value = ((const double *)gram->data)[j * ts_dist_matrix_stride(gram) + i];
            sums[0] += at > column ? 2 * value * value : at == column ? value * value : 0; /* the lower part alone */
        }
    }
    for (int64_t i = 0; i < x->local; i++) {
        double length = 0;
        ts_features_read(row, x, i, 1);
        for (int64_t j = 0; j < x->columns; j++)
            length += row[j] * row[j];
        sums[1] += length * length;
    }
    ts_features_sum(sums, 2, x);
    *square = sums[0];
    *fourth = sums[1];
    ts_free(row);
}

/* Theorem 1 of the paper, as scikit-learn has it; `trace` is that of X^T X. */
static double ledoit_wolf(const TsDistMatrix *gram, const TsFeatures *x, double trace)
{
    double n = (double)x->count, columns = (double)x->columns, square, fourth;
    sum_squares(&square, &fourth, gram, x);
    double mu = trace / n / columns, delta = square / (n * n);
    double beta = (fourth / n - delta) / (columns * n);
    delta = (delta - 2 * mu * trace / n + columns * mu * mu) / columns;
    beta = fmin(beta, delta);
    return beta > 0 ? beta / delta : 0;
}

TsStatus ts_mahalanobis_solve(TsMahalanobis *solution, TsFeatures *features, double shrinkage)
{
    int64_t columns = features->columns;
    TsGrid grid = ts_grid_make(features->group, 0, 0);
    *solution = (TsMahalanobis){.mean = ts_calloc((size_t)columns + 1, sizeof(double))};
    if (shrinkage == 0 && features->count <= columns)
        return ts_status_error(
            TS_CODE_INVALID,
            "the covariance of %lld columns of %lld examples has no inverse: shrinkage must be above 0",
            (long long)columns, (long long)features->count);
    TsDistMatrix *gram = ts_dist_matrix_create(grid, TS_F64, columns, columns, ts_dist_block(grid, columns));
    double *diagonal = ts_calloc((size_t)columns + 1, sizeof *diagonal), trace = 0;
    ts_features_mean(solution->mean, features);
    ts_features_center(features, solution->mean);
    ts_features_gram(gram, features);
    ts_dist_diagonal(diagonal, gram);
    for (int64_t j = 0; j < columns; j++)
        trace += diagonal[j];
    ts_free(diagonal);
    solution->shrinkage = shrinkage < 0 ? ledoit_wolf(gram, features, trace) : shrinkage;
    double scale = (1 - solution->shrinkage) / (double)features->count;
    for (int64_t i = 0; i < gram->local_rows * gram->local_columns; i++)
        ((double *)gram->data)[i] *= scale;
    ts_dist_add_diagonal(gram, solution->shrinkage * trace / (double)(features->count * columns));
    solution->root = ts_dist_matrix_create(grid, TS_F64, columns, columns, gram->block);
    TsStatus status = ts_dist_inverse_root(solution->root, gram, 2, 0);
    if (status) {
        ts_status_free(&status);
        status = ts_status_error(TS_CODE_INVALID,
                                 "columns of the features depend on one another: their covariance has no inverse: "
                                 "shrinkage must be above %g",
                                 solution->shrinkage);
    }
    ts_dist_matrix_free(&gram);
    return status;
}

void ts_mahalanobis_free(TsMahalanobis *solution)
{
    ts_free(solution->mean);
    ts_dist_matrix_free(&solution->root);
    *solution = (TsMahalanobis){0};
}
