/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Products in panels: against sums in f64, of any sides, below and beyond the sizes of a part, with gaps between rows,
 * scaled and added to what was there, on every instruction set; and rows that have the same bits beside any others.
 */
#include "tensor/kernels/panel.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "test.h"

static const int64_t sizes[][3] = {{1, 1, 1},   {9, 33, 7},     {32, 64, 128},
                                   {33, 31, 5}, {40, 600, 300}, {TS_PANEL_ROWS + 3, 40, TS_PANEL_DEPTH + 1}};

static double element(const void *x, int64_t at, TsDtype dtype)
{
    return dtype == TS_BF16 ? (double)ts_bf16_to_f32(((const TsBf16 *)x)[at]) : (double)((const float *)x)[at];
}

static void *make(int64_t elems, TsDtype dtype, const char *name)
{
    void *made = ts_alloc((size_t)elems * ts_dtype_bytes(dtype));
    for (int64_t i = 0; i < elems; i++) {
        float value = (float)ts_stream_uniform_f64(ts_stream(1, name, 0), i) - 0.5f;
        if (dtype == TS_BF16)
            ((TsBf16 *)made)[i] = ts_bf16_from_f32(value);
        else
            ((float *)made)[i] = value;
    }
    return made;
}

/* How many elements are wrong; `before` is what c held. */
static int64_t count_wrong(const TsMatmul *p, const void *before)
{
    double tolerance = p->out_dtype == TS_BF16 ? 1.0 / 256 : 1e-5;
    int64_t wrong = 0;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->row_c; j++) {
            double was = element(before, i * p->row_c + j, p->out_dtype), sum = p->beta * was, size = fabs(sum) + 1e-3;
            for (int64_t l = 0; l < p->k && j < p->n; l++) {
                double term = p->alpha * element(p->a, p->transpose_a ? l * p->row_a + i : i * p->row_a + l, p->dtype) *
                              element(p->b, p->transpose_b ? j * p->row_b + l : l * p->row_b + j, p->dtype);
                sum += term;
                size += fabs(term);
            }
            double is = element(p->c, i * p->row_c + j, p->out_dtype);
            wrong += j < p->n ? !(fabs(is - sum) <= tolerance * size) : is != was;
        }
    return wrong;
}

/* variant: bits of transposed a, transposed b, scaled and added. */
static void expect_product(const int64_t *size, TsDtype dtype, TsDtype out, int variant)
{
    int64_t m = size[0], n = size[1], k = size[2], gap = 3;
    TsMatmul p = {.m = m,
                  .n = n,
                  .k = k,
                  .transpose_a = variant & 1,
                  .transpose_b = variant & 2,
                  .row_a = (variant & 1 ? m : k) + gap,
                  .row_b = (variant & 2 ? k : n) + gap,
                  .row_c = n + gap,
                  .dtype = dtype,
                  .out_dtype = out,
                  .alpha = variant & 4 ? 0.5 : 1,
                  .beta = variant & 4 ? 2 : 0};
    void *a = make((variant & 1 ? k : m) * p.row_a, dtype, "a"), *b = make((variant & 2 ? n : k) * p.row_b, dtype, "b");
    void *before = make(m * p.row_c, out, "c"), *c = make(m * p.row_c, out, "c");
    float *scratch = ts_alloc(TS_PANEL_FLOATS * sizeof *scratch);
    p.a = a, p.b = b, p.c = c;
    ts_panel_kernels(dtype)->multiply(&p, scratch);
    int64_t wrong = count_wrong(&p, before);
    if (wrong)
        fprintf(stderr, "%s to %s, (%lld, %lld, %lld), variant %d, %s: %lld are wrong\n", ts_dtype_name(dtype),
                ts_dtype_name(out), (long long)m, (long long)n, (long long)k, variant, ts_isa_name(ts_isa()),
                (long long)wrong);
    CU_ASSERT_EQUAL(wrong, 0);
    ts_free(a);
    ts_free(b);
    ts_free(c);
    ts_free(before);
    ts_free(scratch);
}

static void products(void)
{
    for (int isa = TS_ISA_BASE; isa < TS_ISAS; isa++) {
        if (!ts_isa_use((TsIsa)isa))
            continue;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int variant = 0; variant < 8; variant++) {
                expect_product(sizes[i], TS_F32, TS_F32, variant);
                expect_product(sizes[i], TS_BF16, TS_F32, variant);
                expect_product(sizes[i], TS_BF16, TS_BF16, variant);
            }
    }
}

/* Through the door: a row has the same bits among 20 as among 40, and with one thread as with two. */
static void rows_are_their_own(void)
{
    enum { M = 40, FEWER = 20, N = 1100, K = 200 };
    float *a = make(M * K, TS_F32, "a"), *b = make(K * N, TS_F32, "b");
    float *all = ts_calloc(M * N, sizeof *all), *fewer = ts_calloc(FEWER * N, sizeof *fewer);
    TsMatmul p = {.c = all, .a = a, .b = b, .m = M, .n = N, .k = K, .dtype = TS_F32, .threads = 2};
    void *scratch = ts_alloc(ts_matmul_scratch_bytes(&p) + 1);
    p.scratch = scratch;
    ts_matmul(&p);
    p.m = FEWER, p.c = fewer, p.a = a + 11 * K, p.threads = 1;
    ts_matmul(&p);
    if (ts_isa() == TS_ISA_V4)
        CU_ASSERT_EQUAL(memcmp(fewer, all + 11 * N, FEWER * N * sizeof *fewer), 0);
    ts_free(a);
    ts_free(b);
    ts_free(all);
    ts_free(fewer);
    ts_free(scratch);
}

TEST_MAIN("panel", {"products", products}, {"rows are their own", rows_are_their_own})
