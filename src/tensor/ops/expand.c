/* SPDX-License-Identifier: Apache-2.0
 *
 * Expand: dims of size 1, and dims that are not there, repeated, as elementwise ops do with their operands. It is for
 * what must have a memory of its own; elementwise ops take what was expanded instead, and the place pass makes it anew
 * where a reader wants it cut, out of what is repeated.
 */
#include "tensor/kernels/copy.h"
#include "tensor/kernels/fused.h"

#include "tensor/node.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

static TsStatus infer(TsInference *inference)
{
    TsShape x = inference->in_shape[0], out = ((const TsExpandAttributes *)inference->attributes)->shape;
    bool fits = x.dims <= out.dims;
    for (int d = 1; d <= x.dims && fits; d++)
        fits = x.size[x.dims - d] == 1 || x.size[x.dims - d] == out.size[out.dims - d];
    if (!fits)
        return ts_status_error(TS_CODE_INVALID, "%s does not become %s by repetition", ts_shape_text(x).text,
                               ts_shape_text(out).text);
    inference->out_shape[0] = out;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

bool ts_expand_repeats(TsShape x, TsShape out, int dim)
{
    int missing = out.dims - x.dims;
    return dim < missing || x.size[dim - missing] != out.size[dim];
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    TsShape x = node->in_shape[0], out = node->out_shape[0];
    for (int d = 0; d < out.dims; d++)
        if (!ts_expand_repeats(x, out, d))
            rule->out_label[0][d] = rule->in_label[0][d - (out.dims - x.dims)] = (int8_t)(d + 1);
    rule->linearity = TS_LINEAR_JOINT;
}

static void forward(const TsCall *call)
{
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    TsCopy copy = {.out = out->data, .in = x->data, .shape = out->shape, .elem_bytes = ts_dtype_bytes(out->dtype)};
    int64_t step[TS_MAX_DIMS];
    int missing = out->shape.dims - x->shape.dims;
    ts_row_major_steps(copy.out_step, out->shape);
    ts_row_major_steps(step, x->shape);
    for (int d = 0; d < out->shape.dims; d++)
        copy.in_step[d] = ts_expand_repeats(x->global, out->global, d) ? 0 : step[d - missing];
    ts_kernel_copy(&copy, call->threads);
}

static void fuse(TsFusedStep *step, const TsNodeView *node)
{
    (void)node;
    step->kind = TS_FUSED_REPEAT;
}

static void gradient(TsGradientCall *call)
{
    call->d_in[0] = ts_op_unbroadcast(call->d_out[0], ts_shape_of_tensor(call->in[0]));
}

const TsOp ts_expand_op = {
    .name = "expand",
    .attributes_bytes = sizeof(TsExpandAttributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .fuse = fuse,
};

TsTensor ts_expand(TsTensor x, TsShape shape)
{
    if (x.id < 0 || ts_shape_equal(ts_shape_of_tensor(x), shape))
        return x;
    TsExpandAttributes attributes;
    memset(&attributes, 0, sizeof attributes); /* padding too */
    attributes.shape = ts_shape_of(shape.dims, shape.size);
    return ts_graph_add_one(&ts_expand_op, &x, 1, &attributes);
}

TsTensor ts_op_expanded_from(TsTensor x, TsShape shape)
{
    while (x.id >= 0) {
        const TsNode *node = &x.graph->node[x.graph->value[x.id].node];
        if (node->op != &ts_expand_op || !ts_shape_equal(ts_shape_of_tensor(x), shape))
            break;
        x.id = *ts_node_in(x.graph, node);
    }
    return x;
}
