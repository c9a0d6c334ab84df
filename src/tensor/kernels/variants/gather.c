/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/gather.h"

/* Threads share out the outer dim, so that every element is summed by one of them, in order. */
static void scatter_add(void *out, const void *x, const void *source, TsTakeIds ids, TsGatherShape shape, int threads)
{
    int64_t block = shape.middle * shape.inner, adds = shape.count * shape.inner;
    threads = threads_worth(threads, shape.outer * (block + adds));
    threads = (int)smaller(threads, shape.outer ? shape.outer : 1);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t o = 0; o < shape.outer; o++) {
        Stored *to = (Stored *)out + o * block;
        const Stored *from = (const Stored *)source + o * adds;
        if (out != x && block)
            memcpy(to, (const Stored *)x + o * block, (size_t)block * sizeof(Stored));
        for (int64_t n = 0; n < shape.count; n++)
            for (int64_t i = 0; i < shape.inner; i++) {
                int64_t at = n * shape.inner + i, place = ts_take_id(ids, o * adds + at) * shape.inner + i;
                to[place] = store(load(to[place]) + load(from[at]));
            }
    }
}

const TsGatherKernels TS_TABLE(ts_gather_kernels) = {.scatter_add = scatter_add};
