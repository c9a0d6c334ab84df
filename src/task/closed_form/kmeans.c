/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "comm/collectives.h"
#include "tensor/matmul.h"

enum { ROWS = 256 };

/* A beginning and what becomes of it. */
typedef struct Search {
    const TsFeatures *x;
    const TsKmeans *options;
    int64_t k, columns;
    double *centers, *sums; /* (k, D) */
    double *counts;         /* (k) */
    int32_t *nearest;       /* (local) */
    double *squares;        /* (local) */
    double inertia;
    int64_t iterations;
} Search;

static double *make(int64_t elems)
{
    return ts_calloc((size_t)elems + 1, sizeof(double));
}

static double square_length(const double *x, int64_t columns)
{
    double sum = 0;
    for (int64_t j = 0; j < columns; j++)
        sum += x[j] * x[j];
    return sum;
}

/* ---- distances ---- */

/* |x - c|^2, which products alone would round where x is near c. */
static double square_distance(const double *x, const double *center, int64_t columns)
{
    double sum = 0;
    for (int64_t j = 0; j < columns; j++)
        sum += (x[j] - center[j]) * (x[j] - center[j]);
    return sum;
}

/* Of `rows` examples in `block`; products (rows, k) and lengths (k) of the centers. */
static void assign_block(int32_t *nearest, double *squares, const double *block, int64_t rows, const double *products,
                         const double *lengths, const double *centers, int64_t k, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++) {
        int64_t best = 0;
        for (int64_t c = 1; c < k; c++)
            if (lengths[c] - 2 * products[i * k + c] < lengths[best] - 2 * products[i * k + best])
                best = c;
        nearest[i] = (int32_t)best;
        squares[i] = square_distance(block + i * columns, centers + best * columns, columns);
    }
}

void ts_kmeans_assign(int32_t *nearest, double *squares, const TsFeatures *features, const double *centers, int64_t k)
{
    int64_t columns = features->columns;
    double *block = make(ROWS * columns), *products = make(ROWS * k), *lengths = make(k);
    for (int64_t c = 0; c < k; c++)
        lengths[c] = square_length(centers + c * columns, columns);
    for (int64_t from = 0; from < features->local; from += ROWS) {
        int64_t rows = features->local - from < ROWS ? features->local - from : ROWS;
        ts_features_read(block, features, from, rows);
        ts_matmul(&(TsMatmul){.c = products,
                              .a = block,
                              .b = centers,
                              .m = rows,
                              .n = k,
                              .k = columns,
                              .transpose_b = true,
                              .dtype = TS_F64,
                              .threads = features->threads});
        assign_block(nearest + from, squares + from, block, rows, products, lengths, centers, k, columns);
    }
    ts_free(block);
    ts_free(products);
    ts_free(lengths);
}

/* ---- beginnings ---- */

/* The lowest row that a rank names; INT64_MAX: none does. Collective. */
static int64_t lowest(const Search *s, int64_t mine)
{
    int64_t found = INT64_MAX;
    ts_all_reduce(
        s->x->group,
        (TsTransfer){
            .out = &found, .in = &mine, .count_elems = 1, .dtype = TS_I64, .reduction = TS_MIN, .label = "kmeans/row"});
    return found;
}

/* A row drawn with the probability of its square: where the running sum over all rows passes `part` of the whole. -1:
 * all squares are 0. Collective; the same on all ranks. */
static int64_t draw_row(const Search *s, double part)
{
    int size = ts_group_size(s->x->group), rank = ts_group_rank(s->x->group);
    double *sums = make(size), before = 0, whole = 0;
    for (int64_t i = 0; i < s->x->local; i++)
        sums[rank] += s->squares[i];
    ts_features_sum(sums, size, s->x);
    for (int r = 0; r < size; r++)
        whole += sums[r];
    for (int r = 0; r < rank; r++)
        before += sums[r];
    ts_free(sums);
    int64_t mine = INT64_MAX;
    for (int64_t i = 0; i < s->x->local && mine == INT64_MAX; i++) {
        before += s->squares[i];
        if (s->squares[i] > 0 && before >= part * whole)
            mine = s->x->first + i;
    }
    int64_t found = lowest(s, mine);
    return whole > 0 && found < INT64_MAX ? found : -1;
}

/* squares = the least of them and those to `center`. */
static void come_nearer(Search *s, const double *center)
{
    double *block = make(ROWS * s->columns);
    for (int64_t from = 0; from < s->x->local; from += ROWS) {
        int64_t rows = s->x->local - from < ROWS ? s->x->local - from : ROWS;
        ts_features_read(block, s->x, from, rows);
        for (int64_t i = 0; i < rows; i++)
            s->squares[from + i] =
                fmin(s->squares[from + i], square_distance(block + i * s->columns, center, s->columns));
    }
    ts_free(block);
}

