/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Every backend of the matrix product against the plain triple loop: all transpositions, odd and empty shapes, rows
 * with gaps, batches, one and two threads.
 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/matmul.h"

static const char *const backends[] = {"openblas", "onednn"};

static double element(const void *base, TsDtype dtype, int64_t at)
{
    return dtype == TS_F64   ? ((const double *)base)[at]
           : dtype == TS_F32 ? ((const float *)base)[at]
                             : ts_bf16_to_f32(((const TsBf16 *)base)[at]);
}

static void set_element(void *base, TsDtype dtype, int64_t at, double value)
{
    if (dtype == TS_F64)
        ((double *)base)[at] = value;
    else if (dtype == TS_F32)
        ((float *)base)[at] = (float)value;
    else
        ((TsBf16 *)base)[at] = ts_bf16_from_f32((float)value);
}

/* Numbers in (-1, 1) that do not repeat soon. */
static void *numbers(TsDtype dtype, int64_t elems, unsigned seed)
{
    char *out = ts_alloc((size_t)elems * ts_dtype_bytes(dtype));
    for (int64_t i = 0; i < elems; i++)
        set_element(out, dtype, i, sin((double)(i * 37 + seed) * 0.731) * 0.9);
    return out;
}

static double product_element(const TsMatmul *p, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t l = 0; l < p->k; l++)
        sum += element(p->a, p->dtype, p->transpose_a ? l * p->row_a + i : i * p->row_a + l) *
               element(p->b, p->dtype, p->transpose_b ? j * p->row_b + l : l * p->row_b + j);
    return sum;
}

/* The largest error over all elements, gaps between rows included, which must stay as they were. */
static double largest_error(const TsMatmul *p, const void *before)
{
    double largest = 0;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->row_c; j++) {
            double was = element(before, p->out_dtype, i * p->row_c + j);
            double is = element(p->c, p->out_dtype, i * p->row_c + j);
            double expected = j < p->n ? p->alpha * product_element(p, i, j) + p->beta * was : was;
            double error = fabs(is - expected) / (1 + fabs(expected));
            largest = error > largest || error != error ? error : largest;
        }
    return largest;
}

static void check_product(TsMatmul p, int64_t gap)
{
    p.row_a = (p.transpose_a ? p.m : p.k) + gap;
    p.row_b = (p.transpose_b ? p.k : p.n) + gap;
    p.row_c = p.n + gap;
    int64_t c_elems = p.m * p.row_c;
    void *a = numbers(p.dtype, (p.transpose_a ? p.k : p.m) * p.row_a, 1);
    void *b = numbers(p.dtype, (p.transpose_b ? p.n : p.k) * p.row_b, 2);
    void *c = numbers(p.out_dtype, c_elems, 3), *before = numbers(p.out_dtype, c_elems, 3);
    void *scratch = ts_alloc(ts_matmul_scratch_bytes(&p));
    p.a = a, p.b = b, p.c = c, p.scratch = scratch;
    ts_matmul(&p);
    double bound = p.out_dtype == TS_F64 ? 1e-13 : p.out_dtype == TS_F32 ? 3e-5 : 1e-2;
    double error = largest_error(&p, before);
    if (!(error < bound))
        fprintf(stderr, "%s %s->%s (%d, %d, %d) transposed %d %d threads %d: error %g\n", ts_matmul_backend(),
                ts_dtype_name(p.dtype), ts_dtype_name(p.out_dtype), (int)p.m, (int)p.n, (int)p.k, p.transpose_a,
                p.transpose_b, p.threads, error);
    CU_ASSERT(error < bound);
    ts_free(a), ts_free(b), ts_free(c), ts_free(before), ts_free(scratch);
}

static void check_shape(int64_t m, int64_t n, int64_t k)
{
    static const TsDtype dtypes[][2] = {{TS_F32, TS_F32}, {TS_F64, TS_F64}, {TS_BF16, TS_F32}, {TS_BF16, TS_BF16}};
    for (int d = 0; d < 4; d++)
        for (int variant = 0; variant < 8; variant++)
            check_product((TsMatmul){.m = m,
                                     .n = n,
                                     .k = k,
                                     .transpose_a = variant & 1,
                                     .transpose_b = variant >> 1 & 1,
                                     .dtype = dtypes[d][0],
                                     .out_dtype = dtypes[d][1],
                                     .alpha = variant & 4 ? 0.5 : 1,
                                     .beta = variant & 4 ? 2 : 0,
                                     .threads = 1 + (variant >> 1 & 1)},
                          variant & 4 ? 3 : 0);
}

static void multiplies_like_the_triple_loop(void)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {2, 3, 4},       {17, 1, 5},   {1, 33, 7},
                                        {31, 29, 37}, {0, 3, 2},       {3, 0, 2},    {3, 2, 0},
                                        {64, 64, 64}, {130, 70, 129},  {5, 5, 0},    {257, 3, 65},
                                        {3, 300, 90}, {270, 260, 530}, {9, 1024, 7}, {33, 1070, 131}};
    for (int b = 0; b < 2; b++) {
        if (!ts_matmul_use(backends[b])) {
            CU_ASSERT_NOT_EQUAL(b, 0);
            continue;
        }
        CU_ASSERT_STRING_EQUAL(ts_matmul_backend(), backends[b]);
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            check_shape(shapes[s][0], shapes[s][1], shapes[s][2]);
    }
    CU_ASSERT_FALSE(ts_matmul_use("none of these"));
}

/* A batch equals its products one by one, whatever the threads; a step of 0 uses one matrix for all. */
static void multiplies_batches(void)
{
    enum { BATCH = 5, M = 33, N = 18, K = 70 };
    float *a = numbers(TS_F32, BATCH * M * K, 4), *b = numbers(TS_F32, K * N, 5);
    float *c = numbers(TS_F32, BATCH * M * N, 6), *expected = numbers(TS_F32, BATCH * M * N, 7);
    for (int which = 0; which < 2; which++) {
        if (!ts_matmul_use(backends[which]))
            continue;
        for (int threads = 1; threads <= 2; threads++) {
            for (int i = 0; i < BATCH; i++)
                ts_matmul(&(TsMatmul){
                    .c = expected + i * M * N, .a = a + i * M * K, .b = b, .m = M, .n = N, .k = K, .dtype = TS_F32});
            ts_matmul(&(TsMatmul){.c = c,
                                  .a = a,
                                  .b = b,
                                  .m = M,
                                  .n = N,
                                  .k = K,
                                  .dtype = TS_F32,
                                  .batch = BATCH,
                                  .step_a = M * K,
                                  .step_c = M * N,
                                  .threads = threads});
            CU_ASSERT_EQUAL(memcmp(c, expected, BATCH * M * N * sizeof(float)), 0);
        }
    }
    ts_free(a), ts_free(b), ts_free(c), ts_free(expected);
}

TEST_MAIN("matmul", {"multiplies like the triple loop", multiplies_like_the_triple_loop},
          {"multiplies batches", multiplies_batches})
