/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/variants/real_math.h"

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/variants/stream.h"

/* Pieces of work are whole multiples of GRAIN, so that an element is in the same place of a vector whatever the
 * threads. A strip is computed at once, while the one AHEAD elements on is on its way. */
enum { GRAIN = 4096, STRIP = 128, AHEAD = 1024 };

#define SQRT_TWO_BY_PI  ((Real)0.79788456080286535588)
#define INV_SQRT_TWO_PI ((Real)0.39894228040143267794)
#define GELU_CUBIC      ((Real)0.044715)

static inline Real silu(Real x)
{
    return x * real_sigmoid(x);
}

static inline Real gelu(Real x)
{
    return x * real_normal_cdf(x);
}

static inline Real gelu_tanh(Real x)
{
    return x * real_sigmoid(2 * SQRT_TWO_BY_PI * (x + GELU_CUBIC * x * x * x)); /* (1 + tanh u) / 2 */
}

static inline Real d_silu(Real x, Real d)
{
    Real s = real_sigmoid(x);
    return d * s * (1 + x * (1 - s));
}

static inline Real d_gelu(Real x, Real d)
{
    Real density = INV_SQRT_TWO_PI * real_exp_below((Real)-0.5 * x * x);
    return d * (real_normal_cdf(x) + x * density);
}

static inline Real d_gelu_tanh(Real x, Real d)
{
    Real u = 2 * SQRT_TWO_BY_PI * (x + GELU_CUBIC * x * x * x), e = real_exp_below(-real_abs(u)), inverse = 1 / (1 + e);
    Real inner = 2 * SQRT_TWO_BY_PI * (1 + 3 * GELU_CUBIC * x * x);
    return d * ((u >= 0 ? 1 : e) * inverse + x * inner * e * inverse * inverse);
}

static inline Real maximum(Real a, Real b)
{
    return a > b || a != a ? a : b;
}

static inline Real minimum(Real a, Real b)
{
    return a < b || a != a ? a : b;
}

static inline Real above(Real a, Real b)
{
    return a > b ? 1 : a == b ? (Real)0.5 : 0;
}

#define UNARY_CASE(op, expression)                                                                                     \
    case op:                                                                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < count; i++)                                                        \
        {                                                                                                              \
            Real x = load(in[i]);                                                                                      \
            out[i] = store(expression);                                                                                \
        }                                                                                                              \
        break;

static void unary_piece(TsUnary op, Stored *out, const Stored *in, int64_t count, Real parameter)
{
    switch (op) {
        UNARY_CASE(TS_UNARY_SCALE, x * parameter)
        UNARY_CASE(TS_UNARY_SHIFT, x + parameter)
        UNARY_CASE(TS_UNARY_EXP, real_exp(x))
        UNARY_CASE(TS_UNARY_LOG, real_log(x))
        UNARY_CASE(TS_UNARY_SQRT, real_sqrt(x))
        UNARY_CASE(TS_UNARY_TANH, real_tanh(x))
        UNARY_CASE(TS_UNARY_SIGMOID, real_sigmoid(x))
        UNARY_CASE(TS_UNARY_RELU, x > 0 || x != x ? x : 0)
        UNARY_CASE(TS_UNARY_SILU, silu(x))
        UNARY_CASE(TS_UNARY_GELU, gelu(x))
        UNARY_CASE(TS_UNARY_GELU_TANH, gelu_tanh(x))
    }
}

static void unary(TsUnary op, void *out, const void *x, int64_t count, double parameter, int threads)
{
    int64_t grains = (count + GRAIN - 1) / GRAIN;
    bool streamed = out != x && worth_streaming(2 * count);
    threads = threads_worth(threads, count);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int64_t grain = 0; grain < grains; grain++) {
            int64_t first = grain * GRAIN, last = smaller(count, first + GRAIN);
            _Alignas(64) Stored staged[STRIP];
            for (; first < last; first += STRIP) {
                Stored *to = (Stored *)out + first;
                int64_t elems = smaller(STRIP, last - first);
                fetch((const Stored *)x + first + AHEAD, STRIP);
                unary_piece(op, streamed ? staged : to, (const Stored *)x + first, elems, (Real)parameter);
                if (streamed)
                    stream(to, staged, elems);
            }
        }
        stream_end();
    }
}

/* One row: an operand whose step is 0 is one value throughout. */
#define ROW_LOOP(a_value, b_value, expression)                                                                         \
    _Pragma("omp simd") for (int64_t i = 0; i < count; i++)                                                            \
    {                                                                                                                  \
        Real a = a_value, b = b_value;                                                                                 \
        out[i] = store(expression);                                                                                    \
    }

#define BINARY_CASE(op, expression)                                                                                    \
    case op:                                                                                                           \
        if (step_a && step_b) {                                                                                        \
            ROW_LOOP(load(in_a[i]), load(in_b[i]), expression)                                                         \
        } else if (step_a) {                                                                                           \
            Real whole_b = load(*in_b);                                                                                \
            ROW_LOOP(load(in_a[i]), whole_b, expression)                                                               \
        } else {                                                                                                       \
            Real whole_a = load(*in_a);                                                                                \
            ROW_LOOP(whole_a, load(in_b[i * step_b]), expression)                                                      \
        }                                                                                                              \
        break;

