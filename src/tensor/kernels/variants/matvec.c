/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/variant.h"

#include "tensor/kernels/matvec.h"
#include "tensor/kernels/variants/real_math.h"

enum {
    PANEL = 1024, /* columns that are summed up together, in the first cache */
    DEEP = 8,     /* rows of the matrix that are read side by side */
    LANES = 32,
};

static void put(const TsMatvec *p, int64_t row, int64_t column, Real sum)
{
    int64_t at = row * p->row_c + column;
    if (p->wide)
        ((Real *)p->c)[at] = sum;
    else
        ((Stored *)p->c)[at] = store(sum);
}

/* x y + z, rounded once where the processor does so. */
static inline Real fused(Real x, Real y, Real z)
{
#ifdef TS_VARIANT_F64
    return x * y + z;
#else
    return multiply_add(x, y, z);
#endif
}

/* sum + the sum of a[u] b_u, in two chains. */
static inline Real sum_of_eight(Real sum, const Real *a, Real b0, Real b1, Real b2, Real b3, Real b4, Real b5, Real b6,
                                Real b7)
{
    Real low = fused(a[0], b0, sum), high = a[1] * b1;
    low = fused(a[2], b2, low);
    high = fused(a[3], b3, high);
    low = fused(a[4], b4, low);
    high = fused(a[5], b5, high);
    low = fused(a[6], b6, low);
    high = fused(a[7], b7, high);
    return low + high;
}

#ifdef TS_VARIANT_BF16
/* Two neighbours are read as one word, of which one is the upper half and the other comes there by a shift: cheaper
 * than widening each. Sums of even columns lie before those of odd ones. */
