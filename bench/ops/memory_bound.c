/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that only move memory, beside the triad a = b + 3 c of McCalpin's STREAM with as many threads, in arrays far
 * larger than any cache. The triad is taken with ordinary and with non-temporal stores, and the faster one is the
 * limit. Bytes are the fewest possible: each operand once, each result once.
 */
#include <math.h>
#include <stdio.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "ops/ops.h"
#include "tensor/kernels/adamw.h"
#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/normalize.h"

enum { ROWS = 65536, COLUMNS = 768, CLASSES = 50257, CLASS_ROWS = 1024, SAMPLES = 64 };
static const int64_t ELEMS = (int64_t)ROWS * COLUMNS;

/* ---- the limit */

typedef struct Triad {
    float *a, *b, *c;
    int64_t count; /* a multiple of 16 for each thread */
} Triad;

static void triad(void *context)
{
    const Triad *t = context;
    float *a = t->a;
    const float *b = t->b, *c = t->c;
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < t->count; i++)
        a[i] = b[i] + 3 * c[i];
}

static void triad_streamed(void *context)
{
#ifdef __SSE2__
    const Triad *t = context;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < t->count; i += 16)
            for (int64_t j = i; j < i + 16; j += 4)
                _mm_stream_ps(t->a + j,
                              _mm_add_ps(_mm_load_ps(t->b + j), _mm_mul_ps(_mm_set1_ps(3), _mm_load_ps(t->c + j))));
        _mm_sfence();
    }
#else
    triad(context);
#endif
}

static Triad triad_create(void)
{
    int64_t count = (int64_t)1 << 25;
    return (Triad){made_up_array(count, 0, TS_F32), made_up_array(count, 1, TS_F32), made_up_array(count, 2, TS_F32),
                   count};
}

static void triad_free(Triad *t)
{
    for (int64_t i = 0; i < t->count; i += t->count / SAMPLES)
        expect_near("triad", i, (double)t->a[i], (double)t->b[i] + 3 * (double)t->c[i], 1e-6);
    ts_free(t->a);
    ts_free(t->b);
    ts_free(t->c);
}

/* Prints a row, and gives the kernel's bandwidth over the triad's. */
static double beside_triad(const char *name, void (*run)(void *context), void *context, double bytes)
{
    Triad t = triad_create();
    BenchAction action[] = {{run, context}, {triad, &t}, {triad_streamed, &t}};
    double median_s[3], limit = 12 * (double)t.count;
    bench_alternate(median_s, action, 3, 1);
    triad_free(&t);
    limit /= fmin(median_s[1], median_s[2]);
    double rate = bytes / median_s[0];
    printf("  %-28s %6.1f GB/s   triad %6.1f, streamed %6.1f   %.2f\n", name, rate / 1e9,
           12e-9 * (double)t.count / median_s[1], 12e-9 * (double)t.count / median_s[2], rate / limit);
    fflush(stdout);
    return rate / limit;
}

/* What a pass forward that moves `forward_bytes` and one backward come to together. */
static double together(double forward, double forward_bytes, double backward, double backward_bytes)
{
    return (forward_bytes + backward_bytes) / (forward_bytes / forward + backward_bytes / backward);
}

static int64_t sampled_row(int sample, int64_t rows)
{
    return (int64_t)sample * (rows - 1) / (SAMPLES - 1);
}

/* ---- norms */

typedef struct Norm {
    void *x, *d_out, *out, *scale, *bias, *d_scale, *d_bias, *scratch;
    TsNormalizeRows shape;
    TsDtype dtype;
} Norm;

static void norm_forward(void *context)
{
    Norm *n = context;
    ts_normalize_kernels(n->dtype)->forward(n->out, n->x, n->scale, n->bias, n->shape, threads);
}

static void norm_backward(void *context)
{
    Norm *n = context;
    ts_normalize_kernels(n->dtype)->backward(n->out, n->d_scale, n->d_bias, n->x, n->scale, n->d_out, n->shape,
                                             n->scratch, threads);
}