/* Each further center is an example drawn by its squared distance to the nearest one so far. */
static TsStatus begin(Search *s, int64_t restart)
{
    TsStream stream = ts_stream(s->options->seed, "kmeans/begin", restart);
    if (s->options->begin) {
        memcpy(s->centers, s->options->begin, (size_t)(s->k * s->columns) * sizeof *s->centers);
        return TS_OK;
    }
    for (int64_t i = 0; i < s->x->local; i++)
        s->squares[i] = INFINITY;
    for (int64_t c = 0; c < s->k; c++) {
        int64_t row = c ? draw_row(s, ts_stream_uniform_f64(stream, c)) : ts_stream_below(stream, 0, s->x->count);
        if (row < 0)
            return ts_status_error(TS_CODE_INVALID, "%lld clusters are asked for, but only %lld examples differ",
                                   (long long)s->k, (long long)c);
        ts_features_row(s->centers + c * s->columns, s->x, row);
        come_nearer(s, s->centers + c * s->columns);
    }
    return TS_OK;
}

/* ---- iterations ---- */

/* Sums and counts by center over the rows of all ranks, or of those in `chosen` (count), this rank's, alone. */
static void sum_up(Search *s, const int64_t *chosen, int64_t count)
{
    double *row = make(s->columns);
    memset(s->sums, 0, (size_t)(s->k * s->columns) * sizeof *s->sums);
    memset(s->counts, 0, (size_t)s->k * sizeof *s->counts);
    for (int64_t n = 0; n < count; n++) {
        int64_t i = chosen ? chosen[n] : n, c = s->nearest[i];
        ts_features_read(row, s->x, i, 1);
        for (int64_t j = 0; j < s->columns; j++)
            s->sums[c * s->columns + j] += row[j];
        s->counts[c]++;
    }
    ts_features_sum(s->sums, s->k * s->columns, s->x);
    ts_features_sum(s->counts, s->k, s->x);
    ts_free(row);
}

/* The example that is farthest from its center, which from now on is near. Collective. */
static int64_t take_farthest(Search *s)
{
    double most = -1, all = -1;
    int64_t mine = INT64_MAX;
    for (int64_t i = 0; i < s->x->local; i++)
        most = fmax(most, s->squares[i]);
    ts_all_reduce(s->x->group, (TsTransfer){.out = &all,
                                            .in = &most,
                                            .count_elems = 1,
                                            .dtype = TS_F64,
                                            .reduction = TS_MAX,
                                            .label = "kmeans/farthest"});
    for (int64_t i = 0; i < s->x->local && mine == INT64_MAX; i++)
        if (s->squares[i] == all)
            mine = s->x->first + i;
    int64_t found = lowest(s, mine);
    if (mine == found && mine < INT64_MAX)
        s->squares[found - s->x->first] = 0;
    return found;
}

/* Centers to the means of their examples, an empty one to the example that is farthest from its own; how far they
 * moved, squared. */
static double move(Search *s)
{
    double moved = 0, *mean = make(s->columns);
    for (int64_t c = 0; c < s->k; c++) {
        double *center = s->centers + c * s->columns;
        if (s->counts[c] == 0)
            ts_features_row(mean, s->x, take_farthest(s));
        for (int64_t j = 0; j < s->columns && s->counts[c] > 0; j++)
            mean[j] = s->sums[c * s->columns + j] / s->counts[c];
        moved += square_distance(mean, center, s->columns);
        memcpy(center, mean, (size_t)s->columns * sizeof *mean);
    }
    ts_free(mean);
    return moved;
}

static void assign_all(Search *s)
{
    ts_kmeans_assign(s->nearest, s->squares, s->x, s->centers, s->k);
    s->inertia = 0;
    for (int64_t i = 0; i < s->x->local; i++)
        s->inertia += s->squares[i];
    ts_features_sum(&s->inertia, 1, s->x);
}

static void iterate(Search *s, double enough)
{
    double moved = INFINITY;
    for (s->iterations = 0; s->iterations < s->options->iterations && moved > enough; s->iterations++) {
        assign_all(s);
        sum_up(s, NULL, s->x->local);
        moved = move(s);
    }
    assign_all(s);
}

