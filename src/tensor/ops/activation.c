/* SPDX-License-Identifier: Apache-2.0
 *
 * Ops of one operand, element by element.
 */
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/fused.h"
#include "tensor/ops/binary.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t kernel; /* TsUnary */
    double parameter;
} Attributes;

static TsStatus infer(TsInference *inference)
{
    TS_TRY(ts_op_same_float(inference));
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    ts_op_label_alike(rule, node, 0);
}

static void place_linear(TsPlaceRule *rule, const TsNodeView *node)
{
    ts_op_label_alike(rule, node, 0);
    rule->linearity = TS_LINEAR_JOINT;
}

static void forward(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *out = &call->out[0];
    ts_elementwise_kernels(out->dtype)
        ->unary((TsUnary)attributes->kernel, out->data, call->in[0].data, ts_shape_elems(out->shape),
                attributes->parameter, call->threads);
}

/* Tens of operations an element for those with exp in them: none is bound by anything but memory. */
static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = (double)ts_shape_elems(node->out_shape[0])};
}

static void fuse(TsFusedStep *step, const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    step->kind = TS_FUSED_UNARY;
    step->kernel = (int8_t)attributes->kernel;
    step->parameter = attributes->parameter;
}

static void gradient_scale(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    call->d_in[0] = ts_scale(call->d_out[0], attributes->parameter);
}

static void gradient_shift(TsGradientCall *call)
{
    call->d_in[0] = call->d_out[0];
}

static void gradient_exp(TsGradientCall *call)
{
    call->d_in[0] = ts_mul(call->d_out[0], call->out[0]);
}

static void gradient_log(TsGradientCall *call)
{
    call->d_in[0] = ts_div(call->d_out[0], call->in[0]);
}

static void gradient_sqrt(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_sqrt, TS_BINARY_D_SQRT, call->out[0], call->d_out[0]);
}

static void gradient_tanh(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_tanh, TS_BINARY_D_TANH, call->out[0], call->d_out[0]);
}

static void gradient_sigmoid(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_sigmoid, TS_BINARY_D_SIGMOID, call->out[0], call->d_out[0]);
}

static void gradient_relu(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_relu, TS_BINARY_D_RELU, call->in[0], call->d_out[0]);
}

static void gradient_silu(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_silu, TS_BINARY_D_SILU, call->in[0], call->d_out[0]);
}

static void gradient_gelu(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_gelu, TS_BINARY_D_GELU, call->in[0], call->d_out[0]);
}

static void gradient_gelu_tanh(TsGradientCall *call)
{
    call->d_in[0] = ts_op_binary(&ts_op_d_gelu_tanh, TS_BINARY_D_GELU_TANH, call->in[0], call->d_out[0]);
}

#define ROW(NAME, PLACE, GRADIENT)                                                                                     \
    {                                                                                                                  \
        .name = NAME, .attributes_bytes = sizeof(Attributes), .outputs = 1, .flags = TS_OP_IN_PLACE, .infer = infer,   \
        .place = PLACE, .forward = forward, .gradient = GRADIENT, .cost = cost, .fuse = fuse,                          \
    }

const TsOp ts_op_scale = ROW("scale", place_linear, gradient_scale);
const TsOp ts_op_shift = ROW("shift", place, gradient_shift);
const TsOp ts_op_exp = ROW("exp", place, gradient_exp);
const TsOp ts_op_log = ROW("log", place, gradient_log);
const TsOp ts_op_sqrt = ROW("sqrt", place, gradient_sqrt);
const TsOp ts_op_tanh = ROW("tanh", place, gradient_tanh);
const TsOp ts_op_sigmoid = ROW("sigmoid", place, gradient_sigmoid);
const TsOp ts_op_relu = ROW("relu", place, gradient_relu);
const TsOp ts_op_silu = ROW("silu", place, gradient_silu);
const TsOp ts_op_gelu = ROW("gelu", place, gradient_gelu);
const TsOp ts_op_gelu_tanh = ROW("gelu_tanh", place, gradient_gelu_tanh);

/* Of what was expanded, each element is computed once. */
static TsTensor unary(const TsOp *op, TsUnary kernel, TsTensor x, double parameter)
{
    Attributes attributes = {.kernel = kernel, .parameter = parameter};
    TsTensor from = ts_op_expanded_from(x, ts_shape_of_tensor(x));
    return ts_expand(ts_graph_add_one(op, &from, 1, &attributes), ts_shape_of_tensor(x));
}

TsTensor ts_scale(TsTensor x, double factor)
{
    return factor == 1 ? x : unary(&ts_op_scale, TS_UNARY_SCALE, x, factor);
}

TsTensor ts_shift(TsTensor x, double addend)
{
    return addend == 0 ? x : unary(&ts_op_shift, TS_UNARY_SHIFT, x, addend);
}

TsTensor ts_exp(TsTensor x)
{
    return unary(&ts_op_exp, TS_UNARY_EXP, x, 0);
}

TsTensor ts_ln(TsTensor x)
{
    return unary(&ts_op_log, TS_UNARY_LOG, x, 0);
}

TsTensor ts_sqrt(TsTensor x)
{
    return unary(&ts_op_sqrt, TS_UNARY_SQRT, x, 0);
}

TsTensor ts_tanh(TsTensor x)
{
    return unary(&ts_op_tanh, TS_UNARY_TANH, x, 0);
}

TsTensor ts_sigmoid(TsTensor x)
{
    return unary(&ts_op_sigmoid, TS_UNARY_SIGMOID, x, 0);
}

TsTensor ts_relu(TsTensor x)
{
    return unary(&ts_op_relu, TS_UNARY_RELU, x, 0);
}

TsTensor ts_silu(TsTensor x)
{
    return unary(&ts_op_silu, TS_UNARY_SILU, x, 0);
}

TsTensor ts_gelu(TsTensor x)
{
    return unary(&ts_op_gelu, TS_UNARY_GELU, x, 0);
}

TsTensor ts_gelu_tanh(TsTensor x)
{
    return unary(&ts_op_gelu_tanh, TS_UNARY_GELU_TANH, x, 0);
}

TsTensor ts_swiglu(TsTensor gate, TsTensor x)
{
    return ts_mul(ts_silu(gate), x);
}

TsTensor ts_geglu(TsTensor gate, TsTensor x)
{
    return ts_mul(ts_gelu(gate), x);
}
