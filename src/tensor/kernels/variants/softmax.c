/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/softmax.h"

static Real largest_of(const Stored *x, int64_t columns)
{
    Real top = -INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t c = 0; c < columns; c++)
        top = load(x[c]) > top ? load(x[c]) : top;
    return top;
}

/* The sum of exp(x - top); 0 where all are -infinity. A NaN comes through. */
static Real sum_above(const Stored *x, int64_t columns, Real top)
{
    Real sum = 0;
    if (top == -INFINITY)
        top = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < columns; c++)
        sum += load(x[c]) == -INFINITY ? 0 : real_exp_below(load(x[c]) - top);
    return sum;
}

static void softmax_row(Stored *out, const Stored *x, int64_t columns)
{
    Real top = largest_of(x, columns), sum = sum_above(x, columns, top), inverse = sum == 0 ? 0 : 1 / sum;
    if (top == -INFINITY)
        top = 0;
#pragma omp simd
    for (int64_t c = 0; c < columns; c++) {
        Real value = load(x[c]);
        out[c] = store(value == -INFINITY ? 0 : real_exp_below(value - top) * inverse);
    }
}

static Real logsumexp_row(const Stored *x, int64_t columns)
{
    Real top = largest_of(x, columns), sum = sum_above(x, columns, top);
    return sum == 0 ? -INFINITY : (top == -INFINITY ? 0 : top) + real_log(sum);
}

static void log_softmax_row(Stored *out, const Stored *x, int64_t columns)
{
    Real normalizer = logsumexp_row(x, columns);
#pragma omp simd
    for (int64_t c = 0; c < columns; c++) {
        Real value = load(x[c]);
        out[c] = store(value == -INFINITY ? value : value - normalizer);
    }
}

/* y (d - sum(d y)) */
static void d_softmax_row(Stored *d_x, const Stored *y, const Stored *d_y, int64_t columns)
{
    Real mean = 0;
#pragma omp simd reduction(+ : mean)
    for (int64_t c = 0; c < columns; c++)
        mean += load(d_y[c]) * load(y[c]);
#pragma omp simd
    for (int64_t c = 0; c < columns; c++)
        d_x[c] = store(load(y[c]) * (load(d_y[c]) - mean));
}

/* d - exp(y) sum(d) */
static void d_log_softmax_row(Stored *d_x, const Stored *y, const Stored *d_y, int64_t columns)
{
    Real total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t c = 0; c < columns; c++)
        total += load(d_y[c]);
#pragma omp simd
    for (int64_t c = 0; c < columns; c++)
        d_x[c] = store(load(d_y[c]) - real_exp_below(load(y[c])) * total);
}

#define ROWS_LOOP(work)                                                                                                \
    threads = threads_worth(threads, 4 * rows * columns);                                                              \
    _Pragma("omp parallel for num_threads(threads) if (threads > 1) schedule(static)") for (int64_t r = 0; r < rows;   \
                                                                                            r++) work;

static void softmax(void *out, const void *x, int64_t rows, int64_t columns, int threads)
{
    ROWS_LOOP(softmax_row((Stored *)out + r * columns, (const Stored *)x + r * columns, columns))
}

static void log_softmax(void *out, const void *x, int64_t rows, int64_t columns, int threads)
{
    ROWS_LOOP(log_softmax_row((Stored *)out + r * columns, (const Stored *)x + r * columns, columns))
}

static void logsumexp(void *out, const void *x, int64_t rows, int64_t columns, int threads)
{
    ROWS_LOOP(((Stored *)out)[r] = store(logsumexp_row((const Stored *)x + r * columns, columns)))
}

static void d_softmax(void *d_x, const void *y, const void *d_y, int64_t rows, int64_t columns, int threads)
{
    ROWS_LOOP(d_softmax_row((Stored *)d_x + r * columns, (const Stored *)y + r * columns,
                            (const Stored *)d_y + r * columns, columns))
}

static void d_log_softmax(void *d_x, const void *y, const void *d_y, int64_t rows, int64_t columns, int threads)
{
    ROWS_LOOP(d_log_softmax_row((Stored *)d_x + r * columns, (const Stored *)y + r * columns,
                                (const Stored *)d_y + r * columns, columns))
}

const TsSoftmaxKernels TS_TABLE(ts_softmax_kernels) = {
    .softmax = softmax,
    .log_softmax = log_softmax,
    .logsumexp = logsumexp,
    .d_softmax = d_softmax,
    .d_log_softmax = d_log_softmax,
};
