/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/ridge.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/dist_linalg.h"

enum { PANEL = 128, REFINEMENTS = 4 };

/* What is solved: everything centered. */
typedef struct Problem {
    const TsFeatures *x;
    const double *y; /* (local, outputs) */
    int64_t n, columns, outputs;
    bool dual;    /* by a square of examples */
    double *rest; /* (local, outputs) room */
    TsGrid grid;
    int64_t block, side; /* of the square */
} Problem;

static double *make(int64_t elems)
{
    return ts_calloc((size_t)elems + 1, sizeof(double));
}

/* ---- one alpha ---- */

/* rest = y - x w. */
static void find_rest(const Problem *p, const double *w)
{
    ts_features_times(p->rest, p->x, w, p->outputs);
    for (int64_t i = 0; i < p->x->local * p->outputs; i++)
        p->rest[i] = p->y[i] - p->rest[i];
}

/* The rows (side, outputs) of `values`, on every rank, as a matrix like the square. */
static void put_side(TsDistMatrix *b, const Problem *p, const double *values)
{
    int64_t elems = p->side * p->outputs;
    TsPanel all = {0, 0, p->side, p->outputs};
    if (b->dtype == TS_F64) {
        ts_dist_matrix_put(b, values, all);
        return;
    }
    float *single = ts_alloc((size_t)elems * sizeof *single + 1);
    for (int64_t i = 0; i < elems; i++)
        single[i] = (float)values[i];
    ts_dist_matrix_put(b, single, all);
    ts_free(single);
}

/* values (n, outputs), on every rank, from each rank's rows. Collective. */
static void gather_rows(double *values, const Problem *p, const double *rows)
{
    memset(values, 0, (size_t)(p->n * p->outputs) * sizeof *values);
    memcpy(values + p->x->first * p->outputs, rows, (size_t)(p->x->local * p->outputs) * sizeof *values);
    ts_features_sum(values, p->n * p->outputs, p->x);
}

/* w (D, outputs) of a solution `at` (side, outputs), which is the same, or of the dual c with w = X^T c. Collective. */
static void find_kernel(double *w, const Problem *p, const double *at)
{
    if (p->dual)
        ts_features_transposed_times(w, p->x, at + p->x->first * p->outputs, p->outputs);
    else
        memcpy(w, at, (size_t)(p->columns * p->outputs) * sizeof *w);
}

/* right (side, outputs) = what the square times a step must be, after `at`, the solution so far (side, outputs) or NULL
 * before the first: of the primal X^T (y - X w) - alpha w, of the dual y - X X^T c - alpha c, with w = X^T c. */
static void find_right(double *right, double *w, const Problem *p, const double *at, double alpha)
{
    const double *rest = at ? p->rest : p->y;
    if (at) {
        find_kernel(w, p, at);
        find_rest(p, w);
    }
    if (p->dual)
        gather_rows(right, p, rest);
    else
        ts_features_transposed_times(right, p->x, rest, p->outputs);
    for (int64_t i = 0; i < p->side * p->outputs && at; i++)
        right[i] -= alpha * at[i];
}

static double norm(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += values[i] * values[i];
    return sqrt(sum);
}

/* An error where columns depend on one another so far that rounding alone made the matrix positive definite. `before`
 * is its diagonal. */
static TsStatus check_pivots(const Problem *p, const TsDistMatrix *factor, const double *before)
{
    double *pivots = make(p->side), precision = p->x->dtype == TS_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    TsStatus status = TS_OK;
    ts_dist_diagonal(pivots, factor);
    for (int64_t j = 0; j < p->side && !status; j++)
        if (pivots[j] * pivots[j] <= 8 * precision * before[j])
            status = ts_status_error(TS_CODE_INVALID,
                                     "the matrix of %lld rows is not positive definite at row %lld, to the precision "
                                     "of %s: add ridge",
                                     (long long)p->side, (long long)j, ts_dtype_name(p->x->dtype));
    ts_free(pivots);
    return status;
}

