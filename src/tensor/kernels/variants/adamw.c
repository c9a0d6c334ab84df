/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/adamw.h"

enum { GRAIN = 8192 };

/* What is the same for all elements. */
typedef struct Constants {
    Real keep_mean, keep_variance, epsilon;
    Real factor;
    Real rate;   /* rate / (1 - beta1^step) */
    Real root;   /* 1 / sqrt(1 - beta2^step) */
    Real shrink; /* 1 - rate * decay */
} Constants;

static void piece(Stored *parameter_out, Stored *mean_out, Stored *variance_out, const Stored *parameter,
                  const Stored *mean, const Stored *variance, const Stored *gradient, int64_t count, Constants k)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        Real g = load(gradient[i]) * k.factor;
        Real m = load(mean[i]) * k.keep_mean + g * (1 - k.keep_mean);
        Real v = load(variance[i]) * k.keep_variance + g * g * (1 - k.keep_variance);
        Real p = load(parameter[i]) * k.shrink - k.rate * m / (real_sqrt(v) * k.root + k.epsilon);
        mean_out[i] = store(m);
        variance_out[i] = store(v);
        parameter_out[i] = store(p);
    }
}

static void copy(void *out, const void *in, int64_t count)
{
    if (out != in && count)
        memcpy(out, in, (size_t)count * sizeof(Stored));
}

static void step(void *parameter_out, void *mean_out, void *variance_out, const void *parameter, const void *mean,
                 const void *variance, const void *gradient, int64_t count, TsAdamwStep options, int threads)
{
    if (options.factor == 0) {
        copy(parameter_out, parameter, count);
        copy(mean_out, mean, count);
        copy(variance_out, variance, count);
        return;
    }
    Constants k = {
        .keep_mean = (Real)options.beta1,
        .keep_variance = (Real)options.beta2,
        .epsilon = (Real)options.epsilon,
        .factor = (Real)options.factor,
        .rate = (Real)(options.rate / (1 - pow(options.beta1, (double)options.step))),
        .root = (Real)(1 / sqrt(1 - pow(options.beta2, (double)options.step))),
        .shrink = (Real)(1 - options.rate * options.decay),
    };
    int64_t grains = (count + GRAIN - 1) / GRAIN;
    threads = threads_worth(threads, count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t grain = 0; grain < grains; grain++) {
        int64_t at = grain * GRAIN;
        piece((Stored *)parameter_out + at, (Stored *)mean_out + at, (Stored *)variance_out + at,
              (const Stored *)parameter + at, (const Stored *)mean + at, (const Stored *)variance + at,
              (const Stored *)gradient + at, smaller(GRAIN, count - at), k);
    }
}

const TsAdamwKernels TS_TABLE(ts_adamw_kernels) = {.step = step};
