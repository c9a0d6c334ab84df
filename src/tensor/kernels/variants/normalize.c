/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/normalize.h"

typedef struct Moments {
    Real mean, inverse; /* 1 / sqrt(variance + epsilon) */
} Moments;

static Moments moments_of(const Stored *x, TsNormalizeRows shape)
{
    Real mean = 0, squares = 0;
    if (!shape.rms) {
#pragma omp simd reduction(+ : mean)
        for (int64_t c = 0; c < shape.columns; c++)
            mean += load(x[c]);
        mean /= (Real)shape.columns;
    }
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < shape.columns; c++) {
        Real centred = load(x[c]) - mean;
        squares += centred * centred;
    }
    Real variance = squares / (Real)shape.columns + (Real)shape.epsilon;
    return (Moments){mean, (Real)(1 / sqrt((double)variance))};
}

static void forward_row(Stored *out, const Stored *x, const Stored *scale, const Stored *bias, TsNormalizeRows shape)
{
    Moments moments = moments_of(x, shape);
    Real mean = moments.mean, inverse = moments.inverse;
    if (scale && bias) {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            out[c] = store((load(x[c]) - mean) * inverse * load(scale[c]) + load(bias[c]));
    } else if (scale) {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            out[c] = store((load(x[c]) - mean) * inverse * load(scale[c]));
    } else {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            out[c] = store((load(x[c]) - mean) * inverse);
    }
}

static void forward_one(void *out, const void *x, const void *scale, const void *bias, TsNormalizeRows shape)
{
    forward_row(out, x, scale, bias, shape);
}

static void forward(void *out, const void *x, const void *scale, const void *bias, TsNormalizeRows shape, int threads)
{
    threads = threads_worth(threads, shape.rows * shape.columns);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < shape.rows; r++)
        forward_row((Stored *)out + r * shape.columns, (const Stored *)x + r * shape.columns, scale, bias, shape);
}

/* d_x = inverse * (g - mean(g) - x-hat * mean(g x-hat)) with g = d_out * scale; without mean(g) for RMS norm. */
static void backward_row(Stored *d_x, const Stored *x, const Stored *scale, const Stored *d_out, TsNormalizeRows shape,
                         Moments moments)
{
    Real mean = moments.mean, inverse = moments.inverse, sum = 0, product = 0;
    const Real one = 1;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t c = 0; c < shape.columns; c++) {
        Real g = load(d_out[c]) * (scale ? load(scale[c]) : one);
        sum += g;
        product += g * (load(x[c]) - mean) * inverse;
    }
    sum = shape.rms ? 0 : sum / (Real)shape.columns;
    product /= (Real)shape.columns;
#pragma omp simd
    for (int64_t c = 0; c < shape.columns; c++) {
        Real g = load(d_out[c]) * (scale ? load(scale[c]) : one);
        d_x[c] = store(inverse * (g - sum - (load(x[c]) - mean) * inverse * product));
    }
}

static void add_row(Real *d_scale, Real *d_bias, const Stored *x, const Stored *d_out, int64_t columns, Moments moments)
{
    Real mean = moments.mean, inverse = moments.inverse;
#pragma omp simd
    for (int64_t c = 0; c < columns; c++) {
        Real d = load(d_out[c]);
        d_scale[c] += d * (load(x[c]) - mean) * inverse;
        d_bias[c] += d;
    }
}

static void backward_one(void *d_x, void *sums, const void *x, const void *scale, const void *d_out,
                         TsNormalizeRows shape)
{
    Moments moments = moments_of(x, shape);
    if (sums)
        add_row(sums, (Real *)sums + shape.columns, x, d_out, shape.columns, moments);
    backward_row(d_x, x, scale, d_out, shape, moments);
}

static void combine_segments(Stored *out, const Real *sums, int64_t segments, int64_t step, int64_t columns)
{
    for (int64_t c = 0; c < columns; c++) {
        Real total = 0;
        for (int64_t s = 0; s < segments; s++)
            total += sums[s * step + c];
        out[c] = store(total);
    }
}

static void backward(void *d_x, void *d_scale, void *d_bias, const void *x, const void *scale, const void *d_out,
                     TsNormalizeRows shape, void *scratch, int threads)
{
    int64_t columns = shape.columns, segments = ts_normalize_segments(shape.rows);
    threads = threads_worth(threads, shape.rows * columns);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t s = 0; s < segments; s++) {
        Real *sums = d_scale ? (Real *)scratch + s * 2 * columns : NULL;
        for (int64_t c = 0; sums && c < 2 * columns; c++)
            sums[c] = 0;
        for (int64_t r = shape.rows * s / segments; r < shape.rows * (s + 1) / segments; r++) {
            int64_t at = r * columns;
            backward_one((Stored *)d_x + at, sums, (const Stored *)x + at, scale, (const Stored *)d_out + at, shape);
        }
    }
    if (d_scale) {
        combine_segments(d_scale, scratch, segments, 2 * columns, columns);
        combine_segments(d_bias, (const Real *)scratch + columns, segments, 2 * columns, columns);
    }
}

const TsNormalizeKernels TS_TABLE(ts_normalize_kernels) = {
    .forward = forward, .backward = backward, .forward_row = forward_one, .backward_row = backward_one};
