/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions. A node reduces one run of neighbouring dims; other sets of dims are several nodes.
 */
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/fused.h"
#include "tensor/node.h"
#include "tensor/ops/binary.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int32_t first, last; /* dims [first, last) are reduced and stay with size 1 */
    int64_t wide;        /* a sum of bf16: the result is f32 */
} Attributes;

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TS_TRY(ts_op_same_float(inference));
    TsShape out = inference->in_shape[0];
    if (attributes->first < 0 || attributes->last > out.dims)
        return ts_status_error(TS_CODE_INVALID, "over dim %d: %s has %d dims", attributes->last - 1,
                               ts_shape_text(out).text, out.dims);
    for (int d = attributes->first; d < attributes->last; d++)
        out.size[d] = 1;
    inference->out_shape[0] = out;
    inference->out_dtype[0] = attributes->wide ? ts_op_sum_dtype(inference->in_dtype[0]) : inference->in_dtype[0];
    return TS_OK;
}

static void place_as(TsPlaceRule *rule, const TsNodeView *node, TsReduction reduction, TsLinearity linearity)
{
    const Attributes *attributes = node->attributes;
    for (int d = 0; d < node->in_shape[0].dims && d < TS_MAX_DIMS; d++) {
        rule->in_label[0][d] = (int8_t)(d + 1);
        if (d < attributes->first || d >= attributes->last)
            rule->out_label[0][d] = (int8_t)(d + 1);
    }
    rule->reduction = reduction;
    rule->linearity = linearity;
}

static void place_sum(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_SUM, TS_LINEAR_JOINT);
}

static void place_max(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_MAX, TS_LINEAR_NONE);
}

static void reduce(const TsCall *call, void (*kernel)(void *, const void *, int64_t, int64_t, int64_t, int))
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0];
    kernel(call->out[0].data, x->data, ts_op_elems_between(x->shape, 0, attributes->first),
           ts_op_elems_between(x->shape, attributes->first, attributes->last),
           ts_op_elems_between(x->shape, attributes->last, x->shape.dims), call->threads);
}

static void forward_sum(const TsCall *call)
{
    const TsReduceKernels *kernels = ts_reduce_kernels(call->in[0].dtype);
    reduce(call, call->out[0].dtype == call->in[0].dtype ? kernels->sum : kernels->sum_wide);
}

static void forward_max(const TsCall *call)
{
    reduce(call, ts_reduce_kernels(call->in[0].dtype)->max);
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = (double)ts_shape_elems(node->in_shape[0])};
}

/* Sums of columns: over all dims but some last ones. */
static void fuse_sum(TsFusedStep *step, const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    if (attributes->first != 0 || attributes->last == 0 || attributes->last >= node->in_shape[0].dims)
        return;
    step->kind = TS_FUSED_COLUMN_SUM;
    step->kernel = (int8_t)(node->in_shape[0].dims - attributes->last);
}

static void gradient_sum(TsGradientCall *call)
{
    TsTensor d = ts_cast(call->d_out[0], ts_dtype_of(call->in[0]));
    call->d_in[0] = ts_expand(d, ts_shape_of_tensor(call->in[0]));
}

/* Shared among equals. */
static void gradient_max(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    int dims = 0;
    for (int d = attributes->first; d < attributes->last; d++)
        dims |= 1 << d;
    TsTensor taken = ts_op_binary(&ts_op_equal, TS_BINARY_EQUAL, call->in[0], call->out[0]);
    call->d_in[0] = ts_mul(taken, ts_div(call->d_out[0], ts_sum(taken, dims, true)));
}

TsTensor ts_op_sum_wide(TsTensor x)
{
    TsGraph *graph = x.graph;
    const TsNode *node = &graph->node[graph->value[x.id].node];
    Attributes attributes;
    memcpy(&attributes, node->attributes, sizeof attributes);
    attributes.wide = true;
    return ts_graph_add_one(&ts_op_sum, &(TsTensor){graph, *ts_node_in(graph, node)}, 1, &attributes);
}

const TsOp ts_op_sum = {
    .name = "sum",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place_sum,
    .forward = forward_sum,
    .gradient = gradient_sum,
    .cost = cost,
    .fuse = fuse_sum,
};

const TsOp ts_op_max = {
    .name = "max",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place_max,
    .forward = forward_max,
    .gradient = gradient_max,
    .cost = cost,
};

/* The sum of squares. */

static TsStatus infer_sum_squares(TsInference *inference)
{
    TS_TRY(ts_op_same_float(inference));
    inference->out_shape[0] = ts_scalar;
    inference->out_dtype[0] = ts_op_sum_dtype(inference->in_dtype[0]);
    return TS_OK;
}

