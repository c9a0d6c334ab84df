/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products beside the libraries called bare, and attention beside the rate of matrix products.
 */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#ifdef TESSERA_HAVE_ONEDNN
#include <dnnl.h>
#endif

#include "ops/ops.h"
#include "tensor/kernels/attend.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tensor/program.h"

/* ---- the products of a GPT-2 step */

/* c (m, n) = op(a) op(b), as TsMatmul. */
typedef struct Product {
    const char *name;
    int64_t m, n, k;
    bool transpose_a, transpose_b;
} Product;

enum { TOKENS = 1024 };
static const Product products[] = {
    {"hidden = x kernel", TOKENS, 768, 768, false, false},
    {"d_x = d kernel'", TOKENS, 768, 768, false, true},
    {"d_kernel = x' d", 768, 768, TOKENS, true, false},
    {"up", TOKENS, 3072, 768, false, false},
    {"d_x of up", TOKENS, 768, 3072, false, true},
    {"d_kernel of up", 768, 3072, TOKENS, true, false},
    {"down", TOKENS, 768, 3072, false, false},
    {"d_x of down", TOKENS, 3072, 768, false, true},
    {"d_kernel of down", 3072, 768, TOKENS, true, false},
    {"logits", TOKENS, 50257, 768, false, true},
    {"d_x of logits", TOKENS, 768, 50257, false, false},
    {"d_table of logits", 50257, 768, TOKENS, true, false},
};
enum { PRODUCTS = sizeof products / sizeof *products };

typedef struct Run {
    Product p;
    TsDtype dtype;
    void *a, *b, *c, *c_bare;
    TsMatmul ours;
#ifdef TESSERA_HAVE_ONEDNN
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[3];
    dnnl_stream_t stream;
#endif
} Run;

static int64_t row_a(const Run *r)
{
    return r->p.transpose_a ? r->p.m : r->p.k;
}

static int64_t row_b(const Run *r)
{
    return r->p.transpose_b ? r->p.k : r->p.n;
}

static void ours(void *context)
{
    ts_matmul(&((Run *)context)->ours);
}

#ifdef TESSERA_HAVE_ONEDNN
/* The library with its own threads. */
static void bare_f32(void *context)
{
    Run *r = context;
    dnnl_sgemm(r->p.transpose_a ? 'T' : 'N', r->p.transpose_b ? 'T' : 'N', r->p.m, r->p.n, r->p.k, 1, r->a, row_a(r),
               r->b, row_b(r), 0, r->c_bare, r->p.n);
}

static void bare_bf16(void *context)
{
    Run *r = context;
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, r->memory[0]}, {DNNL_ARG_WEIGHTS, r->memory[1]}, {DNNL_ARG_DST, r->memory[2]}};
    dnnl_primitive_execute(r->primitive, r->stream, 3, arguments);
    dnnl_stream_wait(r->stream);
}

static void create_bare_bf16(Run *r)
{
    static dnnl_engine_t engine;
    if (!engine)
        dnnl_engine_create(&engine, dnnl_cpu, 0);
    dnnl_dims_t dims[3] = {{r->p.m, r->p.k}, {r->p.k, r->p.n}, {r->p.m, r->p.n}};
    dnnl_dims_t strides[3] = {{row_a(r), 1}, {row_b(r), 1}, {r->p.n, 1}};
    if (r->p.transpose_a)
        strides[0][0] = 1, strides[0][1] = row_a(r);
    if (r->p.transpose_b)
        strides[1][0] = 1, strides[1][1] = row_b(r);
    void *data[3] = {r->a, r->b, r->c_bare};
    dnnl_memory_desc_t description[3];
    for (int i = 0; i < 3; i++) {
        dnnl_memory_desc_init_by_strides(&description[i], 2, dims[i], dnnl_bf16, strides[i]);
        dnnl_memory_create(&r->memory[i], &description[i], engine, data[i]);
    }
    dnnl_matmul_desc_t product;
    dnnl_primitive_desc_t primitive;
    dnnl_matmul_desc_init(&product, &description[0], &description[1], NULL, &description[2]);
    TS_CHECK(dnnl_primitive_desc_create(&primitive, &product, NULL, engine, NULL) == dnnl_success &&
                 dnnl_primitive_create(&r->primitive, primitive) == dnnl_success,
             "oneDNN refuses a product of bf16");
    dnnl_primitive_desc_destroy(primitive);
    dnnl_stream_create(&r->stream, engine, dnnl_stream_default_flags);
}

