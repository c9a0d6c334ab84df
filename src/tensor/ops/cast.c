/* SPDX-License-Identifier: Apache-2.0
 *
 * Cast: the same values in another dtype, as near as it has them.
 */
#include "tensor/kernels/cast.h"
#include "tensor/kernels/fused.h"

#include "tensor/node.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dtype; /* of the output */
} Attributes;

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsDtype from = inference->in_dtype[0], to = (TsDtype)attributes->dtype;
    if (attributes->dtype < 0 || attributes->dtype >= TS_DTYPES)
        return ts_status_error(TS_CODE_INVALID, "from %s to dtype %lld, which there is not", ts_dtype_name(from),
                               (long long)attributes->dtype);
    if (from == TS_F16 || to == TS_F16)
        return ts_status_error(TS_CODE_INVALID, "from %s to %s: f16 occurs in files only", ts_dtype_name(from),
                               ts_dtype_name(to));
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = to;
    return TS_OK;
}

/* Linear but for rounding, so that a sum of casts stands for the cast of a sum only where nothing is lost. */
static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    bool widens = node->in_dtype[0] == TS_BF16 || (node->in_dtype[0] == TS_F32 && node->out_dtype[0] == TS_F64);
    ts_op_label_alike(rule, node, 0);
    rule->linearity = widens && ts_dtype_is_float(node->out_dtype[0]) ? TS_LINEAR_JOINT : TS_LINEAR_NONE;
}

static void forward(const TsCall *call)
{
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    ts_kernel_cast(out->data, out->dtype, x->data, x->dtype, ts_shape_elems(out->shape), call->threads);
}

/* Between f32 and bf16, of which both are computed in f32. */
static void fuse(TsFusedStep *step, const TsNodeView *node)
{
    TsDtype from = node->in_dtype[0], to = node->out_dtype[0];
    if ((from == TS_F32 || from == TS_BF16) && (to == TS_F32 || to == TS_BF16))
        step->kind = TS_FUSED_CAST;
}

/* x in f32. A sum of bf16 is not rounded to bf16 first: gradients of parameters that are f32 come out so. */
static TsTensor widened(TsTensor x)
{
    const TsGraph *graph = x.graph;
    const TsNode *node = &graph->node[graph->value[x.id].node];
    const int32_t *in = ts_node_in(graph, node);
    if (node->op == &ts_op_dot)
        return ts_op_dot_wide(x);
    if (node->op == &ts_op_sum)
        return ts_op_sum_wide(x);
    if (node->op == &ts_op_reshape)
        return ts_reshape(widened((TsTensor){x.graph, in[0]}), ts_shape_of_tensor(x));
    if (node->op == &ts_op_add && ts_shape_equal(graph->value[in[0]].shape, graph->value[in[1]].shape)) {
        TsTensor a = {x.graph, in[0]}, b = {x.graph, in[1]};
        a = widened(a);
        return ts_add(a, widened(b));
    }
    return ts_cast(x, TS_F32);
}

static void gradient(TsGradientCall *call)
{
    TsDtype from = ts_dtype_of(call->in[0]), to = ts_dtype_of(call->out[0]);
    if (from == TS_F32 && to == TS_BF16 && call->d_out[0].id >= 0)
        call->d_in[0] = widened(call->d_out[0]);
    else if (ts_dtype_is_float(from) && ts_dtype_is_float(to))
        call->d_in[0] = ts_cast(call->d_out[0], from);
}

const TsOp ts_op_cast = {
    .name = "cast",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .fuse = fuse,
};

TsTensor ts_cast(TsTensor x, TsDtype dtype)
{
    if (x.id >= 0 && ts_dtype_of(x) == dtype)
        return x;
    Attributes attributes = {.dtype = dtype};
    TsTensor from = ts_op_expanded_from(x, ts_shape_of_tensor(x));
    return ts_expand(ts_graph_add_one(&ts_op_cast, &from, 1, &attributes), ts_shape_of_tensor(x));
}
