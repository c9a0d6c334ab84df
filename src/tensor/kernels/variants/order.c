/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/order.h"

/* Whether element a of row x comes before element b. A total order, so that equals stay as they stand. */
static bool before(const Stored *x, int32_t a, int32_t b, bool rising)
{
    Real value_a = load(x[a]), value_b = load(x[b]);
    bool nan_a = value_a != value_a, nan_b = value_b != value_b;
    bool larger_a = nan_a ? !nan_b : value_a > value_b;
    bool larger_b = nan_b ? !nan_a : value_b > value_a;
    return larger_a != larger_b ? larger_a != rising : a < b;
}

/* Moves the element at `at` of a heap, whose root comes last of all, down to where it belongs. */
static void sink(int32_t *heap, int64_t size, int64_t at, const Stored *x, bool rising)
{
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        child += child + 1 < size && before(x, heap[child], heap[child + 1], rising);
        if (!before(x, heap[at], heap[child], rising))
            return;
        int32_t lower = heap[at];
        heap[at] = heap[child];
        heap[child] = lower;
    }
}

/* A heap of the first `count` so far; then what is left of it, the last first, to its end. */
static void top_of_row(Stored *values, int32_t *heap, const Stored *x, int64_t columns, int64_t count, bool rising)
{
    for (int64_t i = 0; i < count; i++)
        heap[i] = (int32_t)i;
    for (int64_t i = count / 2 - 1; i >= 0; i--)
        sink(heap, count, i, x, rising);
    for (int64_t i = count; i < columns && count > 0; i++)
        if (before(x, (int32_t)i, heap[0], rising)) {
            heap[0] = (int32_t)i;
            sink(heap, count, 0, x, rising);
        }
    for (int64_t size = count; size > 1; size--) {
        int32_t last = heap[0];
        heap[0] = heap[size - 1];
        heap[size - 1] = last;
        sink(heap, size - 1, 0, x, rising);
    }
    for (int64_t i = 0; i < count; i++)
        values[i] = x[heap[i]];
}

static void top(void *values, int32_t *indices, const void *x, int64_t rows, int64_t columns, int64_t count,
                bool rising, int threads)
{
    threads = threads_worth(threads, 4 * rows * columns);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        top_of_row((Stored *)values + r * count, indices + r * count, (const Stored *)x + r * columns, columns, count,
                   rising);
}

/* Columns [0, STRIP) of one outer block: a sum each, of more width than is stored. */
enum { STRIP = 64 };

static void running_sum_strip(Stored *out, const Stored *x, int64_t middle, int64_t inner, int64_t width, bool from_end)
{
    Real sum[STRIP] = {0};
    for (int64_t m = 0; m < middle; m++) {
        int64_t at = (from_end ? middle - 1 - m : m) * inner;
        for (int64_t i = 0; i < width; i++) {
            sum[i] += load(x[at + i]);
            out[at + i] = store(sum[i]);
        }
    }
}

static void running_sum(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, bool from_end,
                        int threads)
{
    int64_t strips = (inner + STRIP - 1) / STRIP;
    threads = threads_worth(threads, outer * middle * inner);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t piece = 0; piece < outer * strips; piece++) {
        int64_t first = piece % strips * STRIP, at = piece / strips * middle * inner + first;
        running_sum_strip((Stored *)out + at, (const Stored *)x + at, middle, inner, smaller(STRIP, inner - first),
                          from_end);
    }
}

const TsOrderKernels TS_TABLE(ts_order_kernels) = {.top = top, .running_sum = running_sum};