static void place_sum_squares(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims && d < TS_MAX_DIMS; d++)
        rule->in_label[0][d] = (int8_t)(d + 1);
    rule->reduction = TS_SUM;
}

static void forward_sum_squares(const TsCall *call)
{
    const TsBlock *x = &call->in[0];
    ts_reduce_kernels(x->dtype)->sum_squares(call->out[0].data, x->data, ts_shape_elems(x->shape), call->threads);
}

static TsCost cost_sum_squares(const TsNodeView *node)
{
    return (TsCost){.flops = 2 * (double)ts_shape_elems(node->in_shape[0])};
}

static void gradient_sum_squares(TsGradientCall *call)
{
    TsTensor x = call->in[0];
    call->d_in[0] = ts_mul(ts_scale(x, 2), ts_cast(call->d_out[0], ts_dtype_of(x)));
}

const TsOp ts_op_sum_squares = {
    .name = "sum_squares",
    .outputs = 1,
    .infer = infer_sum_squares,
    .place = place_sum_squares,
    .forward = forward_sum_squares,
    .gradient = gradient_sum_squares,
    .cost = cost_sum_squares,
};

/* Where the largest stands. */

static TsStatus infer_argmax(TsInference *inference)
{
    TS_TRY(ts_op_same_float(inference));
    TsShape x = inference->in_shape[0];
    if (x.dims == 0 || x.size[x.dims - 1] == 0)
        return ts_status_error(TS_CODE_INVALID, "%s has nothing in its last dim", ts_shape_text(x).text);
    inference->out_shape[0] = ts_shape_of(x.dims - 1, x.size);
    inference->out_dtype[0] = TS_I32;
    return TS_OK;
}

static void place_argmax(TsPlaceRule *rule, const TsNodeView *node)
{
    ts_op_label_alike(rule, node, 0);
}

static void forward_argmax(const TsCall *call)
{
    const TsBlock *x = &call->in[0];
    ts_reduce_kernels(x->dtype)->argmax(call->out[0].data, x->data, ts_shape_elems(call->out[0].shape),
                                        x->shape.size[x->shape.dims - 1], call->threads);
}

const TsOp ts_op_argmax = {
    .name = "argmax",
    .outputs = 1,
    .flags = TS_OP_NO_GRADIENT,
    .infer = infer_argmax,
    .place = place_argmax,
    .forward = forward_argmax,
};

/* Reduces the runs of `dims` one after the other, the last first, and drops them unless `keep`. */
static TsTensor reduce_runs(const TsOp *op, TsTensor x, int dims, bool keep)
{
    TsShape shape = ts_shape_of_tensor(x), kept = {.dims = 0};
    if (x.id < 0)
        return x;
    if (dims >= 0 && dims >> shape.dims)
        return ts_graph_error(x.graph, "%s over dims %#x: %s has %d dims", op->name, (unsigned)dims,
                              ts_shape_text(shape).text, shape.dims);
    int all = (1 << shape.dims) - 1;
    dims = dims < 0 ? all : dims;
    for (int d = 0; d < shape.dims; d++)
        if (!(dims >> d & 1))
            kept.size[kept.dims++] = shape.size[d];
    for (int last = shape.dims; last > 0; last--) {
        int first = last;
        while (first > 0 && dims >> (first - 1) & 1)
            first--;
        if (first == last)
            continue;
        Attributes attributes = {.first = first, .last = last};
        x = ts_graph_add_one(op, &x, 1, &attributes);
        last = first;
    }
    return keep ? x : ts_reshape(x, kept);
}

TsTensor ts_sum(TsTensor x, int dims, bool keep)
{
    return reduce_runs(&ts_op_sum, x, dims, keep);
}

TsTensor ts_max(TsTensor x, int dims, bool keep)
{
    return reduce_runs(&ts_op_max, x, dims, keep);
}

/* The mean of nothing is 0 / 0, as a sum of nothing scaled by infinity would have it. */
TsTensor ts_mean(TsTensor x, int dims, bool keep)
{
    TsTensor total = ts_sum(x, dims, keep);
    TsShape whole = ts_shape_of_tensor(x);
    double count = 1;
    for (int d = 0; d < whole.dims; d++)
        if (dims < 0 || dims >> d & 1)
            count *= (double)whole.size[d];
    return ts_scale(total, 1 / count);
}

TsTensor ts_sum_squares(TsTensor x)
{
    return ts_graph_add_one(&ts_op_sum_squares, &x, 1, NULL);
}

TsTensor ts_argmax(TsTensor x)
{
    return ts_graph_add_one(&ts_op_argmax, &x, 1, NULL);
}
