/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/cross_entropy.h"

static Real log_sum_exp(const Stored *x, int64_t classes)
{
    Real largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t c = 0; c < classes; c++) {
        Real value = load(x[c]);
        largest = value > largest ? value : largest;
    }
    if (largest == -INFINITY || largest == INFINITY)
        return largest; /* exp would give NaN */
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < classes; c++)
        sum += real_exp(load(x[c]) - largest);
    return largest + real_log(sum);
}

static Real loss_of(const Stored *x, int32_t label, const TsCrossEntropyRows *shape)
{
    Real normalizer = log_sum_exp(x, shape->classes), smoothing = (Real)shape->smoothing;
    Real loss = normalizer - (1 - smoothing) * load(x[label]);
    if (smoothing != 0) {
        Real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < shape->classes; c++)
            sum += load(x[c]);
        loss -= smoothing * sum / (Real)shape->classes;
    }
    return loss + (Real)shape->z_loss * normalizer * normalizer;
}

static void forward(void *loss, const void *logits, const TsCrossEntropyRows *shape, int threads)
{
    threads = threads_worth(threads, shape->rows * shape->classes);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < shape->rows; r++) {
        int32_t label = shape->labels[r];
        const Stored *x = (const Stored *)logits + r * shape->classes;
        ((Real *)loss)[r] = label == shape->ignore ? 0 : loss_of(x, label, shape);
    }
}

/* d x = d_loss * (softmax (1 + 2 z_loss logsumexp) - smoothing / classes - (1 - smoothing) [label]). */
static void backward_row(Stored *d_x, const Stored *x, int32_t label, Real d_loss, const TsCrossEntropyRows *shape)
{
    if (label == shape->ignore) {
        memset(d_x, 0, (size_t)shape->classes * sizeof *d_x);
        return;
    }
    Real normalizer = log_sum_exp(x, shape->classes), smoothing = (Real)shape->smoothing;
    Real factor = d_loss * (1 + 2 * (Real)shape->z_loss * normalizer);
    Real even = d_loss * smoothing / (Real)shape->classes;
    Real at_label = factor * real_exp(load(x[label]) - normalizer) - even - d_loss * (1 - smoothing);
#pragma omp simd
    for (int64_t c = 0; c < shape->classes; c++)
        d_x[c] = store(factor * real_exp(load(x[c]) - normalizer) - even);
    d_x[label] = store(at_label);
}

static void backward(void *d_logits, const void *logits, const void *d_loss, const TsCrossEntropyRows *shape,
                     int threads)
{
    threads = threads_worth(threads, shape->rows * shape->classes);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < shape->rows; r++)
        backward_row((Stored *)d_logits + r * shape->classes, (const Stored *)logits + r * shape->classes,
                     shape->labels[r], ((const Real *)d_loss)[r], shape);
}

const TsCrossEntropyKernels TS_TABLE(ts_cross_entropy_kernels) = {.forward = forward, .backward = backward};
