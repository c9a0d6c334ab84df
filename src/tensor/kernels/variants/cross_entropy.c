/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/variants/row_max.h"
#include "tensor/kernels/variants/stream.h"

enum { EXPONENTIALS, AT_LABEL, ALL, SUMS };

/* Elements gone through at once; those AHEAD elements on are on their way meanwhile. */
enum { STRIP = 256, AHEAD = 2048 };

/* Where the label of row r lies among the classes that are here, or -1. */
static int64_t local_label(const TsCrossEntropyRows *shape, int64_t r)
{
    int64_t local = shape->labels[r] - shape->first;
    return local >= 0 && local < shape->classes ? local : -1;
}

static Real part_of_exponentials(const Stored *x, Real maximum, int64_t count)
{
    Real part = 0;
#pragma omp simd reduction(+ : part)
    for (int64_t c = 0; c < count; c++)
        part += real_exp_below(load(x[c]) - maximum);
    return part;
}

/* Beyond a maximum that is not finite, exp would give NaN: the sum counts nothing then. */
static Real sum_of_exponentials(const Stored *x, Real maximum, int64_t classes)
{
    Real sum = 0;
    if (maximum == -INFINITY || maximum == INFINITY)
        return 0;
    for (int64_t first = 0; first < classes; first += STRIP) {
        fetch(x + first + AHEAD, STRIP);
        sum += part_of_exponentials(x + first, maximum, smaller(STRIP, classes - first));
    }
    return sum;
}

/* The same with the maximum found on the way: the sum so far shrinks where it rises (Milakov and Gimelshein 2018). */
static Real sum_and_maximum(const Stored *x, Real *maximum, int64_t classes)
{
    Real sum = 0, largest = -INFINITY;
    for (int64_t first = 0; first < classes; first += STRIP) {
        int64_t count = smaller(STRIP, classes - first);
        fetch(x + first + AHEAD, STRIP);
        Real top = row_max(x + first, count);
        if (top > largest || top != top) {
            sum *= real_exp_below(largest - top);
            largest = top;
        }
        if (largest == INFINITY)
            sum = 0;
        else if (largest != -INFINITY)
            sum += part_of_exponentials(x + first, largest, count);
    }
    *maximum = largest;
    return sum;
}

static Real sum_of_all(const Stored *x, int64_t classes)
{
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < classes; c++)
        sum += load(x[c]);
    return sum;
}

/* What a row has besides its exponentials. */
static void sum_rest(Real *sum, const Stored *x, const TsCrossEntropyRows *shape, int64_t r)
{
    int64_t label = local_label(shape, r);
    bool counts = shape->labels[r] != shape->ignore;
    sum[AT_LABEL] = counts && label >= 0 ? load(x[label]) : 0;
    sum[ALL] = counts && shape->smoothing != 0 ? sum_of_all(x, shape->classes) : 0;
}

static void sums(void *out, const void *logits, const void *maxima, const TsCrossEntropyRows *shape, int threads)
{
    threads = threads_worth(threads, shape->rows * shape->classes);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < shape->rows; r++) {
        const Stored *x = (const Stored *)logits + r * shape->classes;
        Real *sum = (Real *)out + r * SUMS;
        bool counts = shape->labels[r] != shape->ignore;
        sum[EXPONENTIALS] = counts ? sum_of_exponentials(x, load(((const Stored *)maxima)[r]), shape->classes) : 0;
        sum_rest(sum, x, shape, r);
    }
}

static void whole_rows(void *out, void *maxima, const void *logits, const TsCrossEntropyRows *shape, int threads)
{
    threads = threads_worth(threads, shape->rows * shape->classes);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < shape->rows; r++) {
        const Stored *x = (const Stored *)logits + r * shape->classes;
        Real *sum = (Real *)out + r * SUMS, maximum = 0;
        bool counts = shape->labels[r] != shape->ignore;
        sum[EXPONENTIALS] = counts ? sum_and_maximum(x, &maximum, shape->classes) : 0;
        ((Stored *)maxima)[r] = store(maximum);
        sum_rest(sum, x, shape, r);
    }
}

static Real normalizer_of(Real maximum, const Real *sum)
{
    return maximum == -INFINITY || maximum == INFINITY ? maximum : maximum + real_log(sum[EXPONENTIALS]);
}

static void loss(void *out, const void *all_sums, const void *maxima, const TsCrossEntropyRows *shape)
{
    Real smoothing = (Real)shape->smoothing;
    for (int64_t r = 0; r < shape->rows; r++) {
        const Real *sum = (const Real *)all_sums + r * SUMS;
        Real normalizer = normalizer_of(load(((const Stored *)maxima)[r]), sum);
        Real value = normalizer - (1 - smoothing) * sum[AT_LABEL] + (Real)shape->z_loss * normalizer * normalizer;
        if (smoothing != 0)
            value -= smoothing * sum[ALL] / (Real)shape->whole_classes;
        ((Real *)out)[r] = shape->labels[r] == shape->ignore ? 0 : value;
    }
}

static void d_sums(void *out, const void *all_sums, const void *maxima, const void *d_loss,
                   const TsCrossEntropyRows *shape)
{
    Real smoothing = (Real)shape->smoothing;
    for (int64_t r = 0; r < shape->rows; r++) {
        const Real *sum = (const Real *)all_sums + r * SUMS;
        Real *d = (Real *)out + r * SUMS, factor = ((const Real *)d_loss)[r];
        if (shape->labels[r] == shape->ignore) {
            d[EXPONENTIALS] = d[AT_LABEL] = d[ALL] = 0;
            continue;
        }
        Real normalizer = normalizer_of(load(((const Stored *)maxima)[r]), sum);
        d[EXPONENTIALS] = factor * (1 + 2 * (Real)shape->z_loss * normalizer) / sum[EXPONENTIALS];
        d[AT_LABEL] = -factor * (1 - smoothing);
        d[ALL] = -factor * smoothing / (Real)shape->whole_classes;
    }
}

static void backward_row(Stored *d_x, const Stored *x, Real maximum, const Real *d, int64_t label, int64_t classes)
{
    Real factor = d[EXPONENTIALS], even = d[ALL];
    Real at_label = label < 0 ? 0 : factor * real_exp_below(load(x[label]) - maximum) + even + d[AT_LABEL];
    for (int64_t first = 0; first < classes; first += STRIP) {
        int64_t last = smaller(first + STRIP, classes);
        fetch(x + first + AHEAD, STRIP);
#pragma omp simd
        for (int64_t c = first; c < last; c++)
            d_x[c] = store(factor * real_exp_below(load(x[c]) - maximum) + even);
    }
    if (label >= 0)
        d_x[label] = store(at_label);
}

static void backward(void *d_logits, const void *logits, const void *maxima, const void *all_d_sums,
                     const TsCrossEntropyRows *shape, int threads)
{
    threads = threads_worth(threads, shape->rows * shape->classes);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < shape->rows; r++) {
        Stored *d_x = (Stored *)d_logits + r * shape->classes;
        if (shape->labels[r] == shape->ignore)
            memset(d_x, 0, (size_t)shape->classes * sizeof *d_x);
        else
            backward_row(d_x, (const Stored *)logits + r * shape->classes, load(((const Stored *)maxima)[r]),
                         (const Real *)all_d_sums + r * SUMS, local_label(shape, r), shape->classes);
    }
}

const TsCrossEntropyKernels TS_TABLE(ts_cross_entropy_kernels) = {
    .sums = sums, .rows = whole_rows, .loss = loss, .d_sums = d_sums, .backward = backward};
