/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of optimizers as ops over whole parameters. A row's inputs are the arrays of its kernel, then rate, factor,
 * step, and what an update is scaled by.
 */
#include "tensor/kernels/optimizer.h"

#include <stddef.h>

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"
#include "tensor/optimizer_ops.h"

enum { RATE, FACTOR, STEP, SCALE, SCALARS }; /* behind the arrays */

static TsStatus infer_arrays(TsInference *inference, int arrays)
{
    TsShape shape = inference->in_shape[0];
    TsDtype dtype = inference->in_dtype[0];
    if (dtype != TS_F32 && dtype != TS_F64)
        return ts_status_error(TS_CODE_INVALID, "a parameter of %s, expected f32 or f64", ts_dtype_name(dtype));
    for (int i = 1; i < arrays; i++)
        if (!ts_shape_equal(inference->in_shape[i], shape) || inference->in_dtype[i] != dtype)
            return ts_status_error(TS_CODE_INVALID, "%s %s does not go with %s %s",
                                   ts_dtype_name(inference->in_dtype[i]), ts_shape_text(inference->in_shape[i]).text,
                                   ts_dtype_name(dtype), ts_shape_text(shape).text);
    TS_TRY(ts_op_scalar("rate", inference, arrays + RATE, TS_F32));
    TS_TRY(ts_op_scalar("factor", inference, arrays + FACTOR, TS_F32));
    TS_TRY(ts_op_scalar("step", inference, arrays + STEP, TS_I64));
    TS_TRY(ts_op_scalar("scale", inference, arrays + SCALE, ts_op_sum_dtype(dtype)));
    for (int k = 0; k < inference->outputs; k++) {
        inference->out_shape[k] = shape;
        inference->out_dtype[k] = dtype;
    }
    return TS_OK;
}

static TsStatus infer(TsInference *inference)
{
    return infer_arrays(inference, inference->inputs - SCALARS);
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims; d++) {
        for (int i = 0; i < node->inputs - SCALARS; i++)
            rule->in_label[i][d] = (int8_t)(d + 1);
        for (int k = 0; k < node->outputs; k++)
            rule->out_label[k][d] = (int8_t)(d + 1);
    }
}

static void run(const TsCall *call, TsOptimizerRule *rule)
{
    const TsOptimizerRuleOptions *options = call->attributes;
    int arrays = call->inputs - SCALARS;
    const TsBlock *scalar = call->in + arrays;
    void *out[TS_MAX_OUTPUTS] = {NULL};
    const void *in[TS_MAX_OUTPUTS] = {NULL};
    TS_CHECK(arrays <= TS_MAX_OUTPUTS, "%d arrays", arrays);
    for (int k = 0; k < call->outputs; k++)
        out[k] = call->out[k].data;
    for (int i = 0; i < arrays; i++)
        in[i] = call->in[i].data;
    TsOptimizerStep step = {
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .epsilon = options->epsilon,
        .decay = options->decay,
        .nesterov = options->nesterov,
        .corrected_betas = options->corrected_betas,
        .rate = (double)*(const float *)scalar[RATE].data,
        .factor = (double)*(const float *)scalar[FACTOR].data,
        .step = *(const int64_t *)scalar[STEP].data,
        .scale = scalar[SCALE].dtype == TS_F64 ? *(const double *)scalar[SCALE].data
                                               : (double)*(const float *)scalar[SCALE].data,
    };
    rule(out, in, ts_shape_elems(call->in[0].shape), &step, call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 4 * (node->inputs - SCALARS) * (double)ts_shape_elems(node->in_shape[0])};
}

#define ROW(rule, count)                                                                                               \
    static void forward_##rule(const TsCall *call)                                                                     \
    {                                                                                                                  \
        run(call, ts_optimizer_kernels(call->in[0].dtype)->rule);                                                      \
    }                                                                                                                  \
    const TsOp ts_op_##rule = {                                                                                        \
        .name = #rule,                                                                                                 \
        .attributes_bytes = sizeof(TsOptimizerRuleOptions),                                                            \
        .outputs = count,                                                                                              \
        .flags = TS_OP_IN_PLACE,                                                                                       \
        .infer = infer,                                                                                                \
        .place = place,                                                                                                \
        .forward = forward_##rule,                                                                                     \
        .gradient = ts_op_refuse_gradient,                                                                             \
        .cost = cost,                                                                                                  \
    };
