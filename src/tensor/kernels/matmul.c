/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/matmul.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tensor/kernels/matvec.h"

static const TsMatmulBackend *const backends[] = {
#ifdef TESSERA_HAVE_ONEDNN
    &ts_matmul_onednn,
#endif
    &ts_matmul_openblas,
};
enum { BACKENDS = sizeof backends / sizeof backends[0] };

static const TsMatmulBackend *chosen;
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

bool ts_matmul_use(const char *name)
{
    for (int i = 0; i < BACKENDS; i++)
        if (strcmp(backends[i]->name, name) == 0) {
            chosen = backends[i];
            return true;
        }
    return false;
}

static void choose(void)
{
    if (chosen) /* ts_matmul_use came first */
        return;
    const char *name = getenv("TESSERA_MATMUL");
    chosen = backends[0];
    if (name && *name)
        TS_CHECK(ts_matmul_use(name), "TESSERA_MATMUL=%s: this build has %s", name,
                 BACKENDS > 1 ? "onednn and openblas" : "openblas");
}

static const TsMatmulBackend *backend(void)
{
    pthread_once(&choose_once, choose);
    return chosen;
}

static bool multiplies_bf16(void)
{
    return backend()->multiplies_bf16 && backend()->multiplies_bf16();
}

const char *ts_matmul_backend(void)
{
    return backend()->name;
}

static TsMatmul with_defaults(const TsMatmul *product)
{
    TsMatmul p = *product;
    p.row_a = p.row_a ? p.row_a : p.transpose_a ? p.m : p.k;
    p.row_b = p.row_b ? p.row_b : p.transpose_b ? p.k : p.n;
    p.row_c = p.row_c ? p.row_c : p.n;
    p.alpha = p.alpha != 0 ? p.alpha : 1;
    p.batch = p.batch ? p.batch : 1;
    p.threads = p.threads > 1 ? p.threads : 1;
    if (p.dtype != TS_BF16)
        p.out_dtype = p.dtype;
    return p;
}

static const char *element(const void *base, int64_t index, TsDtype dtype)
{
    return (const char *)base + index * (int64_t)ts_dtype_bytes(dtype);
}

/* c *= beta, where the product of the operands is empty. */
static void scale_only(const TsMatmul *p)
{
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            int64_t at = i * p->row_c + j;
            if (p->out_dtype == TS_F64)
                ((double *)p->c)[at] = p->beta != 0 ? p->beta * ((double *)p->c)[at] : 0;
            else if (p->out_dtype == TS_F32)
                ((float *)p->c)[at] = p->beta != 0 ? (float)p->beta * ((float *)p->c)[at] : 0;
            else
                ((TsBf16 *)p->c)[at] =
                    p->beta != 0 ? ts_bf16_from_f32((float)p->beta * ts_bf16_to_f32(((TsBf16 *)p->c)[at])) : 0;
        }
}

/* Panels of bf16 in f32: PANEL rows of op(a), columns of op(b), and PANEL_DEPTH of k at a time. */
enum { PANEL = 256, PANEL_DEPTH = 512 };
#define PANEL_FLOATS (2 * PANEL * PANEL_DEPTH + PANEL * PANEL)

static void widen(float *out, const TsBf16 *in, int64_t row, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            out[i * columns + j] = ts_bf16_to_f32(in[i * row + j]);
}

static void store_panel(const TsMatmul *p, const float *sum, int64_t i0, int64_t j0, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t at = (i0 + i) * p->row_c + j0 + j;
            float value = sum[i * columns + j];
            if (p->out_dtype == TS_F32) {
                float *c = (float *)p->c + at;
                *c = p->beta != 0 ? value + (float)p->beta * *c : value;
            } else {
                TsBf16 *c = (TsBf16 *)p->c + at;
                *c = ts_bf16_from_f32(p->beta != 0 ? value + (float)p->beta * ts_bf16_to_f32(*c) : value);
            }
        }
}