static void free_bare_bf16(Run *r)
{
    dnnl_primitive_destroy(r->primitive);
    dnnl_stream_destroy(r->stream);
    for (int i = 0; i < 3; i++)
        dnnl_memory_destroy(r->memory[i]);
}
#else
/* One call a thread, on as many rows or columns: its own threads are off. */
static void bare_f32(void *context)
{
    Run *r = context;
    bool rows = r->p.m >= r->p.n;
#pragma omp parallel num_threads(threads)
    {
        int64_t size = rows ? r->p.m : r->p.n, piece = omp_get_thread_num();
        int64_t first = size * piece / threads, count = size * (piece + 1) / threads - first;
        const float *a = (const float *)r->a + (rows ? (r->p.transpose_a ? first : first * row_a(r)) : 0);
        const float *b = (const float *)r->b + (rows ? 0 : (r->p.transpose_b ? first * row_b(r) : first));
        cblas_sgemm(CblasRowMajor, r->p.transpose_a ? CblasTrans : CblasNoTrans,
                    r->p.transpose_b ? CblasTrans : CblasNoTrans, (int)(rows ? count : r->p.m),
                    (int)(rows ? r->p.n : count), (int)r->p.k, 1, a, (int)row_a(r), b, (int)row_b(r), 0,
                    (float *)r->c_bare + (rows ? first * r->p.n : first), (int)r->p.n);
    }
}
#endif

static void check_product(const Run *r)
{
    for (int s = 0; s < 32; s++) {
        int64_t i = (r->p.m - 1) * s / 31, j = (r->p.n - 1) * ((7 * s) % 32) / 31;
        double sum = 0;
        for (int64_t l = 0; l < r->p.k; l++)
            sum += element_of(r->a, r->p.transpose_a ? l * r->p.m + i : i * r->p.k + l, r->dtype) *
                   element_of(r->b, r->p.transpose_b ? j * r->p.k + l : l * r->p.n + j, r->dtype);
        double tolerance = r->dtype == TS_BF16 ? 0.005 : 1e-4;
        expect_near(r->p.name, i * r->p.n + j, element_of(r->c, i * r->p.n + j, r->dtype), sum, tolerance);
        expect_near("the library alone", i * r->p.n + j, element_of(r->c_bare, i * r->p.n + j, r->dtype), sum,
                    tolerance);
    }
}

/* What `ours` computes, once p and the matrices are there; its scratch is the caller's to free. */
static void prepare(Run *r)
{
    r->ours = (TsMatmul){.c = r->c,
                         .a = r->a,
                         .b = r->b,
                         .m = r->p.m,
                         .n = r->p.n,
                         .k = r->p.k,
                         .transpose_a = r->p.transpose_a,
                         .transpose_b = r->p.transpose_b,
                         .dtype = r->dtype,
                         .out_dtype = r->dtype,
                         .threads = threads};
    r->ours.scratch = ts_calloc(1, ts_matmul_scratch_bytes(&r->ours) + 1);
}

