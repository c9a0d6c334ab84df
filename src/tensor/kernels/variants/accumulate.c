/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/accumulate.h"

enum { GRAIN = 4096 }; /* what stays in the nearest cache while parts are added one after another */

static void add_piece(Stored *to, const Stored *a, const Stored *b, int64_t count, bool sums)
{
    if (sums) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = store(load(a[i]) + load(b[i]));
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        Real x = load(a[i]), y = load(b[i]);
        to[i] = store(x > y || x != x ? x : y);
    }
}

static void add(void *to, const void *const *part, int parts, const void *in, int64_t count, bool sums, int threads)
{
    int64_t grains = (count + GRAIN - 1) / GRAIN;
    threads = threads_worth(threads, count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t grain = 0; grain < grains; grain++) {
        Stored sum[GRAIN];
        int64_t at = grain * GRAIN, length = smaller(GRAIN, count - at);
        const Stored *from = (const Stored *)in + at;
        if (!parts)
            memcpy((Stored *)to + at, from, (size_t)length * sizeof(Stored));
        for (int p = 0; p < parts; p++) {
            Stored *into = p + 1 < parts ? sum : (Stored *)to + at;
            add_piece(into, (const Stored *)part[p] + at, from, length, sums);
            from = sum;
        }
    }
}

const TsAccumulateKernels TS_TABLE(ts_accumulate_kernels) = {.add = add};
