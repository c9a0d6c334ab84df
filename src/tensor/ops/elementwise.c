/* SPDX-License-Identifier: Apache-2.0
 *
 * Ops of two operands, element by element, broadcast as NumPy does: dims are matched from the last, and a size of 1
 * goes with any.
 */
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/fused.h"
#include "tensor/ops/binary.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t kernel; /* TsBinary */
} Attributes;

static TsStatus infer(TsInference *inference)
{
    TS_TRY(ts_op_same_float(inference));
    TsShape a = inference->in_shape[0], b = inference->in_shape[1];
    TsShape out = a.dims >= b.dims ? a : b, other = a.dims >= b.dims ? b : a;
    int missing = out.dims - other.dims;
    for (int d = missing; d < out.dims; d++) {
        int64_t mine = out.size[d], its = other.size[d - missing];
        if (mine != its && mine != 1 && its != 1)
            return ts_status_error(TS_CODE_INVALID, "%s does not go with %s, element by element", ts_shape_text(a).text,
                                   ts_shape_text(b).text);
        out.size[d] = mine == 1 ? its : mine;
    }
    inference->out_shape[0] = out;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_as(TsPlaceRule *rule, const TsNodeView *node, TsLinearity linearity)
{
    TsShape out = node->out_shape[0];
    for (int d = 0; d < out.dims; d++)
        rule->out_label[0][d] = (int8_t)(d + 1);
    for (int i = 0; i < 2; i++) {
        TsShape in = node->in_shape[i];
        for (int d = 0; d < in.dims; d++)
            if (in.size[d] == out.size[d + out.dims - in.dims])
                rule->in_label[i][d] = (int8_t)(d + out.dims - in.dims + 1);
    }
    rule->linearity = linearity;
}

static void place_jointly(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_LINEAR_JOINT);
}

static void place_each(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_LINEAR_EACH);
}

static void place_first(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_LINEAR_FIRST);
}

static void place_whole_values(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_LINEAR_NONE);
}

static void forward(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *a = &call->in[0], *b = &call->in[1], *out = &call->out[0];
    if (ts_shape_elems(out->shape) == 0)
        return;
    TsBroadcast plan = ts_broadcast_plan(out->shape, out->global, a->shape, a->global, b->shape, b->global);
    ts_elementwise_kernels(out->dtype)
        ->binary((TsBinary)attributes->kernel, out->data, a->data, b->data, &plan, call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = (double)ts_shape_elems(node->out_shape[0])};
}

static void fuse(TsFusedStep *step, const TsNodeView *node)
{
    step->kind = TS_FUSED_BINARY;
    step->kernel = (int8_t)((const Attributes *)node->attributes)->kernel;
}

static void give(TsGradientCall *call, int input, TsTensor d)
{
    if (call->needs[input])
        call->d_in[input] = ts_op_unbroadcast(d, ts_shape_of_tensor(call->in[input]));
}

static void gradient_add(TsGradientCall *call)
{
    give(call, 0, call->d_out[0]);
    give(call, 1, call->d_out[0]);
}

static void gradient_sub(TsGradientCall *call)
{
    give(call, 0, call->d_out[0]);
    if (call->needs[1])
        give(call, 1, ts_scale(call->d_out[0], -1));
}

static void gradient_mul(TsGradientCall *call)
{
    for (int i = 0; i < 2; i++)
        if (call->needs[i])
            give(call, i, ts_mul(call->d_out[0], call->in[1 - i]));
}

static void gradient_div(TsGradientCall *call)
{
    TsTensor by_b = ts_div(call->d_out[0], call->in[1]);
    give(call, 0, by_b);
    if (call->needs[1])
        give(call, 1, ts_scale(ts_mul(by_b, call->out[0]), -1));
}

/* To whichever operand was taken; half to each where they are equal. */
static void gradient_maximum(TsGradientCall *call)
{
    for (int i = 0; i < 2; i++)
        if (call->needs[i])
            give(call, i,
                 ts_mul(call->d_out[0], ts_op_binary(&ts_op_above, TS_BINARY_ABOVE, call->in[i], call->in[1 - i])));
}

