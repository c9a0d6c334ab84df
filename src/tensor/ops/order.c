/* SPDX-License-Identifier: Apache-2.0
 *
 * The top of the last dim, its order, and running sums along a dim; that dim is whole on every rank.
 */
#include "tensor/kernels/order.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

/* ---- top: values and indices; sort is the top of all ---- */

typedef struct TopAttributes {
    int64_t count;
    int64_t rising;
} TopAttributes;

static TsStatus infer_top(TsInference *inference)
{
    const TopAttributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0];
    TS_TRY(ts_op_same_float(inference));
    if (x.dims == 0)
        return ts_status_error(TS_CODE_INVALID, "a scalar has no last dim");
    if (attributes->count < 0 || attributes->count > x.size[x.dims - 1] || x.size[x.dims - 1] > INT32_MAX)
        return ts_status_error(TS_CODE_INVALID, "%lld of the last dim of %s", (long long)attributes->count,
                               ts_shape_text(x).text);
    x.size[x.dims - 1] = attributes->count;
    inference->out_shape[0] = inference->out_shape[1] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    inference->out_dtype[1] = TS_I32;
    return TS_OK;
}

static void place_top(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims - 1; d++)
        rule->in_label[0][d] = rule->out_label[0][d] = rule->out_label[1][d] = (int8_t)(d + 1);
}

static void forward_top(const TsCall *call)
{
    const TopAttributes *attributes = call->attributes;
    TsShape x = call->in[0].shape;
    ts_order_kernels(call->in[0].dtype)
        ->top(call->out[0].data, call->out[1].data, call->in[0].data, ts_op_elems_between(x, 0, x.dims - 1),
              x.size[x.dims - 1], attributes->count, attributes->rising, call->threads);
}

/* Each value's goes back to where it stood. */
static void gradient_top(TsGradientCall *call)
{
    TsTensor x = call->in[0], none = ts_constant(x.graph, ts_dtype_of(x), ts_shape_of_tensor(x), 0);
    call->d_in[0] = ts_scatter_add(none, call->d_out[0], call->out[1], -1);
}

const TsOp ts_op_top = {
    .name = "top",
    .attributes_bytes = sizeof(TopAttributes),
    .outputs = 2,
    .infer = infer_top,
    .place = place_top,
    .forward = forward_top,
    .gradient = gradient_top,
};

static TsOrdered top(TsTensor x, int64_t count, bool rising)
{
    TsTensor out[2];
    TopAttributes attributes = {.count = count, .rising = rising};
    ts_graph_add(out, &ts_op_top, &x, 1, &attributes);
    return (TsOrdered){.values = out[0], .indices = out[1]};
}

TsOrdered ts_top_k(TsTensor x, int64_t count)
{
    return top(x, count, false);
}

TsOrdered ts_sort(TsTensor x, bool rising)
{
    return top(x, x.id >= 0 && ts_dims(x) ? ts_dim(x, -1) : 0, rising);
}

/* ---- running_sum ---- */

typedef struct SumAttributes {
    int64_t dim;
    int64_t from_end;
} SumAttributes;

static TsStatus infer_running_sum(TsInference *inference)
{
    int64_t dim = ((const SumAttributes *)inference->attributes)->dim;
    TS_TRY(ts_op_same_float(inference));
    if (dim < 0 || dim >= inference->in_shape[0].dims)
        return ts_status_error(TS_CODE_INVALID, "%s has no dim %d", ts_shape_text(inference->in_shape[0]).text,
                               (int)dim);
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_running_sum(TsPlaceRule *rule, const TsNodeView *node)
{
    ts_op_label_alike(rule, node, 0);
    int64_t dim = ((const SumAttributes *)node->attributes)->dim;
    rule->in_label[0][dim] = rule->out_label[0][dim] = 0;
    rule->linearity = TS_LINEAR_JOINT;
}

static void forward_running_sum(const TsCall *call)
{
    const SumAttributes *attributes = call->attributes;
    TsShape x = call->in[0].shape;
    int dim = (int)attributes->dim;
    ts_order_kernels(call->in[0].dtype)
        ->running_sum(call->out[0].data, call->in[0].data, ts_op_elems_between(x, 0, dim), x.size[dim],
                      ts_op_elems_between(x, dim + 1, x.dims), attributes->from_end, call->threads);
}

static void gradient_running_sum(TsGradientCall *call)
{
    const SumAttributes *attributes = call->attributes;
    call->d_in[0] = ts_running_sum(call->d_out[0], (int)attributes->dim, !attributes->from_end);
}

const TsOp ts_op_running_sum = {
    .name = "running_sum",
    .attributes_bytes = sizeof(SumAttributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer_running_sum,
    .place = place_running_sum,
    .forward = forward_running_sum,
    .gradient = gradient_running_sum,
};

TsTensor ts_running_sum(TsTensor x, int dim, bool from_end)
{
    SumAttributes attributes = {.dim = dim < 0 && x.id >= 0 ? dim + ts_dims(x) : dim, .from_end = from_end};
    return ts_graph_add_one(&ts_op_running_sum, &x, 1, &attributes);
}
