/* SPDX-License-Identifier: Apache-2.0
 *
 * AdamW as one op over a whole parameter: Loshchilov and Hutter 2019.
 */
#include "tensor/kernels/adamw.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

/* Inputs; the first three may be overwritten by the outputs. */
enum { PARAMETER, MEAN, VARIANCE, GRADIENT, RATE, FACTOR, STEP, INPUTS };

static TsStatus infer(TsInference *inference)
{
    static const char *const names[] = {"parameter", "mean", "variance", "gradient"};
    TsShape shape = inference->in_shape[PARAMETER];
    TsDtype dtype = inference->in_dtype[PARAMETER];
    if (dtype != TS_F32 && dtype != TS_F64)
        return ts_status_error(TS_CODE_INVALID, "a parameter of %s, expected f32 or f64", ts_dtype_name(dtype));
    for (int i = MEAN; i <= GRADIENT; i++)
        if (!ts_shape_equal(inference->in_shape[i], shape) || inference->in_dtype[i] != dtype)
            return ts_status_error(TS_CODE_INVALID, "%s is %s %s, its parameter %s %s", names[i],
                                   ts_dtype_name(inference->in_dtype[i]), ts_shape_text(inference->in_shape[i]).text,
                                   ts_dtype_name(dtype), ts_shape_text(shape).text);
    TS_TRY(ts_op_scalar("rate", inference, RATE, TS_F32));
    TS_TRY(ts_op_scalar("factor", inference, FACTOR, TS_F32));
    TS_TRY(ts_op_scalar("step", inference, STEP, TS_I64));
    for (int k = 0; k < inference->outputs; k++) {
        inference->out_shape[k] = shape;
        inference->out_dtype[k] = dtype;
    }
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[PARAMETER].dims; d++) {
        for (int i = PARAMETER; i <= GRADIENT; i++)
            rule->in_label[i][d] = (int8_t)(d + 1);
        for (int k = 0; k < node->outputs; k++)
            rule->out_label[k][d] = (int8_t)(d + 1);
    }
}

static void forward(const TsCall *call)
{
    const TsAdamw *options = call->attributes;
    const TsBlock *in = call->in, *out = call->out;
    TsAdamwStep step = {
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .epsilon = options->epsilon,
        .decay = options->decay,
        .rate = *(const float *)in[RATE].data,
        .factor = *(const float *)in[FACTOR].data,
        .step = *(const int64_t *)in[STEP].data,
    };
    ts_adamw_kernels(in[PARAMETER].dtype)
        ->step(out[PARAMETER].data, out[MEAN].data, out[VARIANCE].data, in[PARAMETER].data, in[MEAN].data,
               in[VARIANCE].data, in[GRADIENT].data, ts_shape_elems(in[PARAMETER].shape), step, call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 14 * (double)ts_shape_elems(node->in_shape[PARAMETER])};
}

const TsOp ts_op_adamw = {
    .name = "adamw",
    .attributes_bytes = sizeof(TsAdamw),
    .outputs = 3,
    .flags = TS_OP_IN_PLACE,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = ts_op_refuse_gradient,
    .cost = cost,
};

TsAdamwOut ts_adamw(TsAdamwIn in, TsAdamw options)
{
    TsTensor out[3];
    TsTensor operands[INPUTS] = {in.parameter, in.mean, in.variance, in.gradient, in.rate, in.factor, in.step};
    ts_graph_add(out, &ts_op_adamw, operands, INPUTS, &options);
    return (TsAdamwOut){.parameter = out[0], .mean = out[1], .variance = out[2]};
}