ROW(sgd, 1)
ROW(momentum, 2)
ROW(adam, 3)
ROW(lion, 2)
ROW(adam_update, 3)
ROW(velocity, 2)
ROW(descend, 1)
ROW(average, 1)

/* ---- builders ---- */

static TsOptimizerOut add(const TsOp *op, const TsTensor *arrays, int count, TsTensor scale, TsOptimizerScalars scalars,
                          TsOptimizerRuleOptions options)
{
    TsTensor in[TS_MAX_OUTPUTS + SCALARS], out[TS_MAX_OUTPUTS];
    for (int i = 0; i < count; i++)
        in[i] = arrays[i];
    in[count + RATE] = scalars.rate;
    in[count + FACTOR] = scalars.factor;
    in[count + STEP] = scalars.step;
    in[count + SCALE] = scale;
    TsOptimizerRuleOptions plain;
    memset(&plain, 0, sizeof plain); /* padding too: nodes are compared by their bytes */
    plain.beta1 = options.beta1;
    plain.beta2 = options.beta2;
    plain.epsilon = options.epsilon;
    plain.decay = options.decay;
    plain.nesterov = options.nesterov;
    plain.corrected_betas = options.corrected_betas;
    ts_graph_add(out, op, in, count + SCALARS, &plain);
    return (TsOptimizerOut){out[0], op->outputs > 1 ? out[1] : TS_NONE, op->outputs > 2 ? out[2] : TS_NONE};
}

static TsTensor unscaled(TsTensor x)
{
    return ts_constant(x.graph, ts_op_sum_dtype(ts_dtype_of(x)), ts_scalar, 1);
}

TsTensor ts_sgd(TsTensor parameter, TsTensor gradient, TsOptimizerScalars scalars, TsOptimizerRuleOptions options)
{
    return add(&ts_op_sgd, (TsTensor[]){parameter, gradient}, 2, unscaled(parameter), scalars, options).first;
}

TsOptimizerOut ts_momentum(TsTensor parameter, TsTensor velocity, TsTensor gradient, TsOptimizerScalars scalars,
                           TsOptimizerRuleOptions options)
{
    return add(&ts_op_momentum, (TsTensor[]){parameter, velocity, gradient}, 3, unscaled(parameter), scalars, options);
}

TsOptimizerOut ts_adam(TsTensor parameter, TsTensor mean, TsTensor variance, TsTensor gradient,
                       TsOptimizerScalars scalars, TsOptimizerRuleOptions options)
{
    TsTensor arrays[] = {parameter, mean, variance, gradient};
    return add(&ts_op_adam, arrays, 4, unscaled(parameter), scalars, options);
}

TsOptimizerOut ts_lion(TsTensor parameter, TsTensor mean, TsTensor gradient, TsOptimizerScalars scalars,
                       TsOptimizerRuleOptions options)
{
    return add(&ts_op_lion, (TsTensor[]){parameter, mean, gradient}, 3, unscaled(parameter), scalars, options);
}

TsOptimizerOut ts_adam_update(TsTensor mean, TsTensor variance, TsTensor parameter, TsTensor gradient,
                              TsOptimizerScalars scalars, TsOptimizerRuleOptions options)
{
    TsTensor arrays[] = {mean, variance, parameter, gradient};
    return add(&ts_op_adam_update, arrays, 4, unscaled(parameter), scalars, options);
}

TsOptimizerOut ts_velocity(TsTensor velocity, TsTensor gradient, TsOptimizerScalars scalars,
                           TsOptimizerRuleOptions options)
{
    return add(&ts_op_velocity, (TsTensor[]){velocity, gradient}, 2, unscaled(velocity), scalars, options);
}

TsTensor ts_descend(TsTensor parameter, TsTensor update, TsTensor scale, TsOptimizerScalars scalars,
                    TsOptimizerRuleOptions options)
{
    return add(&ts_op_descend, (TsTensor[]){parameter, update}, 2, scale, scalars, options).first;
}

TsTensor ts_average(TsTensor average, TsTensor parameter, TsOptimizerScalars scalars, TsOptimizerRuleOptions options)
{
    return add(&ts_op_average, (TsTensor[]){average, parameter}, 2, unscaled(parameter), scalars, options).first;
}