static void gradient_minimum(TsGradientCall *call)
{
    for (int i = 0; i < 2; i++)
        if (call->needs[i])
            give(call, i,
                 ts_mul(call->d_out[0], ts_op_binary(&ts_op_above, TS_BINARY_ABOVE, call->in[1 - i], call->in[i])));
}

#define ROW(NAME, PLACE, GRADIENT, FLAGS)                                                                              \
    {                                                                                                                  \
        .name = NAME, .attributes_bytes = sizeof(Attributes), .outputs = 1,                                            \
        .flags = TS_OP_IN_PLACE | TS_OP_IN_PLACE_ANY | (FLAGS), .infer = infer, .place = PLACE, .forward = forward,    \
        .gradient = GRADIENT, .cost = cost, .fuse = fuse,                                                              \
    }

const TsOp ts_op_add = ROW("add", place_jointly, gradient_add, 0);
const TsOp ts_op_sub = ROW("sub", place_jointly, gradient_sub, 0);
const TsOp ts_op_mul = ROW("mul", place_each, gradient_mul, 0);
const TsOp ts_op_div = ROW("div", place_first, gradient_div, 0);
const TsOp ts_op_maximum = ROW("maximum", place_whole_values, gradient_maximum, 0);
const TsOp ts_op_minimum = ROW("minimum", place_whole_values, gradient_minimum, 0);
const TsOp ts_op_equal = ROW("equal", place_whole_values, NULL, TS_OP_NO_GRADIENT);
const TsOp ts_op_above = ROW("above", place_whole_values, NULL, TS_OP_NO_GRADIENT);

/* ---- activations' gradients: f'(x) d of x, or of y = f(x), and of d ---- */

/* They are linear in d: along it their gradient is themselves. Along x it is f''(x) d g. */
static void give_second(TsGradientCall *call, const TsOp *op, TsBinary kernel, TsTensor second)
{
    TsTensor g = call->d_out[0];
    if (call->needs[0] && second.graph)
        give(call, 0, ts_mul(second, ts_mul(call->in[1], g)));
    if (call->needs[1])
        give(call, 1, ts_op_binary(op, kernel, call->in[0], g));
}

static TsTensor one_less_square(TsTensor x)
{
    return ts_shift(ts_scale(ts_mul(x, x), -1), 1);
}

/* (1 - y^2) d */
static void gradient_d_tanh(TsGradientCall *call)
{
    give_second(call, &ts_op_d_tanh, TS_BINARY_D_TANH, ts_scale(call->in[0], -2));
}

/* y (1 - y) d */
static void gradient_d_sigmoid(TsGradientCall *call)
{
    give_second(call, &ts_op_d_sigmoid, TS_BINARY_D_SIGMOID, ts_shift(ts_scale(call->in[0], -2), 1));
}

/* d / (2 y) */
static void gradient_d_sqrt(TsGradientCall *call)
{
    TsTensor y = call->in[0], half = ts_constant(y.graph, ts_dtype_of(y), ts_scalar, -0.5);
    give_second(call, &ts_op_d_sqrt, TS_BINARY_D_SQRT, ts_div(half, ts_mul(y, y)));
}

static void gradient_d_relu(TsGradientCall *call)
{
    give_second(call, &ts_op_d_relu, TS_BINARY_D_RELU, ts_scale(call->in[0], 0));
}

/* With s = sigmoid(x): f = x s, f'' = s (1 - s) (2 + x (1 - 2 s)). */
static void gradient_d_silu(TsGradientCall *call)
{
    TsTensor x = call->in[0], s = ts_sigmoid(x);
    TsTensor slope = ts_mul(s, ts_shift(ts_scale(s, -1), 1));
    TsTensor rest = ts_shift(ts_mul(x, ts_shift(ts_scale(s, -2), 1)), 2);
    give_second(call, &ts_op_d_silu, TS_BINARY_D_SILU, ts_mul(slope, rest));
}

