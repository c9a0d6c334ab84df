/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/take.h"

/* What columns `begin` to `end` of a row begin with. */
static void begin_row(Real *to, const Stored *from, int64_t begin, int64_t end)
{
    if (!from)
        memset(to + begin, 0, (size_t)(end - begin) * sizeof(Real));
    else if ((const void *)to != (const void *)from)
        for (int64_t c = begin; c < end; c++)
            to[c] = load(from[c]);
}

/* Threads share the columns out, so that every element is summed by one of them, in order. */
static void backward(void *d_table, const void *sum, const void *d_out, TsTakeIds ids, int64_t first, int64_t rows,
                     int64_t columns, void *scratch, int threads)
{
    enum { STRIP = 16 };
    Real *sums = sizeof(Real) == sizeof(Stored) ? d_table : scratch;
    int64_t strips = (columns + STRIP - 1) / STRIP;
    threads = threads_worth(threads, (ids.count + rows) * columns);
    threads = (int)smaller(threads, strips ? strips : 1);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int piece = 0; piece < threads; piece++) {
        int64_t begin = strips * piece / threads * STRIP,
                end = smaller(columns, strips * (piece + 1) / threads * STRIP);
        for (int64_t r = 0; r < rows; r++)
            if (end > begin)
                begin_row(sums + r * columns, sum ? (const Stored *)sum + r * columns : NULL, begin, end);
        for (int64_t i = 0; i < ids.count; i++) {
            int64_t row = ts_take_id(ids, i) - first;
            if (row < 0 || row >= rows)
                continue;
            Real *to = sums + row * columns;
            const Stored *from = (const Stored *)d_out + i * columns;
#pragma omp simd
            for (int64_t c = begin; c < end; c++)
                to[c] += load(from[c]);
        }
        for (int64_t r = 0; sizeof(Real) != sizeof(Stored) && r < rows; r++)
            for (int64_t c = begin; c < end; c++)
                ((Stored *)d_table)[r * columns + c] = store(sums[r * columns + c]);
    }
}

const TsTakeKernels TS_TABLE(ts_take_kernels) = {.backward = backward};
