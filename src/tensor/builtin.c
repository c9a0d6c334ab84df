/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of nodes that the Graph itself makes: what is bound, constants, constrain, stop_gradient, copy.
 */
#include "tensor/node.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "tensor/ops.h"

/* Every dim may be cut, each on its own. */
static void place_alike(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        int8_t label = d < node->out_shape[0].dims ? (int8_t)(d + 1) : 0;
        rule->out_label[0][d] = label;
        for (int i = 0; i < node->inputs; i++)
            rule->in_label[i][d] = label;
    }
    rule->linearity = TS_LINEAR_JOINT;
}

static TsStatus infer_same(TsInference *inference)
{
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static TsStatus infer_bound(TsInference *inference)
{
    const TsBoundAttributes *attributes = inference->attributes;
    inference->out_shape[0] = attributes->shape;
    inference->out_dtype[0] = (TsDtype)attributes->dtype;
    return TS_OK;
}

const TsOp ts_bound_op = {.name = "bound",
                          .attributes_bytes = sizeof(TsBoundAttributes),
                          .outputs = 1,
                          .flags = TS_OP_NO_GRADIENT | TS_OP_EFFECT,
                          .infer = infer_bound};

/* ---- constant ---- */

static TsStatus infer_constant(TsInference *inference)
{
    const TsConstantAttributes *attributes = inference->attributes;
    inference->out_shape[0] = attributes->shape;
    inference->out_dtype[0] = (TsDtype)attributes->dtype;
    return TS_OK;
}

static void forward_constant(const TsCall *call)
{
    const TsConstantAttributes *attributes = call->attributes;
    int64_t elems = ts_shape_elems(call->out[0].shape);
    void *data = call->out[0].data;
    for (int64_t i = 0; i < elems; i++)
        switch (call->out[0].dtype) {
        case TS_F32:
            ((float *)data)[i] = (float)attributes->value;
            break;
        case TS_F64:
            ((double *)data)[i] = attributes->value;
            break;
        case TS_BF16:
            ((TsBf16 *)data)[i] = ts_bf16_from_f32((float)attributes->value);
            break;
        case TS_I32:
            ((int32_t *)data)[i] = (int32_t)attributes->value;
            break;
        case TS_I64:
            ((int64_t *)data)[i] = (int64_t)attributes->value;
            break;
        case TS_BOOL:
            ((bool *)data)[i] = attributes->value != 0;
            break;
        default:
            TS_CHECK(false, "a constant of dtype %s", ts_dtype_name(call->out[0].dtype));
        }
}

const TsOp ts_constant_op = {.name = "constant",
                             .attributes_bytes = sizeof(TsConstantAttributes),
                             .placement_at = offsetof(TsConstantAttributes, placement),
                             .outputs = 1,
                             .flags = TS_OP_NO_GRADIENT,
                             .infer = infer_constant,
                             .place = place_alike,
                             .forward = forward_constant};

/* Beyond so many elements a constant is not kept, but expanded where it is wanted. */
enum { KEPT_ELEMS = 64 };

TsTensor ts_constant(TsGraph *graph, TsDtype dtype, TsShape shape, double value)
{
    TsTensor out;
    if (dtype == TS_F16)
        return ts_graph_error(graph, "constant: f16 occurs in files only");
    TsConstantAttributes attributes;
    memset(&attributes, 0, sizeof attributes); /* padding too */
    bool kept = ts_shape_elems(shape) <= KEPT_ELEMS;
    attributes.value = value;
    attributes.dtype = (int32_t)dtype;
    attributes.shape = kept ? ts_shape_of(shape.dims, shape.size) : ts_scalar;
    ts_graph_add_to(graph, &out, &ts_constant_op, NULL, 0, &attributes);
    return kept ? out : ts_expand(out, shape);
}

/* ---- constrain ---- */

static void gradient_constrain(TsGradientCall *call)
{
    TsConstrainAttributes attributes;
    memcpy(&attributes, call->attributes, sizeof attributes);
    attributes.placement.partial = 0; /* a sum hands its gradient to every part */
    attributes.placement.reduction = TS_SUM;
    call->d_in[0] = ts_graph_add_one(&ts_constrain_op, call->d_out, 1, &attributes);
}

const TsOp ts_constrain_op = {.name = "constrain",
                              .attributes_bytes = sizeof(TsConstrainAttributes),
                              .outputs = 1,
                              .flags = TS_OP_VIEW,
                              .infer = infer_same,
                              .place = place_alike,
                              .gradient = gradient_constrain};

TsTensor ts_constrain(TsTensor x, TsPlacement placement)
{
    for (int d = x.id < 0 ? TS_MAX_DIMS : ts_dims(x); d < TS_MAX_DIMS; d++)
        if (placement.axis[d][0])
            return ts_graph_error(x.graph, "constrain: %s has no dim %d for \"%s\"",
                                  ts_shape_text(ts_shape_of_tensor(x)).text, d, ts_placement_text(placement).text);
    TsConstrainAttributes attributes;
    memset(&attributes, 0, sizeof attributes); /* padding too */
    attributes.placement = placement;
    return ts_graph_add_one(&ts_constrain_op, &x, 1, &attributes);
}

TsTensor ts_constrain_axis(TsTensor x, int dim, TsAxis axis)
{
    if (x.id >= 0 && (dim < 0 || dim >= ts_dims(x)))
        return ts_graph_error(x.graph, "constrain: %s has no dim %d", ts_shape_text(ts_shape_of_tensor(x)).text, dim);
    TsConstrainAttributes attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.placement = ts_shard(ts_replicated, dim, axis);
    attributes.axis = (int32_t)axis;
    return ts_graph_add_one(&ts_constrain_op, &x, 1, &attributes);
}

/* ---- stop_gradient, copy ---- */

const TsOp ts_stop_gradient_op = {.name = "stop_gradient",
                                  .outputs = 1,
                                  .flags = TS_OP_VIEW | TS_OP_NO_GRADIENT,
                                  .infer = infer_same,
                                  .place = place_alike};

TsTensor ts_stop_gradient(TsTensor x)
{
    return ts_graph_add_one(&ts_stop_gradient_op, &x, 1, NULL);
}

static void forward_copy(const TsCall *call)
{
    size_t bytes = (size_t)ts_shape_elems(call->in[0].shape) * ts_dtype_bytes(call->in[0].dtype);
    if (bytes && call->out[0].data != call->in[0].data)
        memcpy(call->out[0].data, call->in[0].data, bytes);
}

const TsOp ts_copy_op = {.name = "copy",
                         .outputs = 1,
                         .flags = TS_OP_NO_GRADIENT,
                         .infer = infer_same,
                         .place = place_alike,
                         .forward = forward_copy};
