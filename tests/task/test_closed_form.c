/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Closed-form solvers against tests/golden/linalg.txt (make_linalg.py beside it writes it): tall, wide, rank-deficient
 * and tiny features, f32 within 1e-5 and f64 within 1e-10, on ranks that have few rows or none. And what cannot be.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "task/closed_form/kmeans.h"
#include "task/closed_form/logistic.h"
#include "task/closed_form/mahalanobis.h"
#include "task/closed_form/pca.h"
#include "task/closed_form/ridge.h"
#include "test.h"

typedef struct Form {
    const char *name;
    int64_t n, columns;
} Form;

static const Form forms[] = {{"tall", 60, 5}, {"wide", 12, 30}, {"deficient", 40, 8}, {"tiny", 3, 2}, {"one", 7, 1}};
enum { FORMS = sizeof forms / sizeof *forms, MOST = 256 };

/* As make_linalg.py has it. */
static double element(uint32_t s, int64_t i, int64_t j)
{
    uint32_t h = (uint32_t)i * 2654435761u + (uint32_t)j * 2246822519u + s * 3266489917u + 374761393u;
    for (int k = 0; k < 2; k++) {
        h ^= h >> 15;
        h *= 2246822519u;
    }
    h ^= h >> 13;
    return h % 2048 / 1024.0 - 1;
}

static double feature(const Form *form, int64_t i, int64_t j)
{
    bool sum = strcmp(form->name, "deficient") == 0 && j >= 5;
    return (sum ? element(1, i, j - 5) + element(1, i, j - 4) : element(1, i, j)) + 0.5;
}

/* The sum over columns of features times matrix `s`, and an element of matrix `noise`. */
static double target(const Form *form, uint32_t noise, uint32_t s, int64_t i, int64_t k)
{
    double sum = element(noise, i, k);
    for (int64_t j = 0; j < form->columns; j++)
        sum += feature(form, i, j) * element(s, j, k);
    return sum;
}

static TsFeatures *make(const Form *form, TsDtype dtype)
{
    TsFeatures *x = ts_features_create(test_world, dtype, form->n, form->columns, 1);
    for (int64_t i = 0; i < x->local; i++)
        for (int64_t j = 0; j < form->columns; j++) {
            double value = feature(form, x->first + i, j);
            if (dtype == TS_F64)
                ((double *)x->data)[i * form->columns + j] = value;
            else
                ((float *)x->data)[i * form->columns + j] = (float)value;
        }
    return x;
}

/* ---- the golden file ---- */

typedef struct Golden {
    double value[MOST];
    int64_t count, next;
} Golden;

static Golden read_golden(const char *what, const char *name, const char *suffix)
{
    Golden golden = {.count = 0};
    char *line = NULL, wanted[64];
    size_t room = 0;
    FILE *file = fopen("tests/golden/linalg.txt", "r");
    snprintf(wanted, sizeof wanted, "%s_%s%s", what, name, suffix);
    while (file && getline(&line, &room, file) > 0) {
        char *rest = line, *word = strsep(&rest, " ");
        for (char *end; strcmp(word, wanted) == 0 && golden.count < MOST; rest = end) {
            double value = strtod(rest, &end);
            if (end == rest)
                break;
            golden.value[golden.count++] = value;
        }
    }
    if (file)
        fclose(file);
    free(line); /* getline's */
    return golden;
}

/* That the next `count` golden values are these, but for a part of their length. */
static void expect(Golden *golden, const double *values, int64_t count, TsDtype dtype)
{
    double off = 0, length = 0, enough = dtype == TS_F64 ? 1e-10 : 1e-5;
    CU_ASSERT(golden->next + count <= golden->count);
    for (int64_t i = 0; i < count && golden->next + i < golden->count; i++) {
        double truth = golden->value[golden->next + i];
        off += (values[i] - truth) * (values[i] - truth);
        length += truth * truth;
    }
    golden->next += count;
    if (!(sqrt(off) <= enough * sqrt(length)))
        fprintf(stderr, "off by %g of %g (%s)\n", sqrt(off), sqrt(length), ts_dtype_name(dtype));
    CU_ASSERT(sqrt(off) <= enough * sqrt(length));
}

static void for_each_dtype(void (*run)(const Form *form, TsDtype dtype))
{
    for (int f = 0; f < FORMS; f++) {
        run(&forms[f], TS_F64);
        run(&forms[f], TS_F32);
    }
}

/* ---- ridge ---- */