static TsStatus factor_square(TsDistMatrix *square, TsDistMatrix *step, const Problem *p, double alpha)
{
    double *before = make(p->side);
    if (p->dual)
        ts_features_kernel(square, p->x);
    else
        ts_features_gram(square, p->x);
    ts_dist_add_diagonal(square, alpha);
    ts_dist_diagonal(before, square);
    TsStatus status = ts_dist_cholesky_solve(square, step);
    if (!status && alpha == 0)
        status = check_pivots(p, square, before);
    ts_free(before);
    return status;
}

/* w (D, outputs) by Cholesky, and steps by the same factor until they are small beside the solution. */
static TsStatus solve_one(double *w, const Problem *p, double alpha)
{
    int64_t elems = p->side * p->outputs;
    double *at = make(elems), *right = make(elems), before = INFINITY;
    double enough = p->x->dtype == TS_F64 ? 1e-12 : 1e-8; /* the next would be smaller by as much as this one was */
    TsDtype dtype = p->dual ? TS_F64 : p->x->dtype;
    TsDistMatrix *square = ts_dist_matrix_create(p->grid, dtype, p->side, p->side, p->block);
    TsDistMatrix *step = ts_dist_matrix_create(p->grid, dtype, p->side, p->outputs, p->block);
    find_right(right, w, p, NULL, alpha);
    put_side(step, p, right);
    TsStatus status = factor_square(square, step, p, alpha);
    for (int k = 0; k <= REFINEMENTS && !status; k++) {
        ts_dist_matrix_get(right, step, (TsPanel){0, 0, p->side, p->outputs});
        double size = norm(right, elems);
        if (!(size < before)) /* what is left is rounding */
            break;
        before = size;
        for (int64_t i = 0; i < elems; i++)
            at[i] += right[i];
        if (size <= enough * norm(at, elems) || k == REFINEMENTS)
            break;
        find_right(right, w, p, at, alpha);
        put_side(step, p, right);
        ts_dist_cholesky_again(square, step);
    }
    find_kernel(w, p, at);
    ts_dist_matrix_free(&square);
    ts_dist_matrix_free(&step);
    ts_free(at);
    ts_free(right);
    return status;
}

/* ---- several, by leaving one out ---- */

/* The square as V diag(values) V^T. Of the primal, an example's row of X V is q, and it bears on its own prediction by
 * the sum of q_c^2 / (values_c + alpha); of the dual, its row of V is q, and it does by q_c^2 values_c / (values_c +
 * alpha). What is predicted of it is the same with q_c z_c, z = V^T X^T y, or V^T y. */
typedef struct Spectrum {
    double *values;  /* (side) */
    TsDistMatrix *v; /* (side, side) */
    double *z;       /* (side, outputs) */
    double least;    /* eigenvalues up to this are roundings */
} Spectrum;

static double gain(const Problem *p, const Spectrum *s, int64_t c, double alpha)
{
    double value = s->values[c] > s->least ? s->values[c] : 0;
    if (value + alpha <= 0)
        return 0;
    return (p->dual ? value : 1) / (value + alpha);
}

static TsStatus find_spectrum(Spectrum *s, const Problem *p)
{
    TsDistMatrix *square = ts_dist_matrix_create(p->grid, TS_F64, p->side, p->side, p->block);
    s->values = make(p->side);
    s->z = make(p->side * p->outputs);
    s->v = ts_dist_matrix_create(p->grid, TS_F64, p->side, p->side, p->block);
    if (p->dual)
        ts_features_kernel(square, p->x);
    else
        ts_features_gram(square, p->x);
    TsStatus status = ts_dist_eigen(s->values, s->v, square);
    ts_dist_matrix_free(&square);
    if (status)
        return status;
    double precision = p->x->dtype == TS_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    s->least = precision * (double)p->side * fmax(s->values[p->side - 1], 0);
    double *right = make(p->side * p->outputs);
    if (p->dual)
        gather_rows(right, p, p->y);
    else
        ts_features_transposed_times(right, p->x, p->y, p->outputs);
    TsDistMatrix *b = ts_dist_matrix_create(p->grid, TS_F64, p->side, p->outputs, p->block);
    TsDistMatrix *z = ts_dist_matrix_create(p->grid, TS_F64, p->side, p->outputs, p->block);
    put_side(b, p, right);
    ts_dist_multiply((TsDistProduct){.c = z, .a = s->v, .b = b, .transpose_a = true, .alpha = 1});
    ts_dist_matrix_get(s->z, z, (TsPanel){0, 0, p->side, p->outputs});
    ts_dist_matrix_free(&b);
    ts_dist_matrix_free(&z);
    ts_free(right);
    return TS_OK;
}