/* f'' = (2 - x^2) exp(-x^2 / 2) / sqrt(2 pi) */
static void gradient_d_gelu(TsGradientCall *call)
{
    TsTensor square = ts_mul(call->in[0], call->in[0]);
    TsTensor density = ts_scale(ts_exp(ts_scale(square, -0.5)), 0.39894228040143267794);
    give_second(call, &ts_op_d_gelu, TS_BINARY_D_GELU, ts_mul(ts_shift(ts_scale(square, -1), 2), density));
}

/* With u = a (x + c x^3), t = tanh(u), q = 1 - t^2: f = x (1 + t) / 2, f'' = q (u' + x u'' / 2 - x t u'^2). */
static void gradient_d_gelu_tanh(TsGradientCall *call)
{
    const double a = 0.79788456080286535588, c = 0.044715;
    TsTensor x = call->in[0], square = ts_mul(x, x);
    TsTensor t = ts_tanh(ts_scale(ts_mul(x, ts_shift(ts_scale(square, c), 1)), a));
    TsTensor slope = ts_scale(ts_shift(ts_scale(square, 3 * c), 1), a); /* u'; x u'' / 2 = 3 a c x^2 */
    TsTensor bend = ts_sub(ts_scale(square, 3 * a * c), ts_mul(ts_mul(x, t), ts_mul(slope, slope)));
    give_second(call, &ts_op_d_gelu_tanh, TS_BINARY_D_GELU_TANH, ts_mul(one_less_square(t), ts_add(slope, bend)));
}

const TsOp ts_op_d_sqrt = ROW("d_sqrt", place_whole_values, gradient_d_sqrt, 0);
const TsOp ts_op_d_tanh = ROW("d_tanh", place_whole_values, gradient_d_tanh, 0);
const TsOp ts_op_d_sigmoid = ROW("d_sigmoid", place_whole_values, gradient_d_sigmoid, 0);
const TsOp ts_op_d_relu = ROW("d_relu", place_whole_values, gradient_d_relu, 0);
const TsOp ts_op_d_silu = ROW("d_silu", place_whole_values, gradient_d_silu, 0);
const TsOp ts_op_d_gelu = ROW("d_gelu", place_whole_values, gradient_d_gelu, 0);
const TsOp ts_op_d_gelu_tanh = ROW("d_gelu_tanh", place_whole_values, gradient_d_gelu_tanh, 0);

/* What was expanded to the shape of the other operand is taken as it was before. */
TsTensor ts_op_binary(const TsOp *op, int kernel, TsTensor a, TsTensor b)
{
    Attributes attributes = {.kernel = kernel};
    if (ts_shape_equal(ts_shape_of_tensor(a), ts_shape_of_tensor(b))) {
        TsTensor from = ts_op_expanded_from(a, ts_shape_of_tensor(b));
        if (from.id == a.id)
            b = ts_op_expanded_from(b, ts_shape_of_tensor(a));
        a = from;
    }
    return ts_graph_add_one(op, (TsTensor[]){a, b}, 2, &attributes);
}

TsTensor ts_add(TsTensor a, TsTensor b)
{
    return ts_op_binary(&ts_op_add, TS_BINARY_ADD, a, b);
}

TsTensor ts_sub(TsTensor a, TsTensor b)
{
    return ts_op_binary(&ts_op_sub, TS_BINARY_SUB, a, b);
}

TsTensor ts_mul(TsTensor a, TsTensor b)
{
    return ts_op_binary(&ts_op_mul, TS_BINARY_MUL, a, b);
}

TsTensor ts_div(TsTensor a, TsTensor b)
{
    return ts_op_binary(&ts_op_div, TS_BINARY_DIV, a, b);
}

TsTensor ts_maximum(TsTensor a, TsTensor b)
{
    return ts_op_binary(&ts_op_maximum, TS_BINARY_MAXIMUM, a, b);
}

TsTensor ts_minimum(TsTensor a, TsTensor b)
{
    return ts_op_binary(&ts_op_minimum, TS_BINARY_MINIMUM, a, b);
}
