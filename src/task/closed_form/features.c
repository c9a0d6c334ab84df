/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/features.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "tensor/matmul.h"

enum {
    ROWS = 256,  /* that are converted to f64 at a time */
    PANEL = 512, /* columns of a square that are summed over ranks at a time */
};

TsFeatures *ts_features_create(TsGroup *group, TsDtype dtype, int64_t count, int64_t columns, int threads)
{
    TS_CHECK(dtype == TS_F32 || dtype == TS_F64, "features of %s", ts_dtype_name(dtype));
    TsFeatures *made = ts_calloc(1, sizeof *made);
    *made = (TsFeatures){.group = group, .dtype = dtype, .count = count, .columns = columns, .threads = threads};
    made->first = ts_features_first(made, ts_group_rank(group));
    made->local = ts_features_first(made, ts_group_rank(group) + 1) - made->first;
    made->data = ts_calloc((size_t)(made->local * columns) + 1, ts_dtype_bytes(dtype));
    return made;
}

void ts_features_free(TsFeatures **features)
{
    if (!*features)
        return;
    ts_free((*features)->data);
    ts_free(*features);
    *features = NULL;
}

int64_t ts_features_first(const TsFeatures *features, int rank)
{
    int64_t size = ts_group_size(features->group), left = features->count % size;
    return features->count / size * rank + (rank < left ? rank : left);
}

int ts_features_owner(const TsFeatures *features, int64_t row)
{
    int owner = 0;
    while (ts_features_first(features, owner + 1) <= row)
        owner++;
    return owner;
}

void ts_features_read(double *out, const TsFeatures *features, int64_t from, int64_t rows)
{
    int64_t begin = from * features->columns, elems = rows * features->columns;
    if (features->dtype == TS_F64)
        memcpy(out, (const double *)features->data + begin, (size_t)elems * sizeof *out);
    else
        for (int64_t i = 0; i < elems; i++)
            out[i] = (double)((const float *)features->data)[begin + i];
}

void ts_features_sum(double *values, int64_t count, const TsFeatures *features)
{
    ts_all_reduce(features->group, (TsTransfer){.out = values,
                                                .in = values,
                                                .count_elems = count,
                                                .dtype = TS_F64,
                                                .algorithm = TS_ALGORITHM_TREE,
                                                .label = "features/sum"});
}

void ts_features_row(double *out, const TsFeatures *features, int64_t row)
{
    if (row >= features->first && row < features->first + features->local)
        ts_features_read(out, features, row - features->first, 1);
    ts_broadcast(
        features->group,
        (TsTransfer){.out = out, .in = out, .count_elems = features->columns, .dtype = TS_F64, .label = "features/row"},
        ts_features_owner(features, row));
}

/* Calls `visit` with blocks of this rank's rows as f64. */
static void for_each_block(const TsFeatures *features, void *visitor,
                           void (*visit)(void *visitor, const double *block, int64_t from, int64_t rows))
{
    double *block = ts_alloc((size_t)(ROWS * features->columns) * sizeof *block + 1);
    for (int64_t from = 0; from < features->local; from += ROWS) {
        int64_t rows = features->local - from < ROWS ? features->local - from : ROWS;
        ts_features_read(block, features, from, rows);
        visit(visitor, block, from, rows);
    }
    ts_free(block);
}

/* ---- columns ---- */

TsStatus ts_features_check_finite(const TsFeatures *features, const char *what)
{
    int64_t mine = INT64_MAX, first = 0, elems = features->local * features->columns;
    for (int64_t i = 0; i < elems && mine == INT64_MAX; i++)
        if (features->dtype == TS_F64 ? !isfinite(((const double *)features->data)[i])
                                      : !isfinite(((const float *)features->data)[i]))
            mine = features->first * features->columns + i;
    ts_all_reduce(features->group, (TsTransfer){.out = &first,
                                                .in = &mine,
                                                .count_elems = 1,
                                                .dtype = TS_I64,
                                                .reduction = TS_MIN,
                                                .label = "features/finite"});
    if (first == INT64_MAX)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "%s: column %lld of example %lld is not a finite number", what,
                           (long long)(first % features->columns), (long long)(first / features->columns));
}

typedef struct Extremes {
    double *most; /* (2, D): the largest, and the largest of what is negated */
    int64_t columns;
} Extremes;

static void add_extremes(void *visitor, const double *block, int64_t from, int64_t rows)
{
    Extremes *extremes = visitor;
    int64_t columns = extremes->columns;
    (void)from;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            double x = block[i * columns + j];
            extremes->most[j] = fmax(extremes->most[j], x);
            extremes->most[columns + j] = fmax(extremes->most[columns + j], -x);
        }
}

