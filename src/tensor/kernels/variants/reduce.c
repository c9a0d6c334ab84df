/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/reduce.h"
#include "tensor/kernels/variants/row_max.h"

/* A long row is cut into at most SEGMENTS pieces of at least SEGMENT_ELEMS, by its length alone. */
enum { SEGMENTS = 64, SEGMENT_ELEMS = 8192 };
/* Columns that are summed together, and rows whose sum is taken before it is added to the rest. */
enum { COLUMNS = 64, ROWS = 128 };

static Real row_sum(const Stored *x, int64_t count)
{
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += load(x[i]);
    return sum;
}

static Real row_sum_squares(const Stored *x, int64_t count)
{
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) {
        Real value = load(x[i]);
        sum += value * value;
    }
    return sum;
}

static Real add(Real a, Real b)
{
    return a + b;
}

static Real larger(Real a, Real b)
{
    return a > b || a != a ? a : b;
}

/* Element i of a result: as it was computed, or as elements are stored. */
static inline void put(void *out, int64_t i, Real value, bool wide)
{
    if (wide)
        ((Real *)out)[i] = value;
    else
        ((Stored *)out)[i] = store(value);
}

typedef Real (*RowReduction)(const Stored *x, int64_t count);
typedef Real (*Combination)(Real a, Real b);

/* One long row by all threads; the segments are combined pairwise. */
static Real long_row(RowReduction reduce, Combination combine, const Stored *x, int64_t count, int threads)
{
    Real part[SEGMENTS];
    int64_t segments = smaller(SEGMENTS, (count + SEGMENT_ELEMS - 1) / SEGMENT_ELEMS);
    if (segments <= 1)
        return reduce(x, count);
    int64_t step = ((count + segments - 1) / segments + 63) / 64 * 64;
    threads = threads_worth(threads, count);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t s = 0; s < segments; s++) {
        int64_t first = smaller(count, s * step), last = smaller(count, first + step);
        part[s] = reduce(x + first, last - first);
    }
    for (int64_t width = 1; width < segments; width *= 2)
        for (int64_t s = 0; s + width < segments; s += 2 * width)
            part[s] = combine(part[s], part[s + width]);
    return part[0];
}

static void rows(RowReduction reduce, Combination combine, void *out, bool wide, const Stored *x, int64_t count,
                 int64_t length, int threads)
{
    if (count < 4 && length > SEGMENT_ELEMS) {
        for (int64_t r = 0; r < count; r++)
            put(out, r, long_row(reduce, combine, x + r * length, length, threads), wide);
        return;
    }
    threads = threads_worth(threads, count * length);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < count; r++)
        put(out, r, reduce(x + r * length, length), wide);
}

/* out[first, first + columns) = the sums over `middle` rows, `step` apart; columns <= COLUMNS. */
static void column_sums(void *out, bool wide, int64_t first, const Stored *x, int64_t middle, int64_t step,
                        int64_t columns)
{
    Real total[COLUMNS] = {0};
    for (int64_t r0 = 0; r0 < middle; r0 += ROWS) {
        Real sum[COLUMNS] = {0};
        for (int64_t r = r0; r < smaller(middle, r0 + ROWS); r++) {
            const Stored *row = x + r * step;
#pragma omp simd
            for (int64_t c = 0; c < columns; c++)
                sum[c] += load(row[c]);
        }
        for (int64_t c = 0; c < columns; c++)
            total[c] += sum[c];
    }
    for (int64_t c = 0; c < columns; c++)
        put(out, first + c, total[c], wide);
}

static void column_maxima(void *out, bool wide, int64_t first, const Stored *x, int64_t middle, int64_t step,
                          int64_t columns)
{
    Real largest[COLUMNS];
    for (int64_t c = 0; c < columns; c++)
        largest[c] = -INFINITY;
    for (int64_t r = 0; r < middle; r++) {
        const Stored *row = x + r * step;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            Real value = load(row[c]);
            largest[c] = value > largest[c] || value != value ? value : largest[c];
        }
    }
    for (int64_t c = 0; c < columns; c++)
        put(out, first + c, largest[c], wide);
}

typedef void (*ColumnReduction)(void *out, bool wide, int64_t first, const Stored *x, int64_t middle, int64_t step,
                                int64_t columns);

static void columns(ColumnReduction reduce, void *out, bool wide, const Stored *x, int64_t outer, int64_t middle,
                    int64_t inner, int threads)
{
    int64_t strips = (inner + COLUMNS - 1) / COLUMNS;
    threads = threads_worth(threads, outer * middle * inner);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t piece = 0; piece < outer * strips; piece++) {
        int64_t o = piece / strips, first = piece % strips * COLUMNS;
        reduce(out, wide, o * inner + first, x + o * middle * inner + first, middle, inner,
               smaller(COLUMNS, inner - first));
    }
}

static void sum(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, int threads)
{
    if (inner == 1)
        rows(row_sum, add, out, false, x, outer, middle, threads);
    else
        columns(column_sums, out, false, x, outer, middle, inner, threads);
}

static void sum_wide(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, int threads)
{
    if (inner == 1)
        rows(row_sum, add, out, true, x, outer, middle, threads);
    else
        columns(column_sums, out, true, x, outer, middle, inner, threads);
}

static void max(void *out, const void *x, int64_t outer, int64_t middle, int64_t inner, int threads)
{
    if (inner == 1)
        rows(row_max, larger, out, false, x, outer, middle, threads);
    else
        columns(column_maxima, out, false, x, outer, middle, inner, threads);
}

static void sum_squares(void *out, const void *x, int64_t count, int threads)
{
    Real result = long_row(row_sum_squares, add, x, count, threads);
    memcpy(out, &result, sizeof result);
}

static void argmax(int32_t *out, const void *x, int64_t count, int64_t length, int threads)
{
    threads = threads_worth(threads, count * length);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t r = 0; r < count; r++) {
        const Stored *row = (const Stored *)x + r * length;
        Real largest = row_max(row, length);
        int64_t at = 0;
        while (at + 1 < length && load(row[at]) != largest && load(row[at]) == load(row[at]))
            at++;
        out[r] = (int32_t)at;
    }
}

const TsReduceKernels TS_TABLE(ts_reduce_kernels) = {
    .sum = sum, .sum_wide = sum_wide, .max = max, .sum_squares = sum_squares, .argmax = argmax};