/* mean, 1 / standard deviation, and with d_out the means of g and of g x-hat. */
typedef struct Moments {
    double mean, inverse, g, product;
} Moments;

static Moments moments_of(const Norm *n, int64_t row)
{
    Moments m = {0};
    double squares = 0;
    for (int64_t c = 0; c < COLUMNS && !n->shape.rms; c++)
        m.mean += element_of(n->x, row * COLUMNS + c, n->dtype) / COLUMNS;
    for (int64_t c = 0; c < COLUMNS; c++)
        squares += pow(element_of(n->x, row * COLUMNS + c, n->dtype) - m.mean, 2) / COLUMNS;
    m.inverse = 1 / sqrt(squares + n->shape.epsilon);
    for (int64_t c = 0; c < COLUMNS; c++) {
        double g = element_of(n->d_out, row * COLUMNS + c, n->dtype) * element_of(n->scale, c, TS_F32);
        m.g += n->shape.rms ? 0 : g / COLUMNS;
        m.product += g * (element_of(n->x, row * COLUMNS + c, n->dtype) - m.mean) * m.inverse / COLUMNS;
    }
    return m;
}

static void check_norm(const Norm *n, bool backward)
{
    double tolerance = n->dtype == TS_BF16 ? 0.01 : 1e-5;
    for (int s = 0; s < SAMPLES; s++) {
        int64_t row = sampled_row(s, ROWS);
        Moments m = moments_of(n, row);
        for (int64_t c = 0; c < COLUMNS; c++) {
            int64_t at = row * COLUMNS + c;
            double hat = (element_of(n->x, at, n->dtype) - m.mean) * m.inverse, scale = element_of(n->scale, c, TS_F32);
            double g = element_of(n->d_out, at, n->dtype) * scale;
            double bias = n->bias ? element_of(n->bias, c, TS_F32) : 0;
            expect_near("norm", at, element_of(n->out, at, n->dtype),
                        backward ? m.inverse * (g - m.g - hat * m.product) : hat * scale + bias, tolerance);
        }
    }
    for (int64_t c = 0; backward && c < COLUMNS; c += COLUMNS / 4) { /* one column of the sums over all rows */
        double sum = 0, size = 0;
        for (int64_t row = 0; row < ROWS; row++) {
            double d = element_of(n->d_out, row * COLUMNS + c, n->dtype);
            sum += d;
            size += fabs(d);
        }
        TS_CHECK(fabs(element_of(n->d_bias, c, TS_F32) - sum) < 1e-5 * size + (n->dtype == TS_BF16) * 0.01 * fabs(sum),
                 "d_bias[%lld] is %g, expected %g", (long long)c, element_of(n->d_bias, c, TS_F32), sum);
    }
}

