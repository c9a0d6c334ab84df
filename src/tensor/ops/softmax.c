/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax, its logarithm, and logsumexp, over the last dim, which is whole on every rank.
 */
#include "tensor/kernels/softmax.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

/* Softmax and its kin: x (..., C); their gradients: y, d_y. */
static TsStatus infer(TsInference *inference)
{
    TS_TRY(ts_op_same_float(inference));
    if (inference->in_shape[0].dims == 0)
        return ts_status_error(TS_CODE_INVALID, "a scalar has no last dim");
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static TsStatus infer_logsumexp(TsInference *inference)
{
    TS_TRY(infer(inference));
    inference->out_shape[0] = ts_shape_of(inference->in_shape[0].dims - 1, inference->in_shape[0].size);
    return TS_OK;
}

/* All dims but the last may be cut. */
static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims - 1 && d < TS_MAX_DIMS; d++) {
        for (int i = 0; i < node->inputs; i++)
            rule->in_label[i][d] = (int8_t)(d + 1);
        rule->out_label[0][d] = (int8_t)(d + 1);
    }
}

static int64_t columns_of(const TsCall *call)
{
    return call->in[0].shape.size[call->in[0].shape.dims - 1];
}

static int64_t rows_of(const TsCall *call)
{
    return ts_op_elems_between(call->in[0].shape, 0, call->in[0].shape.dims - 1);
}

static void forward_softmax(const TsCall *call)
{
    ts_softmax_kernels(call->in[0].dtype)
        ->softmax(call->out[0].data, call->in[0].data, rows_of(call), columns_of(call), call->threads);
}

static void forward_log_softmax(const TsCall *call)
{
    ts_softmax_kernels(call->in[0].dtype)
        ->log_softmax(call->out[0].data, call->in[0].data, rows_of(call), columns_of(call), call->threads);
}

static void forward_logsumexp(const TsCall *call)
{
    ts_softmax_kernels(call->in[0].dtype)
        ->logsumexp(call->out[0].data, call->in[0].data, rows_of(call), columns_of(call), call->threads);
}

static void forward_d_softmax(const TsCall *call)
{
    ts_softmax_kernels(call->in[0].dtype)
        ->d_softmax(call->out[0].data, call->in[0].data, call->in[1].data, rows_of(call), columns_of(call),
                    call->threads);
}

static void forward_d_log_softmax(const TsCall *call)
{
    ts_softmax_kernels(call->in[0].dtype)
        ->d_log_softmax(call->out[0].data, call->in[0].data, call->in[1].data, rows_of(call), columns_of(call),
                        call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 4 * (double)ts_shape_elems(node->in_shape[0])};
}

static void gradient_softmax(TsGradientCall *call)
{
    call->d_in[0] = ts_graph_add_one(&ts_op_d_softmax, (TsTensor[]){call->out[0], call->d_out[0]}, 2, NULL);
}

static void gradient_log_softmax(TsGradientCall *call)
{
    call->d_in[0] = ts_graph_add_one(&ts_op_d_log_softmax, (TsTensor[]){call->out[0], call->d_out[0]}, 2, NULL);
}

static TsTensor sum_of_rows(TsTensor a, TsTensor b)
{
    TsTensor product = ts_mul(a, b);
    return ts_sum(product, 1 << (ts_dims(product) - 1), true);
}

/* y (d - sum(y d)): along y it is g (d - sum(y d)) - d sum(y g), along d the same with g. */
static void gradient_d_softmax(TsGradientCall *call)
{
    TsTensor y = call->in[0], d = call->in[1], g = call->d_out[0];
    if (call->needs[0])
        call->d_in[0] = ts_sub(ts_mul(g, ts_sub(d, sum_of_rows(y, d))), ts_mul(d, sum_of_rows(y, g)));
    if (call->needs[1])
        call->d_in[1] = ts_graph_add_one(&ts_op_d_softmax, (TsTensor[]){y, g}, 2, NULL);
}

/* d - exp(y) sum(d): along y it is -exp(y) sum(d) g, along d it is g - sum(exp(y) g). */
static void gradient_d_log_softmax(TsGradientCall *call)
{
    TsTensor p = ts_exp(call->in[0]), d = call->in[1], g = call->d_out[0];
    if (call->needs[0])
        call->d_in[0] = ts_scale(ts_mul(ts_mul(p, g), ts_sum(d, 1 << (ts_dims(d) - 1), true)), -1);
    if (call->needs[1])
        call->d_in[1] = ts_sub(g, sum_of_rows(p, g));
}

/* softmax(x) d */
static void gradient_logsumexp(TsGradientCall *call)
{
    TsShape kept = ts_shape_of_tensor(call->d_out[0]);
    kept.size[kept.dims++] = 1;
    call->d_in[0] = ts_mul(ts_softmax(call->in[0]), ts_reshape(call->d_out[0], kept));
}

#define ROW(NAME, INFER, FORWARD, GRADIENT, FLAGS)                                                                     \
    {                                                                                                                  \
        .name = NAME, .outputs = 1, .flags = FLAGS, .infer = INFER, .place = place, .forward = FORWARD,                \
        .gradient = GRADIENT, .cost = cost,                                                                            \
    }

const TsOp ts_op_softmax = ROW("softmax", infer, forward_softmax, gradient_softmax, TS_OP_IN_PLACE);
const TsOp ts_op_log_softmax = ROW("log_softmax", infer, forward_log_softmax, gradient_log_softmax, TS_OP_IN_PLACE);
const TsOp ts_op_logsumexp = ROW("logsumexp", infer_logsumexp, forward_logsumexp, gradient_logsumexp, 0);
const TsOp ts_op_d_softmax = ROW("d_softmax", infer, forward_d_softmax, gradient_d_softmax, TS_OP_IN_PLACE);
const TsOp ts_op_d_log_softmax =
    ROW("d_log_softmax", infer, forward_d_log_softmax, gradient_d_log_softmax, TS_OP_IN_PLACE);

TsTensor ts_softmax(TsTensor x)
{
    return ts_graph_add_one(&ts_op_softmax, &x, 1, NULL);
}

TsTensor ts_log_softmax(TsTensor x)
{
    return ts_graph_add_one(&ts_op_log_softmax, &x, 1, NULL);
}

TsTensor ts_logsumexp(TsTensor x)
{
    return ts_graph_add_one(&ts_op_logsumexp, &x, 1, NULL);
}