static void free_spectrum(Spectrum *s)
{
    ts_dist_matrix_free(&s->v);
    ts_free(s->values);
    ts_free(s->z);
}

/* What is added up for each alpha while the eigenvectors come by, some at a time. */
typedef struct LeftOut {
    double *bears; /* (alphas, local) */
    double *fits;  /* (alphas, local, outputs) */
} LeftOut;

/* Adds `width` eigenvectors from the first-th on; q (local, width). */
static void add_vectors(LeftOut *out, const Problem *p, const Spectrum *s, const TsRidge *ridge, const double *q,
                        int64_t first, int64_t width)
{
    for (int64_t a = 0; a < ridge->alpha_count; a++)
        for (int64_t c = 0; c < width; c++) {
            double factor = gain(p, s, first + c, ridge->alphas[a]);
            const double *z = s->z + (first + c) * p->outputs;
            for (int64_t i = 0; i < p->x->local; i++) {
                double one = q[i * width + c];
                out->bears[a * p->x->local + i] += factor * one * one;
                for (int64_t k = 0; k < p->outputs; k++)
                    out->fits[(a * p->x->local + i) * p->outputs + k] += factor * one * z[k];
            }
        }
}

/* errors (alphas): mean squared errors of examples predicted by all others: (y - fit) / (1 - h), where h is what an
 * example bears on its own prediction, 1 / n of it by the mean. */
static void leave_one_out(double *errors, const Problem *p, const Spectrum *s, const TsRidge *ridge)
{
    int64_t local = p->x->local, alphas = ridge->alpha_count;
    LeftOut out = {make(alphas * local), make(alphas * local * p->outputs)};
    double *v = make(p->side * PANEL), *q = make(local * PANEL);
    for (int64_t first = 0; first < p->side; first += PANEL) {
        int64_t width = p->side - first < PANEL ? p->side - first : PANEL;
        ts_dist_matrix_get(v, s->v, (TsPanel){0, first, p->side, width});
        if (!p->dual)
            ts_features_times(q, p->x, v, width);
        add_vectors(&out, p, s, ridge, p->dual ? v + p->x->first * width : q, first, width);
    }
    double by_mean = ridge->without_bias ? 0 : 1 / (double)p->n;
    memset(errors, 0, (size_t)alphas * sizeof *errors);
    for (int64_t a = 0; a < alphas; a++)
        for (int64_t i = 0; i < local * p->outputs; i++) {
            double left = 1 - by_mean - out.bears[a * local + i / p->outputs];
            double error = (p->y[i] - out.fits[a * local * p->outputs + i]) / left;
            errors[a] += left > DBL_EPSILON ? error * error : INFINITY;
        }
    ts_features_sum(errors, alphas, p->x);
    for (int64_t a = 0; a < alphas; a++)
        errors[a] /= (double)(p->n * p->outputs);
    ts_free(out.bears);
    ts_free(out.fits);
    ts_free(v);
    ts_free(q);
}