static double *targets_of(const Form *form, const TsFeatures *x)
{
    double *y = ts_calloc((size_t)x->local * 2 + 1, sizeof *y);
    for (int64_t i = 0; i < x->local * 2; i++)
        y[i] = target(form, 2, 3, x->first + i / 2, i % 2);
    return y;
}

static TsRidgeSolution solve_ridge(const Form *form, TsDtype dtype, const double *alphas, int64_t count, bool bare)
{
    TsRidgeSolution solution;
    TsFeatures *x = make(form, dtype);
    double *y = targets_of(form, x);
    TEST_OK(ts_ridge_solve(&solution, x, (TsRidge){y, 2, alphas, count, bare}));
    ts_features_free(&x);
    ts_free(y);
    return solution;
}

static void ridge(const Form *form, TsDtype dtype)
{
    static const double alphas[] = {0.25, 1, 1};
    static const char *const suffixes[] = {"_0.25", "_1", "_nobias"};
    for (int k = 0; k < 3; k++) {
        Golden golden = read_golden("ridge", form->name, suffixes[k]);
        TsRidgeSolution solution = solve_ridge(form, dtype, alphas + k, 1, k == 2);
        expect(&golden, solution.kernel, form->columns * 2, dtype);
        if (k < 2)
            expect(&golden, solution.bias, 2, dtype);
        CU_ASSERT_EQUAL(golden.next, golden.count);
        ts_ridge_free(&solution);
    }
}

static void left_out(const Form *form, TsDtype dtype)
{
    static const double alphas[] = {0.01, 0.1, 1, 10};
    Golden golden = read_golden("left_out", form->name, "");
    TsRidgeSolution solution = solve_ridge(form, dtype, alphas, 4, false);
    expect(&golden, solution.errors, 4, dtype);
    expect(&golden, solution.kernel, form->columns * 2, dtype);
    expect(&golden, solution.bias, 2, dtype);
    ts_ridge_free(&solution);
}

static void ridge_is_scikit_learns(void)
{
    for_each_dtype(ridge);
}

static void leaving_one_out_is_exact(void)
{
    for_each_dtype(left_out);
}

/* ---- the others ---- */

static void logistic(const Form *form, TsDtype dtype)
{
    Golden golden = read_golden("logistic", form->name, "");
    TsLogisticSolution solution;
    if (!golden.count)
        return;
    TsFeatures *x = make(form, dtype);
    int32_t *classes = ts_calloc((size_t)x->local + 1, sizeof *classes);
    for (int64_t i = 0; i < x->local; i++)
        for (int32_t c = 1; c < 3; c++)
            if (element(4, x->first + i, c) > element(4, x->first + i, classes[i]))
                classes[i] = c;
    TEST_OK(ts_logistic_solve(&solution, x, (TsLogistic){classes, 3, 0.5, dtype == TS_F64 ? 1e-12 : 1e-8, 100}));
    expect(&golden, solution.kernel, form->columns * 3, dtype);
    expect(&golden, solution.bias, 3, dtype);
    CU_ASSERT(solution.steps < 15);
    ts_logistic_free(&solution);
    ts_features_free(&x);
    ts_free(classes);
}

static void pca(const Form *form, TsDtype dtype)
{
    Golden golden = read_golden("pca", form->name, "");
    TsPcaSolution solution;
    if (!golden.count)
        return;
    TsFeatures *x = make(form, dtype);
    TEST_OK(ts_pca_solve(&solution, x, 2));
    expect(&golden, solution.directions, form->columns * 2, dtype);
    expect(&golden, solution.variance, 2, dtype);
    expect(&golden, solution.ratio, 2, dtype);
    ts_pca_free(&solution);
    ts_features_free(&x);
}

static void kmeans(const Form *form, TsDtype dtype)
{
    Golden golden = read_golden("kmeans", form->name, "");
    TsKmeansSolution solution;
    double begin[3 * 30];
    if (!golden.count)
        return;
    for (int64_t i = 0; i < 3 * form->columns; i++)
        begin[i] = feature(form, i / form->columns, i % form->columns);
    TsFeatures *x = make(form, dtype);
    TEST_OK(ts_kmeans_solve(&solution, x, (TsKmeans){.k = 3, .iterations = 300, .begin = begin}));
    expect(&golden, solution.centers, 3 * form->columns, dtype);
    expect(&golden, &solution.inertia, 1, dtype);
    ts_kmeans_free(&solution);
    ts_features_free(&x);
}

