/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/gram.h"

/* What of each vector is in a near cache while all pairs are taken; and the shortest segment that is worth a thread. */
enum { PIECE = 2048, SEGMENT_ELEMS = 8 * PIECE };

static double dot(const Stored *x, const Stored *y, int64_t count)
{
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += load(x[i]) * load(y[i]);
    return (double)sum;
}

/* sum (vectors, vectors), its lower half, = the products over elements [first, last). */
static void segment(double *sum, const void *const *x, int vectors, int64_t first, int64_t last)
{
    memset(sum, 0, (size_t)vectors * (size_t)vectors * sizeof *sum);
    for (int64_t at = first; at < last; at += PIECE)
        for (int i = 0; i < vectors; i++)
            for (int j = 0; j <= i; j++)
                sum[i * vectors + j] +=
                    dot((const Stored *)x[i] + at, (const Stored *)x[j] + at, smaller(PIECE, last - at));
}

static void gram(double *out, const void *const *x, int vectors, int64_t count, double *room, int threads)
{
    int64_t segments = smaller(TS_GRAM_SEGMENTS, (count + SEGMENT_ELEMS - 1) / SEGMENT_ELEMS);
    int64_t step = segments ? ((count + segments - 1) / segments + PIECE - 1) / PIECE * PIECE : 0;
    int64_t size = (int64_t)vectors * vectors;
    threads = threads_worth(threads, count * vectors);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t s = 0; s < segments; s++)
        segment(room + s * size, x, vectors, smaller(count, s * step), smaller(count, (s + 1) * step));
    for (int64_t s = 0; s < segments; s++)
        for (int i = 0; i < vectors; i++)
            for (int j = 0; j < vectors; j++)
                out[i * vectors + j] += room[s * size + (i > j ? i * vectors + j : j * vectors + i)];
}

static void combine_piece(Stored *out, const double *coefficient, const void *const *x, int vectors, int64_t at,
                          int64_t count)
{
    Real sum[PIECE] = {0};
    for (int k = 0; k < vectors; k++) {
        Real factor = (Real)coefficient[k];
        const Stored *from = (const Stored *)x[k] + at;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            sum[i] += factor * load(from[i]);
    }
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        out[at + i] = store(sum[i]);
}

static void combine(void *out, const double *coefficient, const void *const *x, int vectors, int64_t count, int threads)
{
    int64_t pieces = (count + PIECE - 1) / PIECE;
    threads = threads_worth(threads, count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t piece = 0; piece < pieces; piece++)
        combine_piece(out, coefficient, x, vectors, piece * PIECE, smaller(PIECE, count - piece * PIECE));
}

const TsGramKernels TS_TABLE(ts_gram_kernels) = {.gram = gram, .combine = combine};
