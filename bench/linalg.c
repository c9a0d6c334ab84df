/* SPDX-License-Identifier: Apache-2.0
 *
 * Distributed linear algebra on 2 ranks of 1 thread: ridge regression from rows in memory to coefficients, beside the
 * rate of matrix products and scikit-learn's time for the same; eigenvalues and vectors, beside one call of LAPACK's
 * with 2 threads; and what they take of memory. bench/linalg.sh runs it, and hands over the peers' times.
 *
 *     linalg ridge PEER_S | linalg eigen LAPACK_S | linalg memory | linalg blocks
 *
 * `blocks` prints what sides of blocks cost: ts_dist_block takes what it shows to serve best.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "base/philox.h"
#include "comm/collectives.h"
#include "comm/runtime.h"
#include "measure.h"
#include "target.h"
#include "task/closed_form/ridge.h"
#include "tensor/dist_linalg.h"
#include "tensor/matmul.h"

enum { EXAMPLES = 100000, COLUMNS = 4096, SIDE = 4096, REPEATS = 3, PRODUCT = 2048 };

/* The slowest rank's. */
static double slowest(TsGroup *group, double seconds)
{
    double all;
    ts_all_reduce(
        group,
        (TsTransfer){
            .out = &all, .in = &seconds, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "bench"});
    return all;
}

/* Flops a second of all ranks together, in f32 products, each its own. */
static double product_rate(TsGroup *group)
{
    size_t elems = (size_t)PRODUCT * PRODUCT;
    float *a = ts_alloc(elems * sizeof *a), *b = ts_alloc(elems * sizeof *b), *c = ts_alloc(elems * sizeof *c);
    double best = INFINITY;
    for (size_t i = 0; i < elems; i++)
        a[i] = b[i] = (float)(i % 17) / 17;
    for (int k = 0; k < 5; k++) {
        ts_barrier(group, "bench");
        double start = bench_now_s();
        ts_matmul(&(TsMatmul){.c = c, .a = a, .b = b, .m = PRODUCT, .n = PRODUCT, .k = PRODUCT, .dtype = TS_F32});
        best = fmin(best, slowest(group, bench_now_s() - start));
    }
    ts_free(a);
    ts_free(b);
    ts_free(c);
    return 2 * pow(PRODUCT, 3) / best * ts_group_size(group);
}

static TsFeatures *make_features(TsGroup *group, double *y)
{
    TsFeatures *x = ts_features_create(group, TS_F32, EXAMPLES, COLUMNS, 1);
    TsStream stream = ts_stream(1, "bench/x", 0);
    ts_stream_fill_uniform_f32(stream, x->data, x->first * COLUMNS, x->local * COLUMNS);
    for (int64_t i = 0; i < x->local; i++)
        y[i] = (double)((const float *)x->data)[i * COLUMNS] + ts_stream_uniform_f64(stream, x->first + i);
    return x;
}

static void bench_ridge(TsGroup *group, double peer_s)
{
    const double alpha = 1;
    double rate = product_rate(group), best = INFINITY;
    double *y = ts_calloc(EXAMPLES, sizeof *y);
    for (int k = 0; k < REPEATS; k++) {
        TsFeatures *x = make_features(group, y);
        TsRidgeSolution solution;
        ts_barrier(group, "bench");
        double start = bench_now_s();
        TsStatus status =
            ts_ridge_solve(&solution, x, (TsRidge){.targets = y, .outputs = 1, .alphas = &alpha, .alpha_count = 1});
        best = fmin(best, slowest(group, bench_now_s() - start));
        TS_CHECK(!status && fabs(solution.kernel[0] - 1) < 0.05, "the solution is wrong");
        ts_ridge_free(&solution);
        ts_features_free(&x);
    }
    double flops = (double)EXAMPLES * COLUMNS * COLUMNS + pow(COLUMNS, 3) / 3;
    ts_free(y);
    if (ts_group_rank(group))
        return;
    printf("ridge: %.2f s, %.0f GFLOP/s of %.0f in products; scikit-learn %.2f s\n", best, flops / best / 1e9,
           rate / 1e9, peer_s);
    bench_target("linalg/ridge", flops / best / rate);
    bench_target("linalg/ridge-peer", peer_s / best);
}

/* ---- eigenvalues ---- */

static void fill_symmetric(TsDistMatrix *a, float diagonal)
{
    TsStream stream = ts_stream(1, "bench/a", 0);
    for (int64_t j = 0; j < a->local_columns; j++)
        for (int64_t i = 0; i < a->local_rows; i++) {
            int64_t row = ts_cyclic_global(i, a->block, a->grid.row, a->grid.rows);
            int64_t column = ts_cyclic_global(j, a->block, a->grid.column, a->grid.columns);
            int64_t least = row < column ? row : column, most = row < column ? column : row;
            ((float *)a->data)[j * ts_dist_matrix_stride(a) + i] =
                ts_stream_uniform_f32(stream, most * SIDE + least) - 0.5f + (row == column ? diagonal : 0);
        }
}