static inline float even_of(uint32_t word)
{
    float value;
    word <<= 16;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline float odd_of(uint32_t word)
{
    float value;
    word &= 0xffff0000u;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline uint32_t word_at(const Stored *x, int64_t word)
{
    uint32_t value;
    memcpy(&value, x + 2 * word, sizeof value);
    return value;
}

/* Where the sum of a column lies. */
static inline int64_t place_of(int64_t column)
{
    return column % 2 * (PANEL / 2) + column / 2;
}

/* sum[place_of(0 .. columns)] += the sum over DEEP rows of a[u] b[u]. */
static void add_rows(Real *restrict sum, const Real *a, const Stored *b, int64_t row_b, int64_t columns)
{
    const Stored *b0 = b, *b1 = b + row_b, *b2 = b1 + row_b, *b3 = b2 + row_b;
    const Stored *b4 = b3 + row_b, *b5 = b4 + row_b, *b6 = b5 + row_b, *b7 = b6 + row_b;
    Real *restrict odd = sum + PANEL / 2;
#pragma omp simd
    for (int64_t j = 0; j < columns / 2; j++) {
        uint32_t w0 = word_at(b0, j), w1 = word_at(b1, j), w2 = word_at(b2, j), w3 = word_at(b3, j);
        uint32_t w4 = word_at(b4, j), w5 = word_at(b5, j), w6 = word_at(b6, j), w7 = word_at(b7, j);
        sum[j] = sum_of_eight(sum[j], a, even_of(w0), even_of(w1), even_of(w2), even_of(w3), even_of(w4), even_of(w5),
                              even_of(w6), even_of(w7));
        odd[j] = sum_of_eight(odd[j], a, odd_of(w0), odd_of(w1), odd_of(w2), odd_of(w3), odd_of(w4), odd_of(w5),
                              odd_of(w6), odd_of(w7));
    }
    if (columns % 2)
        for (int u = 0; u < DEEP; u++)
            sum[columns / 2] += a[u] * load(b[u * row_b + columns - 1]);
}

static Real dot(const Stored *a, const Stored *b, int64_t count)
{
    Real lane[2 * LANES] = {0}, sum = 0;
    int64_t words = count / 2, i = 0;
    for (; i + LANES <= words; i += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            uint32_t x = word_at(a, i + l), y = word_at(b, i + l);
            lane[l] = multiply_add(even_of(x), even_of(y), lane[l]);
            lane[LANES + l] = multiply_add(odd_of(x), odd_of(y), lane[LANES + l]);
        }
    }
    for (int width = LANES; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            lane[l] += lane[l + width];
    for (i *= 2; i < count; i++)
        sum += load(a[i]) * load(b[i]);
    return lane[0] + sum;
}
#else
static inline int64_t place_of(int64_t column)
{
    return column;
}

/* sum[0, columns) += the sum over DEEP rows of a[u] b[u]. */
static void add_rows(Real *restrict sum, const Real *a, const Stored *b, int64_t row_b, int64_t columns)
{
    const Stored *b0 = b, *b1 = b + row_b, *b2 = b1 + row_b, *b3 = b2 + row_b;
    const Stored *b4 = b3 + row_b, *b5 = b4 + row_b, *b6 = b5 + row_b, *b7 = b6 + row_b;
#pragma omp simd
    for (int64_t j = 0; j < columns; j++) {
        sum[j] = sum_of_eight(sum[j], a, b0[j], b1[j], b2[j], b3[j], b4[j], b5[j], b6[j], b7[j]);
    }
}

static Real dot(const Stored *a, const Stored *b, int64_t count)
{
    Real lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            lane[l] = fused(a[i + l], b[i + l], lane[l]);
    }
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            lane[l] += lane[l + width];
    for (; i < count; i++)
        sum += a[i] * b[i];
    return lane[0] + sum;
}
#endif

/* One row of the matrix alone. */
static void add_row(Real *restrict sum, Real a, const Stored *b, int64_t columns)
{
    for (int64_t j = 0; j < columns; j++)
        sum[place_of(j)] += a * load(b[j]);
}

/* Columns [first, first + columns), at most PANEL, of the product with a matrix as it lies. */
static void multiply_panel(const TsMatvec *p, int64_t first, int64_t columns)
{
    Real sum[TS_MATVEC_ROWS][PANEL];
    const Stored *b = (const Stored *)p->b + first;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < PANEL; j++)
            sum[i][j] = 0;
    int64_t l = 0;
    for (; l + DEEP <= p->k; l += DEEP)
        for (int64_t i = 0; i < p->m; i++) {
            Real a[DEEP];
            for (int u = 0; u < DEEP; u++)
                a[u] = load(((const Stored *)p->a)[i * p->row_a + l + u]);
            add_rows(sum[i], a, b + l * p->row_b, p->row_b, columns);
        }
    for (; l < p->k; l++)
        for (int64_t i = 0; i < p->m; i++)
            add_row(sum[i], load(((const Stored *)p->a)[i * p->row_a + l]), b + l * p->row_b, columns);
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < columns; j++)
            put(p, i, first + j, sum[i][place_of(j)]);
}

/* The same of a matrix that lies transposed. */
static void multiply_rows(const TsMatvec *p, int64_t first, int64_t columns)
{
    for (int64_t j = first; j < first + columns; j++)
        for (int64_t i = 0; i < p->m; i++)
            put(p, i, j, dot((const Stored *)p->a + i * p->row_a, (const Stored *)p->b + j * p->row_b, p->k));
}

/* Columns of which a thread reads `first` to `last`: whole lines of the result. */
static int64_t column_of(int64_t columns, int threads, int thread)
{
    int64_t lines = (columns + 15) / 16;
    return smaller(lines * thread / threads * 16, columns);
}

static void multiply(const TsMatvec *p)
{
    int threads = threads_worth(p->threads, p->n * p->k / 2);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int thread = 0; thread < threads; thread++) {
        int64_t last = column_of(p->n, threads, thread + 1);
        for (int64_t first = column_of(p->n, threads, thread); first < last; first += PANEL) {
            int64_t columns = smaller(PANEL, last - first);
            if (p->transposed)
                multiply_rows(p, first, columns);
            else
                multiply_panel(p, first, columns);
        }
    }
}

const TsMatvecKernels TS_TABLE(ts_matvec_kernels) = {.multiply = multiply};
