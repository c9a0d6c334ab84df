/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of a few rows with a matrix: against sums in f64, in odd sizes and with gaps between rows, on every
 * instruction set; and each row the same bits beside any others and with any number of threads.
 */
#include "tensor/kernels/matvec.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "tensor/matmul.h"
#include "test.h"

typedef struct Sizes {
    int64_t n, k;
} Sizes;

static const Sizes sizes[] = {{64, 16}, {65, 17}, {1024, 64}, {2051, 39}, {768, 130}, {4099, 8 * 9 + 5}};

static double element(const void *array, int64_t at, TsDtype dtype)
{
    return dtype == TS_BF16 ? (double)ts_bf16_to_f32(((const TsBf16 *)array)[at]) : (double)((const float *)array)[at];
}

static void *make(int64_t count, TsDtype dtype, const char *name)
{
    void *array = ts_calloc((size_t)count, 4);
    for (int64_t i = 0; i < count; i++) {
        float value = ts_stream_normal_f32(ts_stream(1, name, 0), i);
        if (dtype == TS_BF16)
            ((TsBf16 *)array)[i] = ts_bf16_from_f32(value);
        else
            ((float *)array)[i] = value;
    }
    return array;
}

static void expect_product(Sizes of, TsDtype dtype, bool transposed, bool wide)
{
    enum { GAP = 3 };
    int64_t row_a = of.k + GAP, row_b = (transposed ? of.k : of.n) + GAP, row_c = of.n + GAP;
    void *a = make(TS_MATVEC_ROWS * row_a, dtype, "a"), *b = make((transposed ? of.n : of.k) * row_b, dtype, "b");
    void *all = ts_calloc((size_t)(TS_MATVEC_ROWS * row_c), 4), *one = ts_calloc((size_t)row_c, 4);
    TsDtype out = wide ? TS_F32 : dtype;
    TsMatvec product = {.c = all,
                        .a = a,
                        .b = b,
                        .m = TS_MATVEC_ROWS,
                        .n = of.n,
                        .k = of.k,
                        .row_a = row_a,
                        .row_b = row_b,
                        .row_c = row_c,
                        .transposed = transposed,
                        .wide = wide,
                        .threads = 1};
    ts_matvec_kernels(dtype)->multiply(&product);
    double tolerance = out == TS_BF16 ? 0.01 : 1e-5;
    int64_t wrong = 0;
    for (int64_t i = 0; i < TS_MATVEC_ROWS; i++) {
        product.m = 1;
        product.threads = 1 + (int)i % 3;
        product.a = (const char *)a + (size_t)(i * row_a) * ts_dtype_bytes(dtype);
        product.c = one;
        ts_matvec_kernels(dtype)->multiply(&product);
        wrong += memcmp(one, (const char *)all + (size_t)(i * row_c) * ts_dtype_bytes(out),
                        (size_t)of.n * ts_dtype_bytes(out)) != 0;
        for (int64_t j = 0; j < of.n; j++) {
            double sum = 0, size = 0;
            for (int64_t l = 0; l < of.k; l++) {
                double term =
                    element(a, i * row_a + l, dtype) * element(b, transposed ? j * row_b + l : l * row_b + j, dtype);
                sum += term;
                size += fabs(term);
            }
            wrong += !(fabs(element(one, j, out) - sum) <= tolerance * (size + 1e-3));
        }
    }
    if (wrong)
        fprintf(stderr, "%s, n %lld, k %lld, transposed %d, wide %d: %lld are wrong\n", ts_dtype_name(dtype),
                (long long)of.n, (long long)of.k, transposed, wide, (long long)wrong);
    CU_ASSERT_EQUAL(wrong, 0);
    ts_free(a);
    ts_free(b);
    ts_free(all);
    ts_free(one);
}

static void products(void)
{
    for (int isa = TS_ISA_BASE; isa < TS_ISAS; isa++) {
        if (!ts_isa_use((TsIsa)isa))
            continue;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int transposed = 0; transposed < 2; transposed++) {
                expect_product(sizes[i], TS_F32, transposed, true);
                expect_product(sizes[i], TS_BF16, transposed, true);
                expect_product(sizes[i], TS_BF16, transposed, false);
            }
    }
}

/* The door takes that way: one row gives the bits of the same row among eight. */
static void through_the_door(void)
{
    enum { N = 200, K = 96 };
    void *a = make(TS_MATVEC_ROWS * K, TS_F32, "a"), *b = make(K * N, TS_F32, "b");
    float all[TS_MATVEC_ROWS * N], one[N];
    TsMatmul product = {.c = all, .a = a, .b = b, .m = TS_MATVEC_ROWS, .n = N, .k = K, .dtype = TS_F32, .threads = 2};
    ts_matmul(&product);
    product.m = 1;
    product.c = one;
    product.a = (const float *)a + 5 * K;
    ts_matmul(&product);
    CU_ASSERT_EQUAL(memcmp(one, all + 5 * N, sizeof one), 0);
    ts_free(a);
    ts_free(b);
}

TEST_MAIN("matvec", {"products", products}, {"through the door", through_the_door})