static double beside_bare(Product p, TsDtype dtype)
{
    Run r = {.p = p,
             .dtype = dtype,
             .a = made_up_array(p.m * p.k, 0, dtype),
             .b = made_up_array(p.k * p.n, 1, dtype),
             .c = made_up_array(p.m * p.n, 2, dtype),
             .c_bare = made_up_array(p.m * p.n, 3, dtype)};
    prepare(&r);
    BenchAction action[2] = {{ours, &r}, {bare_f32, &r}};
#ifdef TESSERA_HAVE_ONEDNN
    if (dtype == TS_BF16) {
        create_bare_bf16(&r);
        action[1].run = bare_bf16;
    }
#endif
    double median_s[2], flops = 2.0 * (double)p.m * (double)p.n * (double)p.k;
    bench_alternate(median_s, action, 2, flops < 5e9 ? 4 : 1);
    check_product(&r);
    printf("  %-20s %-5s (%6lld, %6lld) by %6lld %7.0f GFLOP/s   bare %7.0f   %.2f\n", p.name, ts_dtype_name(dtype),
           (long long)p.m, (long long)p.n, (long long)p.k, flops / median_s[0] / 1e9, flops / median_s[1] / 1e9,
           median_s[1] / median_s[0]);
    fflush(stdout);
#ifdef TESSERA_HAVE_ONEDNN
    if (dtype == TS_BF16)
        free_bare_bf16(&r);
#endif
    ts_free(r.ours.scratch);
    ts_free(r.a);
    ts_free(r.b);
    ts_free(r.c);
    ts_free(r.c_bare);
    return median_s[1] / median_s[0];
}

void bench_matmul(void)
{
    double lowest = INFINITY;
#ifndef TESSERA_HAVE_ONEDNN
    openblas_set_num_threads(1);
#endif
    omp_set_num_threads(threads);
    printf("products of a GPT-2 step of %d tokens\n", TOKENS);
    for (int i = 0; i < PRODUCTS; i++)
        lowest = fmin(lowest, beside_bare(products[i], TS_F32));
#ifdef TESSERA_HAVE_ONEDNN
    for (int i = 0; i < PRODUCTS; i++)
        lowest = fmin(lowest, beside_bare(products[i], TS_BF16));
#endif
    bench_target("ops/matmul", lowest);
}

/* ---- attention */

enum { BATCH = 4, HEADS = 12, WIDTH = 64, LENGTH = 1024 };

typedef struct Attention {
    TsAttendShape shape;
    TsAttendIn in;
    void *out, *d_q, *d_k, *d_v, *scratch;
    float *logsumexp;
    TsDtype dtype;
} Attention;

static Attention attention_create(int64_t batch, int64_t heads, int64_t length, TsDtype dtype)
{
    int64_t elems = batch * length * heads * WIDTH;
    Attention a = {.shape = {.batch = batch,
                             .queries = length,
                             .keys = length,
                             .heads = heads,
                             .kv_heads = heads,
                             .width = WIDTH,
                             .group = 1,
                             .scale = 1 / sqrt((double)WIDTH),
                             .causal = true,
                             .whole_heads = heads},
                   .out = made_up_array(elems, 9, dtype),
                   .d_q = made_up_array(elems, 9, dtype),
                   .d_k = made_up_array(elems, 9, dtype),
                   .d_v = made_up_array(elems, 9, dtype),
                   .logsumexp = ts_calloc((size_t)(batch * length * heads), sizeof(float)),
                   .dtype = dtype};
    a.in = (TsAttendIn){.q = made_up_array(elems, 0, dtype),
                        .k = made_up_array(elems, 1, dtype),
                        .v = made_up_array(elems, 2, dtype),
                        .d_out = made_up_array(elems, 3, dtype),
                        .out = a.out,
                        .logsumexp = a.logsumexp};
    size_t forward = ts_attend_kernels(dtype)->forward_scratch_bytes(&a.shape, threads);
    size_t backward = ts_attend_kernels(dtype)->backward_scratch_bytes(&a.shape, threads);
    a.scratch = ts_alloc(forward > backward ? forward : backward);
    return a;
}

static void attention_free(Attention *a)
{
    void *all[] = {(void *)a->in.q, (void *)a->in.k, (void *)a->in.v, (void *)a->in.d_out, a->out,
                   a->d_q,          a->d_k,          a->d_v,          a->scratch,          a->logsumexp};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ts_free(all[i]);
}

static void attend(void *context)
{
    Attention *a = context;
    ts_attend_kernels(a->dtype)->forward(a->out, a->logsumexp, &a->in, &a->shape, a->scratch, threads);
}

static void d_attend(void *context)
{
    Attention *a = context;
    ts_attend_kernels(a->dtype)->backward(a->d_q, a->d_k, a->d_v, NULL, &a->in, &a->shape, a->scratch, threads);
}

