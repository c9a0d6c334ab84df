/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/normalize.h"
#include "tensor/kernels/variants/stream.h"

/* Rows up to this wide may be streamed. */
enum { STAGED = 4096 };

typedef struct Moments {
    Real mean, inverse; /* 1 / sqrt(variance + epsilon) */
} Moments;

/* Two sums at once, of the halves of a row: additions need not wait for one another. Asks for the row after it on the
 * way: all at once, the requests would be in the way of the loads. */
static Moments moments_of(const Stored *x, TsNormalizeRows shape)
{
    Real mean = 0, squares = 0, mean_2 = 0, squares_2 = 0;
    int64_t half = shape.columns / 2;
    const Stored *y = x + half;
    fetch(x + shape.columns, half);
    if (!shape.rms) {
#pragma omp simd reduction(+ : mean, mean_2)
        for (int64_t c = 0; c < half; c++) {
            mean += load(x[c]);
            mean_2 += load(y[c]);
        }
        mean = (mean + mean_2 + (shape.columns % 2 ? load(y[half]) : 0)) / (Real)shape.columns;
    }
    fetch(y + shape.columns, half);
#pragma omp simd reduction(+ : squares, squares_2)
    for (int64_t c = 0; c < half; c++) {
        Real centred = load(x[c]) - mean, centred_2 = load(y[c]) - mean;
        squares += centred * centred;
        squares_2 += centred_2 * centred_2;
    }
    Real last = shape.columns % 2 ? load(y[half]) - mean : 0;
    Real variance = (squares + squares_2 + last * last) / (Real)shape.columns + (Real)shape.epsilon;
    return (Moments){mean, (Real)(1 / sqrt((double)variance))};
}

static void forward_row(Stored *out, const Stored *x, const Real *scale, const Real *bias, TsNormalizeRows shape)
{
    Moments moments = moments_of(x, shape);
    Real mean = moments.mean, inverse = moments.inverse;
    if (scale && bias) {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            out[c] = store((load(x[c]) - mean) * inverse * scale[c] + bias[c]);
    } else if (scale) {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            out[c] = store((load(x[c]) - mean) * inverse * scale[c]);
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
    bool streamed = out != x && shape.columns <= STAGED && worth_streaming(2 * shape.rows * shape.columns);
    threads = threads_worth(threads, shape.rows * shape.columns);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < shape.rows; r++) {
            _Alignas(64) Stored staged[STAGED];
            Stored *to = (Stored *)out + r * shape.columns;
            const Stored *row = (const Stored *)x + r * shape.columns;
            forward_row(streamed ? staged : to, row, scale, bias, shape);
            if (streamed)
                stream(to, staged, shape.columns);
        }
        stream_end();
    }
}

/* With g = d_out * scale: their means over a row, of g (0 for RMS norm) and of g x-hat. */
typedef struct Means {
    Real g, product;
} Means;

static Means means_of(const Stored *x, const Real *scale, const Stored *d_out, TsNormalizeRows shape, Moments moments)
{
    Real mean = moments.mean, inverse = moments.inverse, sum = 0, product = 0;
    const Real one = 1;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t c = 0; c < shape.columns; c++) {
        Real g = load(d_out[c]) * (scale ? scale[c] : one);
        sum += g;
        product += g * ((load(x[c]) - mean) * inverse);
    }
    return (Means){shape.rms ? 0 : sum / (Real)shape.columns, product / (Real)shape.columns};
}

/* The same, and adds the row to the sums for scale and bias. */
static Means means_and_sums_of(Real *d_scale, Real *d_bias, const Stored *x, const Real *scale, const Stored *d_out,
                               TsNormalizeRows shape, Moments moments)
{
    Real mean = moments.mean, inverse = moments.inverse, sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t c = 0; c < shape.columns; c++) {
        Real d = load(d_out[c]), g = d * scale[c], hat = (load(x[c]) - mean) * inverse;
        d_scale[c] += d * hat;
        d_bias[c] += d;
        sum += g;
        product += g * hat;
    }
    return (Means){shape.rms ? 0 : sum / (Real)shape.columns, product / (Real)shape.columns};
}

/* d_x = inverse * (g - mean(g) - x-hat * mean(g x-hat)). */
static void backward_row(Stored *d_x, const Stored *x, const Real *scale, const Stored *d_out, TsNormalizeRows shape,
                         Moments moments, Means means)
{
    Real inverse = moments.inverse, by_x = -inverse * inverse * means.product;
    Real shift = -inverse * means.g - by_x * moments.mean;
    if (scale) {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            d_x[c] = store(inverse * load(d_out[c]) * scale[c] + (by_x * load(x[c]) + shift));
    } else {
#pragma omp simd
        for (int64_t c = 0; c < shape.columns; c++)
            d_x[c] = store(inverse * load(d_out[c]) + (by_x * load(x[c]) + shift));
    }
}

static void backward_one(void *d_x, void *sums, const void *x, const void *scale, const void *d_out,
                         TsNormalizeRows shape)
{
    int64_t columns = shape.columns;
    const Stored *next = (const Stored *)d_out + columns;
    Moments moments = moments_of(x, shape);
    fetch(next, columns / 2);
    Means means = sums ? means_and_sums_of(sums, (Real *)sums + columns, x, scale, d_out, shape, moments)
                       : means_of(x, scale, d_out, shape, moments);
    fetch(next + columns / 2, columns / 2);
    backward_row(d_x, x, scale, d_out, shape, moments, means);
}

static void combine_segments(Real *out, const Real *sums, int64_t segments, int64_t step, int64_t columns)
{
    for (int64_t c = 0; c < columns; c++) {
        Real total = 0;
        for (int64_t s = 0; s < segments; s++)
            total += sums[s * step + c];
        out[c] = total;
    }
}

static void backward(void *d_x, void *d_scale, void *d_bias, const void *x, const void *scale, const void *d_out,
                     TsNormalizeRows shape, void *scratch, int threads)
{
    int64_t columns = shape.columns, segments = ts_normalize_segments(shape.rows);
    bool streamed = d_x != x && d_x != d_out && columns <= STAGED && worth_streaming(3 * shape.rows * columns);
    threads = threads_worth(threads, shape.rows * columns);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int64_t s = 0; s < segments; s++) {
            _Alignas(64) Stored staged[STAGED];
            Real *sums = d_scale ? (Real *)scratch + s * 2 * columns : NULL;
            for (int64_t c = 0; sums && c < 2 * columns; c++)
                sums[c] = 0;
            for (int64_t r = shape.rows * s / segments; r < shape.rows * (s + 1) / segments; r++) {
                int64_t at = r * columns;
                Stored *to = (Stored *)d_x + at;
                backward_one(streamed ? staged : to, sums, (const Stored *)x + at, scale, (const Stored *)d_out + at,
                             shape);
                if (streamed)
                    stream(to, staged, columns);
            }
        }
        stream_end();
    }
    if (d_scale) {
        combine_segments(d_scale, scratch, segments, 2 * columns, columns);
        combine_segments(d_bias, (const Real *)scratch + columns, segments, 2 * columns, columns);
    }
}

const TsNormalizeKernels TS_TABLE(ts_normalize_kernels) = {
    .forward = forward, .backward = backward, .forward_row = forward_one, .backward_row = backward_one};