int64_t ts_features_drop_constant(TsFeatures *features, int64_t *kept)
{
    int64_t columns = features->columns, left = 0;
    Extremes extremes = {ts_alloc((size_t)(2 * columns) * sizeof(double) + 1), columns};
    for (int64_t j = 0; j < 2 * columns; j++)
        extremes.most[j] = -INFINITY;
    for_each_block(features, &extremes, add_extremes);
    ts_all_reduce(features->group, (TsTransfer){.out = extremes.most,
                                                .in = extremes.most,
                                                .count_elems = 2 * columns,
                                                .dtype = TS_F64,
                                                .reduction = TS_MAX,
                                                .label = "features/extremes"});
    for (int64_t j = 0; j < columns; j++)
        if (extremes.most[j] > -extremes.most[columns + j])
            kept[left++] = j;
    ts_free(extremes.most);
    size_t size = ts_dtype_bytes(features->dtype);
    char *data = features->data;
    for (int64_t i = 0; i < features->local && left < columns; i++)
        for (int64_t j = 0; j < left; j++) /* to the front: never over what is still to be moved */
            memmove(data + size * (size_t)(i * left + j), data + size * (size_t)(i * columns + kept[j]), size);
    features->columns = left;
    return left;
}

void ts_features_mean(double *mean, const TsFeatures *features)
{
    int64_t columns = features->columns;
    memset(mean, 0, (size_t)columns * sizeof *mean);
    for (int64_t i = 0; i < features->local; i++)
        if (features->dtype == TS_F64)
            for (int64_t j = 0; j < columns; j++)
                mean[j] += ((const double *)features->data)[i * columns + j];
        else
            for (int64_t j = 0; j < columns; j++)
                mean[j] += (double)((const float *)features->data)[i * columns + j];
    ts_features_sum(mean, columns, features);
    for (int64_t j = 0; j < columns; j++)
        mean[j] /= (double)features->count;
}

void ts_features_center(TsFeatures *features, const double *mean)
{
    int64_t columns = features->columns;
    for (int64_t i = 0; i < features->local; i++)
        for (int64_t j = 0; j < columns; j++)
            if (features->dtype == TS_F64)
                ((double *)features->data)[i * columns + j] -= mean[j];
            else
                ((float *)features->data)[i * columns + j] =
                    (float)((double)((float *)features->data)[i * columns + j] - mean[j]);
}

/* ---- squares ---- */

/* A panel of a square while it is added up. */
typedef struct Square {
    void *sum; /* (rows, width) in `dtype` */
    TsDtype dtype;
    int64_t columns, first, width; /* D; which columns of the square */
    int threads;
} Square;

/* sum += x[:, first:]^T x[:, first:first+width] of rows that lie at `x`. */
static void add_square(const Square *square, const void *x, int64_t rows, bool begins)
{
    const char *data = x;
    ts_matmul(&(TsMatmul){.c = square->sum,
                          .a = data + ts_dtype_bytes(square->dtype) * (size_t)square->first,
                          .b = data + ts_dtype_bytes(square->dtype) * (size_t)square->first,
                          .m = square->columns - square->first,
                          .n = square->width,
                          .k = rows,
                          .row_a = square->columns,
                          .row_b = square->columns,
                          .row_c = square->width,
                          .transpose_a = true,
                          .dtype = square->dtype,
                          .beta = begins ? 0 : 1,
                          .threads = square->threads});
}