/* This rank's rows of the batch of an iteration; returns how many, numbers in the local part. */
static int64_t draw_batch(int64_t *chosen, const Search *s, int64_t restart, int64_t iteration)
{
    TsStream stream = ts_stream(s->options->seed, "kmeans/batch", restart * s->options->iterations + iteration);
    int64_t count = 0;
    for (int64_t b = 0; b < s->options->batch; b++) {
        int64_t row = ts_stream_below(stream, b, s->x->count) - s->x->first;
        if (row >= 0 && row < s->x->local)
            chosen[count++] = row;
    }
    return count;
}

/* The centers nearest to the chosen rows, into s->nearest. */
static void assign_chosen(Search *s, const int64_t *chosen, int64_t count)
{
    TsFeatures some = *s->x;
    some.local = count;
    size_t bytes = (size_t)s->columns * ts_dtype_bytes(some.dtype);
    some.data = ts_alloc(bytes * (size_t)count + 1);
    int32_t *nearest = ts_calloc((size_t)count + 1, sizeof *nearest);
    double *squares = make(count);
    for (int64_t n = 0; n < count; n++)
        memcpy((char *)some.data + bytes * (size_t)n, (const char *)s->x->data + bytes * (size_t)chosen[n], bytes);
    ts_kmeans_assign(nearest, squares, &some, s->centers, s->k);
    for (int64_t n = 0; n < count; n++)
        s->nearest[chosen[n]] = nearest[n];
    ts_free(some.data);
    ts_free(nearest);
    ts_free(squares);
}

/* Centers are the means of all examples that batches brought them. */
static void iterate_batches(Search *s, int64_t restart)
{
    int64_t *chosen = ts_calloc((size_t)s->options->batch + 1, sizeof *chosen);
    double *seen = make(s->k);
    for (s->iterations = 0; s->iterations < s->options->iterations; s->iterations++) {
        int64_t count = draw_batch(chosen, s, restart, s->iterations);
        assign_chosen(s, chosen, count);
        sum_up(s, chosen, count);
        for (int64_t c = 0; c < s->k; c++) {
            seen[c] += s->counts[c];
            for (int64_t j = 0; j < s->columns && seen[c] > 0; j++)
                s->centers[c * s->columns + j] +=
                    (s->sums[c * s->columns + j] - s->counts[c] * s->centers[c * s->columns + j]) / seen[c];
        }
    }
    assign_all(s);
    ts_free(chosen);
    ts_free(seen);
}

/* ---- the best of them ---- */

/* The mean variance of columns. */
static double mean_variance(const TsFeatures *x)
{
    double *mean = make(x->columns), *block = make(ROWS * x->columns), sum = 0;
    ts_features_mean(mean, x);
    for (int64_t from = 0; from < x->local; from += ROWS) {
        int64_t rows = x->local - from < ROWS ? x->local - from : ROWS;
        ts_features_read(block, x, from, rows);
        for (int64_t i = 0; i < rows; i++)
            sum += square_distance(block + i * x->columns, mean, x->columns);
    }
    ts_features_sum(&sum, 1, x);
    ts_free(mean);
    ts_free(block);
    return sum / (double)(x->count * x->columns);
}

TsStatus ts_kmeans_solve(TsKmeansSolution *solution, const TsFeatures *features, TsKmeans kmeans)
{
    int64_t k = kmeans.k, elems = k * features->columns;
    *solution = (TsKmeansSolution){.inertia = INFINITY};
    if (k > features->count)
        return ts_status_error(TS_CODE_INVALID, "%lld clusters are asked for, but there are %lld examples",
                               (long long)k, (long long)features->count);
    Search s = {.x = features,
                .options = &kmeans,
                .k = k,
                .columns = features->columns,
                .centers = make(elems),
                .sums = make(elems),
                .counts = make(k),
                .nearest = ts_calloc((size_t)features->local + 1, sizeof *s.nearest),
                .squares = make(features->local)};
    double enough = kmeans.tolerance * mean_variance(features);
    TsStatus status = TS_OK;
    solution->centers = make(elems);
    for (int64_t restart = 0; restart < (kmeans.begin ? 1 : kmeans.restarts) && !status; restart++) {
        status = begin(&s, restart);
        if (status)
            break;
        if (kmeans.batch > 0)
            iterate_batches(&s, restart);
        else
            iterate(&s, enough);
        if (s.inertia < solution->inertia) {
            memcpy(solution->centers, s.centers, (size_t)elems * sizeof *s.centers);
            solution->inertia = s.inertia;
            solution->iterations = s.iterations;
        }
    }
    ts_free(s.centers);
    ts_free(s.sums);
    ts_free(s.counts);
    ts_free(s.nearest);
    ts_free(s.squares);
    return status;
}

void ts_kmeans_free(TsKmeansSolution *solution)
{
    ts_free(solution->centers);
    *solution = (TsKmeansSolution){0};
}
