/* SPDX-License-Identifier: Apache-2.0
 *
 * Dense linear algebra on distributed matrices, by ScaLAPACK: products, Cholesky and QR solves, eigenvalues, singular
 * values, inverse roots.
 *
 * All are collective on the group of the matrices' grid; all matrices of a call lie on one grid and have one dtype and
 * block. The Status is the same on all ranks; errors say in words what LAPACK says in numbers. Inputs must be finite:
 * ts_dist_check_finite finds what is not. Called by closed-form tasks and by Shampoo.
 */
#pragma once

#include "tensor/dist_matrix.h"

/* The side of blocks for a matrix whose lesser side is `size`: 64, which `bench/linalg blocks` shows to serve best (32
 * is alike, with 256 eigenvalues take 1.7 times as long), or so small that every rank of the grid has several. */
int64_t ts_dist_block(TsGrid grid, int64_t size);

/* An error that names the first element, row after row, that is NaN or infinite: `what` begins the message. */
TS_MUST_USE TsStatus ts_dist_check_finite(const TsDistMatrix *a, const char *what);

/* c = alpha op(a) op(b) + beta c. op(a) is (m, k), op(b) is (k, n), c is (m, n). */
typedef struct TsDistProduct {
    TsDistMatrix *c;
    const TsDistMatrix *a, *b;
    bool transpose_a, transpose_b;
    double alpha, beta;
} TsDistProduct;
void ts_dist_multiply(TsDistProduct product);

/* Adds `value` to the diagonal of a (n, n). */
void ts_dist_add_diagonal(TsDistMatrix *a, double value);

/* x such that a x = b, for a (n, n) symmetric and positive definite, of which only the lower part is read. b (n, k) is
 * replaced by x, the lower part of a by its Cholesky factor. An error names the row at which a stops to be positive
 * definite. */
TS_MUST_USE TsStatus ts_dist_cholesky_solve(TsDistMatrix *a, TsDistMatrix *b);

/* The same once more, for another b, with the factor that ts_dist_cholesky_solve left in a. */
void ts_dist_cholesky_again(const TsDistMatrix *a, TsDistMatrix *b);

/* values (n), on every rank: the diagonal of a (n, n). */
void ts_dist_diagonal(double *values, const TsDistMatrix *a);

/* The least-squares solution of a x = b by QR, for a (m, n), m >= n, of full rank: its rows stand in the first n of b
 * (m, k). a is replaced by its factors. An error where columns depend on one another, to the dtype's precision. */
TS_MUST_USE TsStatus ts_dist_least_squares(TsDistMatrix *a, TsDistMatrix *b);

/* values (n), rising, on every rank, and the vectors as columns of v (n, n), of a (n, n) symmetric, of which only the
 * lower part is read; a is destroyed. */
TS_MUST_USE TsStatus ts_dist_eigen(double *values, TsDistMatrix *v, TsDistMatrix *a);

/* a (m, n) = u diag(values) vt: values (k), falling, on every rank; u (m, k), vt (k, n), k = min(m, n); both or none
 * may be NULL. a is destroyed. */
TS_MUST_USE TsStatus ts_dist_singular(double *values, TsDistMatrix *u, TsDistMatrix *vt, TsDistMatrix *a);

/* root (n, n) = (a + ridge largest I)^(-1/power), a (n, n) symmetric and positive semidefinite, `largest` its largest
 * eigenvalue; negative eigenvalues, which are roundings, count as 0. a is destroyed. */
TS_MUST_USE TsStatus ts_dist_inverse_root(TsDistMatrix *root, TsDistMatrix *a, int power, double ridge);