/* w (D, outputs) = V diag(1 / (values + alpha)) z, of the dual X^T of that. */
static void take_alpha(double *w, const Problem *p, const Spectrum *s, double alpha)
{
    TsDistMatrix *scaled = ts_dist_matrix_create(p->grid, TS_F64, p->side, p->outputs, p->block);
    TsDistMatrix *turned = ts_dist_matrix_create(p->grid, TS_F64, p->side, p->outputs, p->block);
    double *at = make(p->side * p->outputs);
    for (int64_t c = 0; c < p->side; c++) {
        double value = s->values[c] > s->least ? s->values[c] : 0, by = value + alpha > 0 ? 1 / (value + alpha) : 0;
        for (int64_t k = 0; k < p->outputs; k++)
            at[c * p->outputs + k] = by * s->z[c * p->outputs + k];
    }
    put_side(scaled, p, at);
    ts_dist_multiply((TsDistProduct){.c = turned, .a = s->v, .b = scaled, .alpha = 1});
    ts_dist_matrix_get(at, turned, (TsPanel){0, 0, p->side, p->outputs});
    find_kernel(w, p, at);
    ts_dist_matrix_free(&scaled);
    ts_dist_matrix_free(&turned);
    ts_free(at);
}

static TsStatus solve_several(TsRidgeSolution *solution, const Problem *p, const TsRidge *ridge)
{
    Spectrum s = {.values = NULL};
    TsStatus status = find_spectrum(&s, p);
    solution->errors = make(ridge->alpha_count);
    if (!status) {
        int64_t best = 0;
        leave_one_out(solution->errors, p, &s, ridge);
        for (int64_t a = 1; a < ridge->alpha_count; a++)
            best = solution->errors[a] < solution->errors[best] ? a : best;
        solution->alpha = ridge->alphas[best];
        take_alpha(solution->kernel, p, &s, solution->alpha);
    }
    free_spectrum(&s);
    return status;
}

/* ---- both ---- */

static TsStatus check(const TsFeatures *x, const TsRidge *ridge)
{
    if (x->columns == 0)
        return ts_status_error(TS_CODE_INVALID, "all columns of the features are constant: there is nothing to learn");
    bool few = x->count - !ridge->without_bias < x->columns;
    for (int64_t a = 0; a < ridge->alpha_count; a++)
        if (ridge->alphas[a] == 0 && few)
            return ts_status_error(TS_CODE_INVALID,
                                   "%lld columns of %lld examples have no single solution: alpha must be above 0",
                                   (long long)x->columns, (long long)x->count);
    return TS_OK;
}

/* The means of the targets. */
static void target_means(double *means, const TsFeatures *x, const TsRidge *ridge)
{
    for (int64_t i = 0; i < x->local * ridge->outputs && !ridge->without_bias; i++)
        means[i % ridge->outputs] += ridge->targets[i] / (double)x->count;
    ts_features_sum(means, ridge->outputs, x);
}

TsStatus ts_ridge_solve(TsRidgeSolution *solution, TsFeatures *features, TsRidge ridge)
{
    int64_t columns = features->columns, outputs = ridge.outputs, elems = features->local * outputs;
    *solution = (TsRidgeSolution){.alpha = ridge.alphas[0]};
    TS_TRY(check(features, &ridge));
    double *mean = make(columns), *y = make(elems);
    solution->kernel = make(columns * outputs);
    solution->bias = make(outputs);
    if (!ridge.without_bias) {
        ts_features_mean(mean, features);
        ts_features_center(features, mean);
    }
    target_means(solution->bias, features, &ridge);
    for (int64_t i = 0; i < elems; i++)
        y[i] = ridge.targets[i] - solution->bias[i % outputs];
    Problem p = {.x = features,
                 .y = y,
                 .n = features->count,
                 .columns = columns,
                 .outputs = outputs,
                 .dual = features->count < columns,
                 .rest = make(elems),
                 .grid = ts_grid_make(features->group, 0, 0)};
    p.side = p.dual ? p.n : columns;
    p.block = ts_dist_block(p.grid, p.side);
    TsStatus status =
        ridge.alpha_count == 1 ? solve_one(solution->kernel, &p, solution->alpha) : solve_several(solution, &p, &ridge);
    for (int64_t i = 0; i < columns * outputs && !status; i++)
        solution->bias[i % outputs] -= mean[i / outputs] * solution->kernel[i];
    ts_free(p.rest);
    ts_free(mean);
    ts_free(y);
    return status;
}

void ts_ridge_free(TsRidgeSolution *solution)
{
    ts_free(solution->kernel);
    ts_free(solution->bias);
    ts_free(solution->errors);
    *solution = (TsRidgeSolution){0};
}