static void add_square_block(void *visitor, const double *block, int64_t from, int64_t rows)
{
    add_square(visitor, block, rows, from == 0);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void sum_panel(const TsFeatures *features, void *values, TsDtype dtype, int64_t elems)
{
    ts_all_reduce(
        features->group,
        (TsTransfer){.out = values, .in = values, .count_elems = elems, .dtype = dtype, .label = "features/square"});
}

void ts_features_gram(TsDistMatrix *gram, const TsFeatures *features)
{
    int64_t columns = features->columns;
    TS_CHECK(gram->rows == columns && gram->columns == columns, "a gram matrix of another size");
    size_t bytes = (size_t)(columns * least(PANEL, columns)) * ts_dtype_bytes(gram->dtype);
    Square square = {
        .dtype = gram->dtype, .columns = columns, .threads = features->threads, .sum = ts_alloc(bytes + 1)};
    for (int64_t first = 0; first < columns; first += PANEL) {
        square.first = first;
        square.width = least(PANEL, columns - first);
        if (features->local == 0)
            memset(square.sum, 0, bytes);
        else if (gram->dtype == features->dtype)
            add_square(&square, features->data, features->local, true);
        else
            for_each_block(features, &square, add_square_block);
        sum_panel(features, square.sum, gram->dtype, (columns - first) * square.width);
        ts_dist_matrix_put(gram, square.sum, (TsPanel){first, first, columns - first, square.width});
    }
    ts_free(square.sum);
}

/* out (local, width) = this rank's rows by those of `panel` (width, D), in f64. */
static void multiply_rows(double *out, const TsFeatures *features, const double *panel, int64_t width, double *block)
{
    for (int64_t from = 0; from < features->local; from += ROWS) {
        int64_t rows = least(ROWS, features->local - from);
        ts_features_read(block, features, from, rows);
        ts_matmul(&(TsMatmul){.c = out + from * width,
                              .a = block,
                              .b = panel,
                              .m = rows,
                              .n = width,
                              .k = features->columns,
                              .transpose_b = true,
                              .dtype = TS_F64,
                              .threads = features->threads});
    }
}

void ts_features_kernel(TsDistMatrix *kernel, const TsFeatures *features)
{
    int64_t n = features->count, columns = features->columns;
    TS_CHECK(kernel->rows == n && kernel->columns == n && kernel->dtype == TS_F64, "a kernel matrix of another kind");
    double *panel = ts_alloc((size_t)(ROWS * columns) * sizeof *panel + 1);
    double *block = ts_alloc((size_t)(ROWS * columns) * sizeof *block + 1);
    double *sum = ts_alloc((size_t)(n * ROWS) * sizeof *sum + 1);
    for (int owner = 0; owner < ts_group_size(features->group); owner++)
        for (int64_t row = ts_features_first(features, owner); row < ts_features_first(features, owner + 1);
             row += ROWS) {
            int64_t width = least(ROWS, ts_features_first(features, owner + 1) - row);
            if (owner == ts_group_rank(features->group))
                ts_features_read(panel, features, row - features->first, width);
            ts_broadcast(features->group,
                         (TsTransfer){.out = panel,
                                      .in = panel,
                                      .count_elems = width * columns,
                                      .dtype = TS_F64,
                                      .label = "features/kernel"},
                         owner);
            memset(sum, 0, (size_t)(n * width) * sizeof *sum);
            multiply_rows(sum + features->first * width, features, panel, width, block);
            sum_panel(features, sum, TS_F64, n * width);
            ts_dist_matrix_put(kernel, sum, (TsPanel){0, row, n, width});
        }
    ts_free(panel);
    ts_free(block);
    ts_free(sum);
}

/* ---- products with what is narrow ---- */

/* Products with up to so many vectors read each row where it lies, once; beyond, in blocks of f64. */
enum { VECTORS = 4 };

#define ROW(type) ((const type *)features->data + i * columns)

/* The product of this rank's row i with w (D). */
static double row_dot(const TsFeatures *features, int64_t i, const double *w)
{
    int64_t columns = features->columns;
    double sum = 0;
    if (features->dtype == TS_F64) {
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < columns; j++)
            sum += ROW(double)[j] * w[j];
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < columns; j++)
            sum += (double)ROW(float)[j] * w[j];
    }
    return sum;
}

/* out (D) += by times this rank's row i. */
static void add_row(double *restrict out, const TsFeatures *features, int64_t i, double by)
{
    int64_t columns = features->columns;
    if (features->dtype == TS_F64)
        for (int64_t j = 0; j < columns; j++)
            out[j] += by * ROW(double)[j];
    else
        for (int64_t j = 0; j < columns; j++)
            out[j] += by * (double)ROW(float)[j];
}

/* (rows, columns) -> (columns, rows) */
static void turn(double *restrict out, const double *restrict in, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            out[j * rows + i] = in[i * columns + j];
}

typedef struct Product {
    const TsFeatures *features;
    double *out;
    const double *by;
    int64_t k;
} Product;

static void times_block(void *visitor, const double *block, int64_t from, int64_t rows)
{
    const Product *product = visitor;
    ts_matmul(&(TsMatmul){.c = product->out + from * product->k,
                          .a = block,
                          .b = product->by,
                          .m = rows,
                          .n = product->k,
                          .k = product->features->columns,
                          .dtype = TS_F64,
                          .threads = product->features->threads});
}

void ts_features_times(double *out, const TsFeatures *features, const double *w, int64_t k)
{
    Product product = {features, out, w, k};
    if (k > VECTORS) {
        for_each_block(features, &product, times_block);
        return;
    }
    double *turned = ts_alloc((size_t)(k * features->columns) * sizeof *turned + 1);
    turn(turned, w, features->columns, k);
    for (int64_t i = 0; i < features->local; i++)
        for (int64_t o = 0; o < k; o++)
            out[i * k + o] = row_dot(features, i, turned + o * features->columns);
    ts_free(turned);
}

static void transposed_block(void *visitor, const double *block, int64_t from, int64_t rows)
{
    const Product *product = visitor;
    ts_matmul(&(TsMatmul){.c = product->out,
                          .a = block,
                          .b = product->by + from * product->k,
                          .m = product->features->columns,
                          .n = product->k,
                          .k = rows,
                          .transpose_a = true,
                          .dtype = TS_F64,
                          .beta = 1,
                          .threads = product->features->threads});
}

void ts_features_transposed_times(double *out, const TsFeatures *features, const double *r, int64_t k)
{
    int64_t elems = features->columns * k;
    Product product = {features, out, r, k};
    memset(out, 0, (size_t)elems * sizeof *out);
    if (k > VECTORS)
        for_each_block(features, &product, transposed_block);
    else {
        double *turned = ts_calloc((size_t)elems + 1, sizeof *turned);
        for (int64_t i = 0; i < features->local; i++)
            for (int64_t o = 0; o < k; o++)
                add_row(turned + o * features->columns, features, i, r[i * k + o]);
        turn(out, turned, k, features->columns);
        ts_free(turned);
    }
    ts_features_sum(out, elems, features);
}