/* Element d of row i of head h of batch entry b. */
static double at(const Attention *a, const void *x, int64_t b, int64_t i, int64_t h, int64_t d)
{
    return element_of(x, ((b * a->shape.queries + i) * a->shape.heads + h) * WIDTH + d, a->dtype);
}

static double product_of_rows(const Attention *a, const void *x, int64_t i, const void *y, int64_t j, int64_t b,
                              int64_t h)
{
    double sum = 0;
    for (int64_t d = 0; d < WIDTH; d++)
        sum += at(a, x, b, i, h, d) * at(a, y, b, j, h, d);
    return sum;
}

/* One query against all keys that it sees, and what it brings to d_q: the whole row of both. */
static void check_query(const Attention *a, int64_t b, int64_t h, int64_t i, double tolerance)
{
    double *weight = ts_calloc((size_t)i + 1, sizeof *weight), total = 0, out[WIDTH] = {0}, d_q[WIDTH] = {0}, delta = 0;
    for (int64_t j = 0; j <= i; j++)
        total += weight[j] = exp(a->shape.scale * product_of_rows(a, a->in.q, i, a->in.k, j, b, h));
    expect_near("logsumexp", i, (double)a->logsumexp[(b * a->shape.queries + i) * a->shape.heads + h], log(total),
                tolerance);
    for (int64_t j = 0; j <= i; j++)
        for (int64_t d = 0; d < WIDTH; d++)
            out[d] += weight[j] / total * at(a, a->in.v, b, j, h, d);
    for (int64_t d = 0; d < WIDTH; d++)
        delta += out[d] * at(a, a->in.d_out, b, i, h, d);
    for (int64_t j = 0; j <= i; j++) {
        double d_score = weight[j] / total * (product_of_rows(a, a->in.d_out, i, a->in.v, j, b, h) - delta);
        for (int64_t d = 0; d < WIDTH; d++)
            d_q[d] += a->shape.scale * d_score * at(a, a->in.k, b, j, h, d);
    }
    for (int64_t d = 0; d < WIDTH; d++) {
        expect_near("attention", i, at(a, a->out, b, i, h, d), out[d], tolerance);
        expect_near("d_q", i, at(a, a->d_q, b, i, h, d), d_q[d], tolerance);
    }
    ts_free(weight);
}

/* One key against all queries that see it, with their logsumexp and delta as computed. */
static void check_key(const Attention *a, int64_t b, int64_t h, int64_t j, double tolerance)
{
    double d_k[WIDTH] = {0}, d_v[WIDTH] = {0};
    for (int64_t i = j; i < a->shape.queries; i++) {
        double logsumexp = (double)a->logsumexp[(b * a->shape.queries + i) * a->shape.heads + h];
        double weight = exp(a->shape.scale * product_of_rows(a, a->in.q, i, a->in.k, j, b, h) - logsumexp);
        double delta = product_of_rows(a, a->out, i, a->in.d_out, i, b, h);
        double d_score = weight * (product_of_rows(a, a->in.d_out, i, a->in.v, j, b, h) - delta);
        for (int64_t d = 0; d < WIDTH; d++) {
            d_k[d] += a->shape.scale * d_score * at(a, a->in.q, b, i, h, d);
            d_v[d] += weight * at(a, a->in.d_out, b, i, h, d);
        }
    }
    for (int64_t d = 0; d < WIDTH; d++) {
        expect_near("d_k", j, at(a, a->d_k, b, j, h, d), d_k[d], tolerance);
        expect_near("d_v", j, at(a, a->d_v, b, j, h, d), d_v[d], tolerance);
    }
}

static void check_attention(const Attention *a)
{
    double tolerance = a->dtype == TS_BF16 ? 0.03 : 1e-4;
    for (int s = 0; s < 8; s++) {
        int64_t b = s % a->shape.batch, h = (s * 5) % a->shape.heads, i = (a->shape.queries - 1) * s / 7;
        check_query(a, b, h, i, tolerance);
        check_key(a, b, h, i, tolerance);
    }
}