static void bench_eigen(TsGroup *group, double lapack_s)
{
    TsGrid grid = ts_grid_make(group, 0, 0);
    TsDistMatrix *a = ts_dist_matrix_create(grid, TS_F32, SIDE, SIDE, ts_dist_block(grid, SIDE));
    TsDistMatrix *v = ts_dist_matrix_create(grid, TS_F32, SIDE, SIDE, a->block);
    double *values = ts_calloc(SIDE, sizeof *values);
    fill_symmetric(a, 0);
    ts_barrier(group, "bench");
    double start = bench_now_s();
    TsStatus status = ts_dist_eigen(values, v, a);
    double seconds = slowest(group, bench_now_s() - start);
    TS_CHECK(!status, "%s", ts_status_message(status));
    if (ts_group_rank(group) == 0) {
        printf("eigen: grid %d x %d, block %lld: %.2f s, LAPACK %.2f s\n", grid.rows, grid.columns, (long long)a->block,
               seconds, lapack_s);
        bench_target("linalg/eigen", seconds / lapack_s);
    }
    ts_dist_matrix_free(&a);
    ts_dist_matrix_free(&v);
    ts_free(values);
}

/* ---- blocks ---- */

/* Seconds of a product, a Cholesky solve and eigenvalues of (side, side), in blocks of `block`. */
static void time_block(TsGroup *group, TsGrid grid, int64_t side, int64_t block)
{
    TsDistMatrix *a = ts_dist_matrix_create(grid, TS_F32, side, side, block);
    TsDistMatrix *b = ts_dist_matrix_create(grid, TS_F32, side, side, block);
    TsDistMatrix *column = ts_dist_matrix_create(grid, TS_F32, side, 1, block);
    double *values = ts_calloc((size_t)side, sizeof *values), seconds[3];
    for (int k = 0; k < 3; k++) {
        fill_symmetric(a, (float)side); /* positive definite */
        ts_barrier(group, "bench");
        double start = bench_now_s();
        TsStatus status = TS_OK;
        if (k == 0)
            ts_dist_multiply((TsDistProduct){.c = b, .a = a, .b = a, .transpose_b = true, .alpha = 1});
        else
            status = k == 1 ? ts_dist_cholesky_solve(a, column) : ts_dist_eigen(values, b, a);
        seconds[k] = slowest(group, bench_now_s() - start);
        TS_CHECK(!status, "%s", ts_status_message(status));
    }
    if (ts_group_rank(group) == 0)
        printf("%6lld  %9.3f  %9.3f  %9.3f\n", (long long)block, seconds[0], seconds[1], seconds[2]);
    ts_free(values);
    ts_dist_matrix_free(&a);
    ts_dist_matrix_free(&b);
    ts_dist_matrix_free(&column);
}

static void bench_blocks(TsGroup *group)
{
    TsGrid grid = ts_grid_make(group, 0, 0);
    if (ts_group_rank(group) == 0)
        printf("%d x %d on a grid of %d x %d; seconds\n block    product   Cholesky      eigen\n", SIDE / 2, SIDE / 2,
               grid.rows, grid.columns);
    for (int64_t block = 16; block <= 256; block *= 2)
        time_block(group, grid, SIDE / 2, block);
}

/* ---- memory ---- */

/* The most that was allocated while ridge solves, beyond what was there before, over a rank's share: its rows, and of
 * the square and of what is solved. */
static void bench_memory(TsGroup *group)
{
    const double alpha = 1;
    double *y = ts_calloc(EXAMPLES, sizeof *y);
    size_t before = ts_memory_usage().live_bytes;
    TsFeatures *x = make_features(group, y);
    TsRidgeSolution solution;
    TsStatus status =
        ts_ridge_solve(&solution, x, (TsRidge){.targets = y, .outputs = 1, .alphas = &alpha, .alpha_count = 1});
    TS_CHECK(!status, "%s", ts_status_message(status));
    double most = slowest(group, (double)(ts_memory_usage().peak_bytes - before));
    double share = ((double)EXAMPLES * COLUMNS + (double)COLUMNS * COLUMNS) * sizeof(float) / ts_group_size(group);
    if (ts_group_rank(group) == 0) {
        printf("memory: %.0f MiB at most, %.0f MiB is a rank's share\n", most / (1 << 20), share / (1 << 20));
        bench_target("linalg/memory", most / share);
    }
    ts_ridge_free(&solution);
    ts_features_free(&x);
    ts_free(y);
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){.watchdog_s = 250});
    const char *what = argc > 1 ? argv[1] : "";
    double peer_s = argc > 2 ? strtod(argv[2], NULL) : (double)NAN;
    if (strcmp(what, "ridge") == 0)
        bench_ridge(world, peer_s);
    else if (strcmp(what, "eigen") == 0)
        bench_eigen(world, peer_s);
    else if (strcmp(what, "memory") == 0)
        bench_memory(world);
    else if (strcmp(what, "blocks") == 0)
        bench_blocks(world);
    else
        TS_CHECK(false, "usage: linalg ridge PEER_S | eigen LAPACK_S | memory | blocks");
    return ts_runtime_end(0);
}