static double norm_pair(const char *name, bool rms, TsDtype dtype)
{
    char text[64];
    double size = (double)ts_dtype_bytes(dtype) * (double)ELEMS;
    Norm n = {.x = made_up_array(ELEMS, 0, dtype),
              .d_out = made_up_array(ELEMS, 1, dtype),
              .out = made_up_array(ELEMS, 2, dtype),
              .scale = made_up_array(COLUMNS, 3, TS_F32),
              .bias = rms ? NULL : made_up_array(COLUMNS, 4, TS_F32),
              .d_scale = made_up_array(COLUMNS, 5, TS_F32),
              .d_bias = made_up_array(COLUMNS, 6, TS_F32),
              .scratch = ts_alloc(ts_normalize_scratch_bytes(ROWS, COLUMNS, dtype)),
              .shape = {.rows = ROWS, .columns = COLUMNS, .epsilon = 1e-5, .rms = rms},
              .dtype = dtype};
    snprintf(text, sizeof text, "%s %s forward", name, ts_dtype_name(dtype));
    double forward = beside_triad(text, norm_forward, &n, 2 * size);
    check_norm(&n, false);
    snprintf(text, sizeof text, "%s %s backward", name, ts_dtype_name(dtype));
    double backward = beside_triad(text, norm_backward, &n, 3 * size);
    check_norm(&n, true);
    void *all[] = {n.x, n.d_out, n.out, n.scale, n.bias, n.d_scale, n.d_bias, n.scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ts_free(all[i]);
    return fmin(forward, backward);
}

void bench_norm(void)
{
    printf("norms of (%d, %d)\n", ROWS, COLUMNS);
    double lowest = fmin(norm_pair("layer norm", false, TS_F32), norm_pair("RMS norm", true, TS_F32));
    norm_pair("layer norm", false, TS_BF16);
    bench_target("ops/norm", lowest);
}

/* ---- elementwise */

typedef struct Elementwise {
    void *a, *b, *out;
    TsDtype dtype;
    int kernel;
} Elementwise;

static void run_unary(void *context)
{
    Elementwise *e = context;
    ts_elementwise_kernels(e->dtype)->unary((TsUnary)e->kernel, e->out, e->a, ELEMS, 0, threads);
}

static void run_binary(void *context)
{
    Elementwise *e = context;
    TsBroadcast plan = {.dims = 1, .size = {ELEMS}, .step_a = {1}, .step_b = {1}};
    ts_elementwise_kernels(e->dtype)->binary((TsBinary)e->kernel, e->out, e->a, e->b, &plan, threads);
}

static double phi(double x)
{
    return 0.5 * (1 + erf(x * M_SQRT1_2));
}

static double inner_tanh(double x)
{
    return tanh(sqrt(M_2_PI) * (x + 0.044715 * x * x * x));
}

static double wanted_gelu(double x, double unused)
{
    (void)unused;
    return x * phi(x);
}

static double wanted_gelu_tanh(double x, double unused)
{
    (void)unused;
    return 0.5 * x * (1 + inner_tanh(x));
}

static double wanted_d_gelu(double x, double d)
{
    return d * (phi(x) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI));
}

static double wanted_d_gelu_tanh(double x, double d)
{
    double t = inner_tanh(x), inner = sqrt(M_2_PI) * (1 + 3 * 0.044715 * x * x);
    return 0.5 * d * (1 + t + x * (1 - t * t) * inner);
}

static double wanted_add(double a, double b)
{
    return a + b;
}

static double elementwise(const char *name, int kernel, int operands, TsDtype dtype, double (*wanted)(double, double))
{
    char text[64];
    Elementwise e = {.a = made_up_array(ELEMS, 0, dtype),
                     .b = operands > 1 ? made_up_array(ELEMS, 1, dtype) : NULL,
                     .out = made_up_array(ELEMS, 2, dtype),
                     .dtype = dtype,
                     .kernel = kernel};
    snprintf(text, sizeof text, "%s %s", name, ts_dtype_name(dtype));
    double part = beside_triad(text, operands > 1 ? run_binary : run_unary, &e,
                               (operands + 1) * (double)ELEMS * (double)ts_dtype_bytes(dtype));
    for (int64_t i = 0; i < ELEMS; i += 997)
        expect_near(name, i, element_of(e.out, i, dtype),
                    wanted(element_of(e.a, i, dtype), operands > 1 ? element_of(e.b, i, dtype) : 0),
                    dtype == TS_BF16 ? 0.005 : 1e-6);
    ts_free(e.a);
    ts_free(e.b);
    ts_free(e.out);
    return part;
}

void bench_gelu(void)
{
    printf("GELU and its gradient, %lld elements\n", (long long)ELEMS);
    double part[] = {
        elementwise("gelu", TS_UNARY_GELU, 1, TS_F32, wanted_gelu),
        elementwise("gelu_tanh", TS_UNARY_GELU_TANH, 1, TS_F32, wanted_gelu_tanh),
        elementwise("d_gelu", TS_BINARY_D_GELU, 2, TS_F32, wanted_d_gelu),
        elementwise("d_gelu_tanh", TS_BINARY_D_GELU_TANH, 2, TS_F32, wanted_d_gelu_tanh),
    };
    elementwise("gelu", TS_UNARY_GELU, 1, TS_BF16, wanted_gelu);
    elementwise("d_gelu", TS_BINARY_D_GELU, 2, TS_BF16, wanted_d_gelu);
    bench_target("ops/gelu", fmin(fmin(part[0], part[1]), fmin(part[2], part[3])));
}