/* The squared distances of all rows, from the root: |(x - mean) W|^2. */
static void expect_distances(Golden *golden, const TsMahalanobis *solution, const TsFeatures *centered, TsDtype dtype)
{
    int64_t n = centered->count, columns = centered->columns;
    double *root = ts_calloc((size_t)(columns * columns), sizeof *root), all[MOST] = {0};
    double *turned = ts_calloc((size_t)(centered->local * columns) + 1, sizeof *turned);
    ts_dist_matrix_get(root, solution->root, (TsPanel){0, 0, columns, columns});
    ts_features_times(turned, centered, root, columns);
    for (int64_t i = 0; i < centered->local * columns; i++)
        all[centered->first + i / columns] += turned[i] * turned[i];
    ts_features_sum(all, n, centered);
    expect(golden, all, n, dtype);
    ts_free(root);
    ts_free(turned);
}

static void distances(const Form *form, TsDtype dtype, const char *what, const char *suffix, double shrinkage)
{
    Golden golden = read_golden(what, form->name, suffix);
    TsMahalanobis solution;
    if (!golden.count)
        return;
    TsFeatures *x = make(form, dtype);
    TEST_OK(ts_mahalanobis_solve(&solution, x, shrinkage));
    if (shrinkage < 0)
        expect(&golden, &solution.shrinkage, 1, dtype);
    expect_distances(&golden, &solution, x, dtype);
    CU_ASSERT_EQUAL(golden.next, golden.count);
    ts_mahalanobis_free(&solution);
    ts_features_free(&x);
}

static void mahalanobis(const Form *form, TsDtype dtype)
{
    distances(form, dtype, "mahalanobis", "", 0.25);
    distances(form, dtype, "ledoit_wolf", "", -1);
    distances(form, dtype, "mahalanobis", "_0", 0);
}

static void logistic_is_scikit_learns(void)
{
    for_each_dtype(logistic);
}

static void pca_is_scikit_learns(void)
{
    for_each_dtype(pca);
}

static void kmeans_is_scikit_learns(void)
{
    for_each_dtype(kmeans);
}

static void mahalanobis_is_scikit_learns(void)
{
    for_each_dtype(mahalanobis);
}

/* ---- what is drawn ---- */

/* Three clouds far apart: whatever is drawn, the best of some beginnings finds them, on all ranks alike. */
static void clouds_are_found(void)
{
    static const double corners[3][2] = {{0, 0}, {40, 0}, {0, 40}};
    for (int batch = 0; batch <= 60; batch += 60) {
        TsFeatures *x = ts_features_create(test_world, TS_F32, 90, 2, 1);
        for (int64_t i = 0; i < x->local * 2; i++)
            ((float *)x->data)[i] =
                (float)(corners[(x->first + i / 2) % 3][i % 2] + element(7, x->first + i / 2, i % 2));
        TsKmeansSolution solution;
        TEST_OK(ts_kmeans_solve(
            &solution, x,
            (TsKmeans){.k = 3, .restarts = 4, .iterations = 50, .tolerance = 1e-4, .batch = batch, .seed = 1}));
        CU_ASSERT(solution.inertia > 20 && solution.inertia < 90 * 2 * 0.7);
        for (int c = 0; c < 3; c++) {
            double nearest = INFINITY;
            for (int k = 0; k < 3; k++)
                nearest = fmin(nearest, hypot(solution.centers[k * 2] - corners[c][0],
                                              solution.centers[k * 2 + 1] - corners[c][1]));
            CU_ASSERT(nearest < 1);
        }
        ts_kmeans_free(&solution);
        ts_features_free(&x);
    }
}

/* Of two points that are there many times, each beginning takes each once: what is a center is not drawn again. */
static void no_center_is_drawn_twice(void)
{
    TsFeatures *x = ts_features_create(test_world, TS_F64, 31, 1, 1);
    for (int64_t i = 0; i < x->local; i++)
        ((double *)x->data)[i] = (double)((x->first + i) % 2);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        TsKmeansSolution solution;
        TEST_OK(ts_kmeans_solve(&solution, x, (TsKmeans){.k = 2, .restarts = 1, .iterations = 1, .seed = seed}));
        CU_ASSERT_EQUAL(solution.inertia, 0);
        ts_kmeans_free(&solution);
    }
    ts_features_free(&x);
}

/* ---- what cannot be ---- */