/* The rate that attention stands beside: a large product in f32, through the same door. */
static Run square_product(TsDtype dtype)
{
    enum { SIDE = 1536 };
    return (Run){.p = {"square", SIDE, SIDE, SIDE, false, false},
                 .dtype = dtype,
                 .a = made_up_array(SIDE * SIDE, 0, dtype),
                 .b = made_up_array(SIDE * SIDE, 1, dtype),
                 .c = made_up_array(SIDE * SIDE, 2, dtype)};
}

/* Flops below the diagonal, the diagonal counted: 2 products forward, 5 backward, each 2 * pairs * width. */
static double attention_flops(const Attention *a, int products_counted)
{
    double length = (double)a->shape.queries;
    return 2.0 * products_counted * length * (length + 1) / 2 * WIDTH * (double)(a->shape.heads * a->shape.batch);
}

static double beside_products(TsDtype dtype)
{
    Attention a = attention_create(BATCH, HEADS, LENGTH, dtype);
    Run square = square_product(dtype);
    prepare(&square);
    BenchAction action[] = {{attend, &a}, {d_attend, &a}, {ours, &square}};
    double median_s[3];
    bench_alternate(median_s, action, 3, 1);
    check_attention(&a);
    double rate = 2 * pow((double)square.p.m, 3) / median_s[2];
    double both = attention_flops(&a, 7) / (median_s[0] + median_s[1]);
    printf("  %-5s forward %.0f GFLOP/s, backward %.0f, both %.0f; matrix products %.0f   %.2f\n", ts_dtype_name(dtype),
           attention_flops(&a, 2) / median_s[0] / 1e9, attention_flops(&a, 5) / median_s[1] / 1e9, both / 1e9,
           rate / 1e9, both / rate);
    fflush(stdout);
    attention_free(&a);
    ts_free(square.ours.scratch);
    ts_free(square.a);
    ts_free(square.b);
    ts_free(square.c);
    return both / rate;
}

void bench_attention(void)
{
    printf("attention, %d entries of %d heads of %d, T %d, causal; flops below the diagonal, 2 products forward and 5 "
           "backward\n",
           BATCH, HEADS, WIDTH, LENGTH);
    double part = beside_products(TS_F32);
    beside_products(TS_BF16);
    bench_target("ops/attention", part);
}

/* Bytes of the arena of a Program that attends and differentiates, all operands and results in it. */
static double arena_of(int64_t length)
{
    TsGraph *graph = ts_graph_create();
    TsShape shape = ts_shape(1, length, HEADS, WIDTH);
    TsTensor in[3], gradient[3];
    static const char *const names[] = {"q", "k", "v", "d_q", "d_k", "d_v"};
    for (int i = 0; i < 3; i++)
        in[i] = ts_scale(ts_input(graph, names[i], TS_F32, shape, ts_replicated), 0.5);
    TsAttended attended = ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.causal = true});
    ts_gradients(gradient, ts_sum(ts_mul(attended.out, attended.out), -1, false), in, 3);
    for (int i = 0; i < 3; i++)
        ts_output(names[3 + i], ts_scale(gradient[i], 0.5), ts_replicated);
    TsProgram *program = NULL;
    TsStatus status = ts_program_compile(&program, graph, (TsCompileOptions){.threads = threads});
    TS_CHECK(!status, "attention over %lld: %s", (long long)length, ts_status_message(status));
    double bytes = (double)ts_program_arena_bytes(program);
    ts_program_free(&program);
    return bytes;
}

void bench_attention_memory(void)
{
    double least = arena_of(1024), most = 0;
    printf("attention's memory, %d heads of %d, forward and backward, a token:", HEADS, WIDTH);
    for (int64_t length = 1024; length <= 32768; length *= 2) {
        most = arena_of(length);
        printf(" T %lld %.2f KiB", (long long)length, most / (double)length / 1024);
    }
    Attention a = attention_create(1, 2, 32768, TS_F32);
    double start = bench_now_s();
    attend(&a);
    d_attend(&a);
    printf("\n  2 heads at T 32768: %.1f s\n", bench_now_s() - start);
    check_attention(&a);
    attention_free(&a);
    bench_target("ops/attention-memory", most / (32 * least));
}