void bench_residual(void)
{
    printf("residual addition, %lld elements\n", (long long)ELEMS);
    double part = elementwise("add", TS_BINARY_ADD, 2, TS_F32, wanted_add);
    elementwise("add", TS_BINARY_ADD, 2, TS_BF16, wanted_add);
    bench_target("ops/residual", part);
}

/* ---- cross-entropy */

typedef struct CrossEntropy {
    void *logits, *maxima;
    float *loss, *d_loss, *sums, *d_sums;
    int32_t *labels;
    TsCrossEntropyRows shape;
    TsDtype dtype;
} CrossEntropy;

static void cross_entropy_forward(void *context)
{
    CrossEntropy *e = context;
    const TsCrossEntropyKernels *kernels = ts_cross_entropy_kernels(e->dtype);
    kernels->rows(e->sums, e->maxima, e->logits, &e->shape, threads);
    kernels->loss(e->loss, e->sums, e->maxima, &e->shape);
}

/* In place, as in a step: the logits of every call after the first are the gradient of the call before. */
static void cross_entropy_backward(void *context)
{
    CrossEntropy *e = context;
    const TsCrossEntropyKernels *kernels = ts_cross_entropy_kernels(e->dtype);
    kernels->d_sums(e->d_sums, e->sums, e->maxima, e->d_loss, &e->shape);
    kernels->backward(e->logits, e->logits, e->maxima, e->d_sums, &e->shape, threads);
}

static double logsumexp_of_made_up(int64_t row, TsDtype dtype, double *at_label, int32_t label)
{
    double sum = 0;
    for (int64_t c = 0; c < CLASSES; c++) {
        float value = made_up(row * CLASSES + c, 0);
        double x = dtype == TS_BF16 ? (double)ts_bf16_to_f32(ts_bf16_from_f32(value)) : (double)value;
        sum += exp(x);
        *at_label = c == label ? x : *at_label;
    }
    return log(sum);
}

static void check_cross_entropy(CrossEntropy *e)
{
    double tolerance = e->dtype == TS_BF16 ? 0.005 : 1e-5;
    cross_entropy_forward(e);
    cross_entropy_backward(e);
    for (int s = 0; s < 8; s++) {
        int64_t row = sampled_row(s, CLASS_ROWS);
        double at_label = 0, normalizer = logsumexp_of_made_up(row, e->dtype, &at_label, e->labels[row]);
        expect_near("cross-entropy", row, (double)e->loss[row], normalizer - at_label, 1e-5);
        for (int64_t c = 0; c < CLASSES; c++) {
            float value = made_up(row * CLASSES + c, 0);
            double x = e->dtype == TS_BF16 ? (double)ts_bf16_to_f32(ts_bf16_from_f32(value)) : (double)value;
            double wanted = (exp(x - normalizer) - (c == e->labels[row])) * (double)e->d_loss[row];
            TS_CHECK(fabs(element_of(e->logits, row * CLASSES + c, e->dtype) - wanted) <=
                         tolerance * fabs(wanted) + 1e-9,
                     "d_logits of row %lld, class %lld: %g, expected %g", (long long)row, (long long)c,
                     element_of(e->logits, row * CLASSES + c, e->dtype), wanted);
        }
    }
}