static void binary_row(TsBinary op, Stored *out, const Stored *in_a, const Stored *in_b, int64_t count, int64_t step_a,
                       int64_t step_b)
{
    switch (op) {
        BINARY_CASE(TS_BINARY_ADD, a + b)
        BINARY_CASE(TS_BINARY_SUB, a - b)
        BINARY_CASE(TS_BINARY_MUL, a * b)
        BINARY_CASE(TS_BINARY_DIV, a / b)
        BINARY_CASE(TS_BINARY_MAXIMUM, maximum(a, b))
        BINARY_CASE(TS_BINARY_MINIMUM, minimum(a, b))
        BINARY_CASE(TS_BINARY_EQUAL, a == b ? 1 : 0)
        BINARY_CASE(TS_BINARY_ABOVE, above(a, b))
        BINARY_CASE(TS_BINARY_D_TANH, b * (1 - a * a))
        BINARY_CASE(TS_BINARY_D_SIGMOID, b * a * (1 - a))
        BINARY_CASE(TS_BINARY_D_SQRT, b / (2 * a))
        BINARY_CASE(TS_BINARY_D_RELU, a > 0 ? b : 0)
        BINARY_CASE(TS_BINARY_D_SILU, d_silu(a, b))
        BINARY_CASE(TS_BINARY_D_GELU, d_gelu(a, b))
        BINARY_CASE(TS_BINARY_D_GELU_TANH, d_gelu_tanh(a, b))
    }
}

/* Elements [first, last) of the output, in row-major order; out is where `first` goes. */
static void binary_piece(TsBinary op, Stored *out, const Stored *a, const Stored *b, const TsBroadcast *plan,
                         int64_t first, int64_t last)
{
    int inner = plan->dims - 1;
    while (first < last) {
        int64_t index = first / plan->size[inner], column = first % plan->size[inner];
        int64_t count = smaller(last - first, plan->size[inner] - column);
        int64_t at_a = column * plan->step_a[inner], at_b = column * plan->step_b[inner];
        for (int d = inner - 1; d >= 0; d--) {
            int64_t position = index % plan->size[d];
            index /= plan->size[d];
            at_a += position * plan->step_a[d];
            at_b += position * plan->step_b[d];
        }
        binary_row(op, out, a + at_a, b + at_b, count, plan->step_a[inner], plan->step_b[inner]);
        out += count;
        first += count;
    }
}

static void binary(TsBinary op, void *out, const void *a, const void *b, const TsBroadcast *plan, int threads)
{
    int64_t count = 1;
    for (int d = 0; d < plan->dims; d++)
        count *= plan->size[d];
    int64_t grains = (count + GRAIN - 1) / GRAIN;
    bool fetched = op >= TS_BINARY_D_TANH && plan->dims == 1; /* one that computes much */
    bool streamed = out != a && out != b && worth_streaming(3 * count);
    threads = threads_worth(threads, count);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static) nowait
        for (int64_t grain = 0; grain < grains; grain++) {
            int64_t first = grain * GRAIN, last = smaller(count, first + GRAIN),
                    step = streamed || fetched ? STRIP : GRAIN;
            _Alignas(64) Stored staged[STRIP];
            for (; first < last; first += step) {
                Stored *to = (Stored *)out + first;
                int64_t elems = smaller(step, last - first);
                if (fetched) {
                    fetch((const Stored *)a + first + AHEAD, STRIP);
                    fetch((const Stored *)b + first + AHEAD, STRIP);
                }
                binary_piece(op, streamed ? staged : to, a, b, plan, first, first + elems);
                if (streamed)
                    stream(to, staged, elems);
            }
        }
        stream_end();
    }
}

/* ---- runs ---- */

static void unary_run(TsUnary op, void *out, const void *x, int64_t count, double parameter)
{
    unary_piece(op, out, x, count, (Real)parameter);
}

static void copy_run(void *out, const void *x, int64_t count, int64_t step)
{
    Stored *to = out;
    const Stored first = *(const Stored *)x;
    if (step && out != x)
        memcpy(out, x, (size_t)count * sizeof *to);
    else if (!step)
        for (int64_t i = 0; i < count; i++)
            to[i] = first;
}

static void spread_run(TsUnary op, void *out, const void *x, int64_t count, double parameter)
{
    unary_piece(op, out, x, 1, (Real)parameter);
    copy_run(out, out, count, 0);
}

static void binary_run(TsBinary op, void *out, const void *a, const void *b, int64_t count, int64_t step_a,
                       int64_t step_b)
{
    binary_row(op, out, a, b, count, step_a, step_b);
}

static void widen(void *out, const void *x, int64_t count)
{
    Real *to = out;
    const Stored *from = x;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        to[i] = load(from[i]);
}

static void narrow_run(void *out, const void *x, int64_t count, int64_t step)
{
    Stored *to = out;
    const Real *from = x;
    if (step) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = store(from[i]);
    } else {
        const Stored value = store(*from);
        for (int64_t i = 0; i < count; i++)
            to[i] = value;
    }
}

static void round_run(void *x, int64_t count)
{
    Real *value = x;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        value[i] = load(store(value[i]));
}

const TsElementwiseKernels TS_TABLE(ts_elementwise_kernels) = {
    .unary = unary,
    .binary = binary,
    .unary_run = unary_run,
    .spread_run = spread_run,
    .binary_run = binary_run,
    .copy_run = copy_run,
    .widen = widen,
    .narrow_run = narrow_run,
    .round_run = round_run,
};
