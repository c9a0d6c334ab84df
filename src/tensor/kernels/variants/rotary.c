/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include <omp.h>

#include "tensor/kernels/rotary.h"

static void turn_row(Stored *out, const Stored *x, const Real *cosine, const Real *sine, const TsRotaryShape *shape)
{
    int64_t pairs = shape->turned / 2, step = shape->interleaved ? 2 : 1, apart = shape->interleaved ? 1 : pairs;
    for (int64_t p = 0; p < pairs; p++) {
        Real a = load(x[p * step]), b = load(x[p * step + apart]);
        out[p * step] = store(a * cosine[p] - b * sine[p]);
        out[p * step + apart] = store(a * sine[p] + b * cosine[p]);
    }
    for (int64_t d = shape->turned; d < shape->width; d++)
        out[d] = x[d];
}

/* Angles are taken in f64: at position 10^5 an f32 has lost four decimals of one. */
static void turn(void *out, const void *x, const TsRotaryShape *shape, void *scratch, int threads)
{
    int64_t pairs = shape->turned / 2, row = shape->heads * shape->width;
    threads = threads_worth(threads, 4 * shape->batch * shape->length * row);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t t = 0; t < shape->length; t++) {
        Real *cosine = (Real *)scratch + (threads > 1 ? omp_get_thread_num() : 0) * 2 * pairs, *sine = cosine + pairs;
        for (int64_t p = 0; p < pairs; p++) {
            double angle = (double)(shape->first + t) * ts_rotary_frequency(shape, p);
            cosine[p] = (Real)cos(angle);
            sine[p] = (Real)(shape->backwards ? -sin(angle) : sin(angle));
        }
        for (int64_t b = 0; b < shape->batch; b++)
            for (int64_t h = 0; h < shape->heads; h++) {
                int64_t at = (b * shape->length + t) * row + h * shape->width;
                turn_row((Stored *)out + at, (const Stored *)x + at, cosine, sine, shape);
            }
    }
}

const TsRotaryKernels TS_TABLE(ts_rotary_kernels) = {.turn = turn};