static double cross_entropy_pair(TsDtype dtype)
{
    char text[64];
    int64_t elems = (int64_t)CLASS_ROWS * CLASSES;
    double size = (double)elems * (double)ts_dtype_bytes(dtype);
    CrossEntropy e = {.logits = made_up_array(elems, 0, dtype),
                      .maxima = ts_calloc(CLASS_ROWS, sizeof(float)),
                      .loss = ts_calloc(CLASS_ROWS, sizeof(float)),
                      .sums = ts_calloc(CLASS_ROWS * TS_CROSS_ENTROPY_SUMS, sizeof(float)),
                      .d_sums = ts_calloc(CLASS_ROWS * TS_CROSS_ENTROPY_SUMS, sizeof(float)),
                      .d_loss = ts_calloc(CLASS_ROWS, sizeof(float)),
                      .labels = ts_calloc(CLASS_ROWS, sizeof(int32_t)),
                      .shape = {.rows = CLASS_ROWS, .classes = CLASSES, .whole_classes = CLASSES, .ignore = -1},
                      .dtype = dtype};
    for (int r = 0; r < CLASS_ROWS; r++) {
        e.labels[r] = (int32_t)((int64_t)r * 7919 % CLASSES);
        e.d_loss[r] = 1.0f / CLASS_ROWS;
    }
    e.shape.labels = e.labels;
    snprintf(text, sizeof text, "cross-entropy %s forward", ts_dtype_name(dtype));
    double forward = beside_triad(text, cross_entropy_forward, &e, size);
    snprintf(text, sizeof text, "cross-entropy %s backward", ts_dtype_name(dtype));
    double backward = beside_triad(text, cross_entropy_backward, &e, 2 * size);
    ts_free(e.logits);
    e.logits = made_up_array(elems, 0, dtype);
    check_cross_entropy(&e);
    void *all[] = {e.logits, e.maxima, e.loss, e.d_loss, e.sums, e.d_sums, e.labels};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ts_free(all[i]);
    return together(forward, size, backward, 2 * size);
}

void bench_cross_entropy(void)
{
    printf("softmax and cross-entropy of (%d, %d), the gradient in place of the logits\n", CLASS_ROWS, CLASSES);
    double lowest = cross_entropy_pair(TS_F32);
    cross_entropy_pair(TS_BF16);
    bench_target("ops/cross-entropy", lowest);
}

/* ---- AdamW */

typedef struct Adamw {
    float *parameter, *mean, *variance, *gradient;
    int64_t count;
} Adamw;

static const TsAdamwStep adamw_step = {
    .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .decay = 0.1, .rate = 1e-3, .factor = 0.5, .step = 3};

static void run_adamw(void *context)
{
    Adamw *a = context;
    ts_adamw_kernels(TS_F32)->step(a->parameter, a->mean, a->variance, a->parameter, a->mean, a->variance, a->gradient,
                                   a->count, adamw_step, threads);
}

static void fill_adamw(Adamw *a)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < a->count; i++) {
        a->parameter[i] = made_up(i, 0);
        a->mean[i] = made_up(i, 1);
        a->variance[i] = fabsf(made_up(i, 2));
        a->gradient[i] = made_up(i, 3);
    }
}

static void check_adamw(Adamw *a)
{
    const TsAdamwStep s = adamw_step;
    fill_adamw(a);
    run_adamw(a);
    for (int64_t i = 0; i < a->count; i += 9973) {
        double g = (double)made_up(i, 3) * s.factor;
        double mean = s.beta1 * (double)made_up(i, 1) + (1 - s.beta1) * g;
        double variance = s.beta2 * fabs((double)made_up(i, 2)) + (1 - s.beta2) * g * g;
        double hat = mean / (1 - pow(s.beta1, 3)), root = sqrt(variance / (1 - pow(s.beta2, 3)));
        expect_near("adamw: mean", i, (double)a->mean[i], mean, 1e-6);
        expect_near("adamw: variance", i, (double)a->variance[i], variance, 1e-6);
        expect_near("adamw", i, (double)a->parameter[i],
                    (double)made_up(i, 0) * (1 - s.rate * s.decay) - s.rate * hat / (root + s.epsilon), 1e-6);
    }
}

void bench_adamw(void)
{
    const int64_t count = 124439808; /* GPT-2's */
    size_t size = (size_t)count * sizeof(float);
    Adamw a = {ts_alloc(size), ts_alloc(size), ts_alloc(size), ts_alloc(size), count};
    printf("AdamW over %lld parameters, in place: 4 arrays read, 3 written\n", (long long)count);
    fill_adamw(&a);
    double part = beside_triad("adamw f32", run_adamw, &a, 7 * (double)size);
    check_adamw(&a);
    ts_free(a.parameter);
    ts_free(a.mean);
    ts_free(a.variance);
    ts_free(a.gradient);
    bench_target("ops/adamw", part);
}