static void what_cannot_be_is_said(void)
{
    static const double zero = 0;
    double y[120] = {0};
    int32_t classes[60] = {0};
    TsRidgeSolution fit;
    TsFeatures *x = make(&forms[2], TS_F64);
    TEST_ERROR(ts_ridge_solve(&fit, x, (TsRidge){y, 1, &zero, 1, false}), "is not positive definite at row");
    ts_ridge_free(&fit);
    TsLogisticSolution logistic_fit;
    TEST_ERROR(ts_logistic_solve(&logistic_fit, x, (TsLogistic){classes, 2, 1, 1e-6, 10}),
               "all 40 examples are of one class");
    ts_logistic_free(&logistic_fit);
    TsPcaSolution pca_fit;
    TEST_ERROR(ts_pca_solve(&pca_fit, x, 7), "vary in 5");
    ts_pca_free(&pca_fit);
    TEST_ERROR(ts_pca_solve(&pca_fit, x, 9), "vary in 8 at most");
    ts_pca_free(&pca_fit);
    TsKmeansSolution kmeans_fit;
    TEST_ERROR(ts_kmeans_solve(&kmeans_fit, x, (TsKmeans){.k = 41, .restarts = 1}),
               "41 clusters are asked for, but there are 40");
    ts_kmeans_free(&kmeans_fit);
    TsMahalanobis distance;
    TEST_ERROR(ts_mahalanobis_solve(&distance, x, 0), "has no inverse: shrinkage must be above 0");
    ts_mahalanobis_free(&distance);
    ts_features_free(&x);

    x = make(&forms[1], TS_F32);
    TEST_ERROR(ts_ridge_solve(&fit, x, (TsRidge){y, 1, &zero, 1, false}),
               "30 columns of 12 examples have no single solution");
    ts_ridge_free(&fit);
    ts_features_free(&x);
}

static void strange_numbers_are_found(void)
{
    int64_t kept[8];
    TsFeatures *x = make(&forms[2], TS_F32);
    TEST_OK(ts_features_check_finite(x, "x"));
    if (17 >= x->first && 17 < x->first + x->local)
        ((float *)x->data)[(17 - x->first) * 8 + 3] = NAN;
    if (31 >= x->first && 31 < x->first + x->local)
        ((float *)x->data)[(31 - x->first) * 8 + 1] = INFINITY;
    TEST_ERROR(ts_features_check_finite(x, "x"), "x: column 3 of example 17 is not a finite number");
    for (int64_t i = 0; i < x->local; i++)
        ((float *)x->data)[i * 8 + 3] = ((float *)x->data)[i * 8 + 0] = 7;
    CU_ASSERT_EQUAL(ts_features_drop_constant(x, kept), 6);
    CU_ASSERT_EQUAL(kept[0], 1);
    CU_ASSERT_EQUAL(kept[2], 4);
    if (x->local)
        CU_ASSERT_DOUBLE_EQUAL(((float *)x->data)[(x->local - 1) * 6 + 5],
                               feature(&forms[2], x->first + x->local - 1, 7), 1e-6);
    ts_features_free(&x);
    x = ts_features_create(test_world, TS_F64, 30, 4, 1);
    double y[30] = {0}, one = 1;
    TsRidgeSolution fit;
    CU_ASSERT_EQUAL(ts_features_drop_constant(x, kept), 0);
    TEST_ERROR(ts_ridge_solve(&fit, x, (TsRidge){y, 1, &one, 1, false}), "all columns of the features are constant");
    ts_ridge_free(&fit);
    ts_features_free(&x);
    TsKmeansSolution kmeans_fit;
    x = ts_features_create(test_world, TS_F64, 30, 4, 1);
    TEST_ERROR(ts_kmeans_solve(&kmeans_fit, x, (TsKmeans){.k = 2, .restarts = 1}), "only 1 examples differ");
    ts_kmeans_free(&kmeans_fit);
    ts_features_free(&x);
}

TEST_MAIN("closed form", {"ridge is scikit-learn's", ridge_is_scikit_learns},
          {"leaving one out is exact", leaving_one_out_is_exact},
          {"logistic regression is scikit-learn's", logistic_is_scikit_learns},
          {"principal directions are scikit-learn's", pca_is_scikit_learns},
          {"k-means is scikit-learn's", kmeans_is_scikit_learns},
          {"distances are scikit-learn's", mahalanobis_is_scikit_learns}, {"clouds are found", clouds_are_found},
          {"no center is drawn twice", no_center_is_drawn_twice}, {"what cannot be is said", what_cannot_be_is_said},
          {"strange numbers are found", strange_numbers_are_found})
