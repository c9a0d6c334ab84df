/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/matmul.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tensor/kernels/matvec.h"
#include "tensor/kernels/panel.h"

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

/* Whether own panels multiply it: bf16 that the backend multiplies no faster, and in f32 a few dozen rows by a wide
 * matrix. What decides is the same for every part that rows are cut off of, and for any k. */
static bool takes_panels(const TsMatmul *p)
{
    enum { FEW = 64, WIDE = 1024 };
    if (p->dtype != TS_F32)
        return p->dtype == TS_BF16 && !multiplies_bf16();
    return ts_isa() == TS_ISA_V4 && p->m > TS_MATVEC_ROWS && p->m < FEW && p->n >= WIDE && !p->transpose_a;
}

/* One piece of the work: one product of the batch, or rows or columns of it. Runs on one thread. */
static void multiply_piece(const TsMatmul *p, int piece, bool panels)
{
    if (p->m == 0 || p->n == 0)
        return;
    if (p->k == 0)
        scale_only(p);
    else if (panels)
        ts_panel_kernels(p->dtype)->multiply(p, (float *)p->scratch + (int64_t)piece * TS_PANEL_FLOATS);
    else
        backend()->multiply(p);
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

static void multiply_fixed(const TsMatmul *p, int threads, bool panels)
{
    int pieces = fixed_pieces(p);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < p->batch * pieces; i++) {
        TsMatmul one = of_batch(p, i / pieces);
        if (pieces > 1)
            one = cut(&one, pieces, (int)(i % pieces));
        multiply_piece(&one, threads > 1 ? omp_get_thread_num() : 0, panels);
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
    bool panels = takes_panels(&p);
    TS_CHECK(!panels || p.scratch, "a product (%lld, %lld) by (%lld, %lld) without its scratch", (long long)p.m,
             (long long)p.k, (long long)p.k, (long long)p.n);
    if (p.fixed) {
        multiply_fixed(&p, threads, panels);
        return;
    }
    if (threads == 1 && p.batch == 1) {
        multiply_piece(&p, 0, panels);
        return;
    }
    if (p.batch >= threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
        for (int64_t i = 0; i < p.batch; i++) {
            TsMatmul one = of_batch(&p, i);
            multiply_piece(&one, threads > 1 ? omp_get_thread_num() : 0, panels);
        }
        return;
    }
    for (int64_t i = 0; i < p.batch; i++) {
        TsMatmul one = of_batch(&p, i);
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int piece = 0; piece < threads; piece++) {
            TsMatmul part = cut(&one, threads, piece);
            multiply_piece(&part, piece, panels);
        }
    }
}

size_t ts_matmul_scratch_bytes(const TsMatmul *product)
{
    TsMatmul p = with_defaults(product);
    return takes_panels(&p) ? (size_t)p.threads * TS_PANEL_FLOATS * sizeof(float) : 0;
}