/* The part of `depth` of the panel's rows or columns beginning at `first`, `l0` of k. */
static const TsBf16 *panel_of(const void *base, int64_t row, bool k_is_row, int64_t first, int64_t l0)
{
    return (const TsBf16 *)base + (k_is_row ? l0 * row + first : first * row + l0);
}

/* bf16 by way of f32 panels, for a backend that does not multiply bf16. */
static void multiply_widened(const TsMatmul *p, float *scratch)
{
    float *a = scratch, *b = a + PANEL * PANEL_DEPTH, *c = b + PANEL * PANEL_DEPTH;
    for (int64_t i0 = 0; i0 < p->m; i0 += PANEL)
        for (int64_t j0 = 0; j0 < p->n; j0 += PANEL) {
            int64_t rows = p->m - i0 < PANEL ? p->m - i0 : PANEL, columns = p->n - j0 < PANEL ? p->n - j0 : PANEL;
            for (int64_t l0 = 0; l0 < p->k; l0 += PANEL_DEPTH) {
                int64_t depth = p->k - l0 < PANEL_DEPTH ? p->k - l0 : PANEL_DEPTH;
                widen(a, panel_of(p->a, p->row_a, p->transpose_a, i0, l0), p->row_a, p->transpose_a ? depth : rows,
                      p->transpose_a ? rows : depth);
                widen(b, panel_of(p->b, p->row_b, !p->transpose_b, j0, l0), p->row_b, p->transpose_b ? columns : depth,
                      p->transpose_b ? depth : columns);
                TsMatmul panel = with_defaults(&(TsMatmul){.c = c,
                                                           .a = a,
                                                           .b = b,
                                                           .m = rows,
                                                           .n = columns,
                                                           .k = depth,
                                                           .transpose_a = p->transpose_a,
                                                           .transpose_b = p->transpose_b,
                                                           .dtype = TS_F32,
                                                           .alpha = p->alpha,
                                                           .beta = l0 ? 1 : 0});
                backend()->multiply(&panel);
            }
            store_panel(p, c, i0, j0, rows, columns);
        }
}

/* One piece of the work: one product of the batch, or rows or columns of it. Runs on one thread. */
static void multiply_piece(const TsMatmul *p, int piece)
{
    if (p->m == 0 || p->n == 0)
        return;
    if (p->k == 0)
        scale_only(p);
    else if (p->dtype != TS_BF16 || multiplies_bf16())
        backend()->multiply(p);
    else
        multiply_widened(p, (float *)p->scratch + (int64_t)piece * PANEL_FLOATS);
}

static int64_t piece_first(int64_t size, int pieces, int piece)
{
    enum { GRAIN = 16 }; /* whole vectors and cache lines */
    int64_t grains = (size + GRAIN - 1) / GRAIN, first = grains * piece / pieces * GRAIN;
    return first < size ? first : size;
}

/* Rows or columns [first, last) of one product, whichever there are more of. */
static TsMatmul cut(const TsMatmul *p, int pieces, int piece)
{
    TsMatmul part = *p;
    bool rows = p->m >= p->n;
    int64_t size = rows ? p->m : p->n;
    int64_t first = piece_first(size, pieces, piece), last = piece_first(size, pieces, piece + 1);
    if (rows) {
        part.m = last - first;
        part.a = element(p->a, p->transpose_a ? first : first * p->row_a, p->dtype);
        part.c = (void *)element(p->c, first * p->row_c, p->out_dtype);
    } else {
        part.n = last - first;
        part.b = element(p->b, p->transpose_b ? first * p->row_b : first, p->dtype);
        part.c = (void *)element(p->c, first, p->out_dtype);
    }
    return part;
}

static TsMatmul of_batch(const TsMatmul *p, int64_t index)
{
    TsMatmul one = *p;
    one.a = element(p->a, index * p->step_a, p->dtype);
    one.b = element(p->b, index * p->step_b, p->dtype);
    one.c = (void *)element(p->c, index * p->step_c, p->out_dtype);
    return one;
}

/* Below this many multiply-adds a thread, waking the others costs more than they bring. */
static int threads_worth(const TsMatmul *p)
{
    double worth = (double)p->m * (double)p->n * (double)p->k * (double)p->batch / (64.0 * 64.0 * 64.0 * 2.0);
    return worth < p->threads ? (worth < 1 ? 1 : (int)worth) : p->threads;
}

/* Into how many pieces a product is cut whatever the threads: libraries round otherwise where there are fewer rows. */
static int fixed_pieces(const TsMatmul *p)
{
    enum { PIECE = 256, MOST = 32 };
    int64_t pieces = (p->m >= p->n ? p->m : p->n) / PIECE;
    return pieces < 1 || (double)p->m * (double)p->n * (double)p->k < 64.0 * 64.0 * 64.0 * 8.0 ? 1
           : pieces > MOST                                                                     ? MOST
                                                                                               : (int)pieces;
}

/* Whether a product is a few rows by a matrix, which is bound by reading that. */
static bool is_few_rows(const TsMatmul *p)
{
    return p->m > 0 && p->m <= TS_MATVEC_ROWS && p->n >= 64 && p->k >= 16 && p->batch == 1 && p->dtype != TS_F64 &&
           !p->transpose_a && p->alpha == 1 && p->beta == 0;
}

static void multiply_few_rows(const TsMatmul *p)
{
    ts_matvec_kernels(p->dtype)->multiply(&(TsMatvec){.c = p->c,
                                                      .a = p->a,
                                                      .b = p->b,
                                                      .m = p->m,
                                                      .n = p->n,
                                                      .k = p->k,
                                                      .row_a = p->row_a,
                                                      .row_b = p->row_b,
                                                      .row_c = p->row_c,
                                                      .transposed = p->transpose_b,
                                                      .wide = p->out_dtype == TS_F32,
                                                      .threads = p->threads});
}

static void multiply_fixed(const TsMatmul *p, int threads)
{
    int pieces = fixed_pieces(p);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < p->batch * pieces; i++) {
        TsMatmul one = of_batch(p, i / pieces);
        if (pieces > 1)
            one = cut(&one, pieces, (int)(i % pieces));
        multiply_piece(&one, threads > 1 ? omp_get_thread_num() : 0);
    }
}

void ts_matmul(const TsMatmul *product)
{
    TsMatmul p = with_defaults(product);
    TS_CHECK(p.dtype == TS_F32 || p.dtype == TS_F64 || p.dtype == TS_BF16, "no matrix product of %s",
             ts_dtype_name(p.dtype));
    int threads = threads_worth(&p);
    if (is_few_rows(&p)) {
        multiply_few_rows(&p);
        return;
    }
    if (p.fixed) {
        multiply_fixed(&p, threads);
        return;
    }
    if (threads == 1 && p.batch == 1) {
        multiply_piece(&p, 0);
        return;
    }
    if (p.batch >= threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
        for (int64_t i = 0; i < p.batch; i++) {
            TsMatmul one = of_batch(&p, i);
            multiply_piece(&one, threads > 1 ? omp_get_thread_num() : 0);
        }
        return;
    }
    for (int64_t i = 0; i < p.batch; i++) {
        TsMatmul one = of_batch(&p, i);
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int piece = 0; piece < threads; piece++) {
            TsMatmul part = cut(&one, threads, piece);
            multiply_piece(&part, piece);
        }
    }
}

size_t ts_matmul_scratch_bytes(const TsMatmul *product)
{
    if (product->dtype != TS_BF16 || multiplies_bf16())
        return 0;
    return (size_t)(product->threads > 1 ? product->threads : 1) * PANEL_FLOATS * sizeof(float);
}
