/* SPDX-License-Identifier: Apache-2.0
 *
 * Gather along one dim, and scatter-add, each other's gradients. The dim is whole on every rank; all others may be cut.
 */
#include "tensor/kernels/gather.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dim;
} Attributes;

/* Ids are the last input. */
static TsStatus infer_ids(const TsInference *inference)
{
    int64_t dim = ((const Attributes *)inference->attributes)->dim;
    TsShape x = inference->in_shape[0], ids = inference->in_shape[inference->inputs - 1], alike = ids;
    TsDtype dtype = inference->in_dtype[inference->inputs - 1];
    if (dtype != TS_I32 && dtype != TS_I64)
        return ts_status_error(TS_CODE_INVALID, "ids of %s: expected i32 or i64", ts_dtype_name(dtype));
    if (dim < 0 || dim >= x.dims)
        return ts_status_error(TS_CODE_INVALID, "%s has no dim %d", ts_shape_text(x).text, (int)dim);
    if (ids.dims == x.dims)
        alike.size[dim] = x.size[dim];
    if (!ts_shape_equal(alike, x))
        return ts_status_error(TS_CODE_INVALID, "ids %s do not go with %s: all dims but %d must be equal",
                               ts_shape_text(ids).text, ts_shape_text(x).text, (int)dim);
    return TS_OK;
}

static void place_as(TsPlaceRule *rule, const TsNodeView *node, TsLinearity linearity)
{
    int64_t dim = ((const Attributes *)node->attributes)->dim;
    for (int d = 0; d < node->in_shape[0].dims && d < TS_MAX_DIMS; d++) {
        int8_t label = d == dim ? 0 : (int8_t)(d + 1);
        for (int i = 0; i < node->inputs; i++)
            rule->in_label[i][d] = label;
        rule->out_label[0][d] = label;
    }
    rule->linearity = linearity;
}

static TsTakeIds ids_of(const TsBlock *ids)
{
    return (TsTakeIds){.ids = ids->data, .dtype = ids->dtype, .count = ts_shape_elems(ids->shape)};
}

static TsGatherShape shape_of(const TsCall *call, const char *name)
{
    int dim = (int)((const Attributes *)call->attributes)->dim;
    const TsBlock *x = &call->in[0], *ids = &call->in[call->inputs - 1];
    int64_t bad = ts_kernel_take_check(ids_of(ids), x->shape.size[dim]);
    TS_CHECK(bad < 0, "%s: id %lld at %s is not in dim %d of %s", name, (long long)ts_take_id(ids_of(ids), bad),
             ts_op_position(ids, bad).text, dim, ts_shape_text(x->global).text);
    return (TsGatherShape){
        .outer = ts_op_elems_between(x->shape, 0, dim),
        .inner = ts_op_elems_between(x->shape, dim + 1, x->shape.dims),
        .middle = x->shape.size[dim],
        .count = ids->shape.size[dim],
    };
}

/* ---- gather: x, ids ---- */

static TsStatus infer_gather(TsInference *inference)
{
    TS_TRY(infer_ids(inference));
    inference->out_shape[0] = inference->in_shape[1];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_gather(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_LINEAR_FIRST);
}

static void forward_gather(const TsCall *call)
{
    const TsBlock *x = &call->in[0];
    TsGatherShape shape = shape_of(call, "gather");
    ts_kernel_gather(call->out[0].data, x->data, ids_of(&call->in[1]), shape, ts_dtype_bytes(x->dtype), call->threads);
}

static void gradient_gather(TsGradientCall *call)
{
    TsTensor x = call->in[0], none = ts_constant(x.graph, ts_dtype_of(x), ts_shape_of_tensor(x), 0);
    if (call->needs[0])
        call->d_in[0] =
            ts_scatter_add(none, call->d_out[0], call->in[1], (int)((const Attributes *)call->attributes)->dim);
}

const TsOp ts_op_gather = {
    .name = "gather",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_gather,
    .place = place_gather,
    .forward = forward_gather,
    .gradient = gradient_gather,
};

static Attributes along(TsTensor x, int dim)
{
    return (Attributes){.dim = dim < 0 && x.id >= 0 ? dim + ts_dims(x) : dim};
}

TsTensor ts_gather(TsTensor x, TsTensor ids, int dim)
{
    Attributes attributes = along(x, dim);
    return ts_graph_add_one(&ts_op_gather, (TsTensor[]){x, ids}, 2, &attributes);
}

/* ---- scatter_add: x, source, ids ---- */

static TsStatus infer_scatter_add(TsInference *inference)
{
    TsInference floats = *inference;
    floats.inputs = 2;
    TS_TRY(ts_op_same_float(&floats));
    TS_TRY(infer_ids(inference));
    if (!ts_shape_equal(inference->in_shape[1], inference->in_shape[2]))
        return ts_status_error(TS_CODE_INVALID, "%s is not added by ids %s: expected equal shapes",
                               ts_shape_text(inference->in_shape[1]).text, ts_shape_text(inference->in_shape[2]).text);
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_scatter_add(TsPlaceRule *rule, const TsNodeView *node)
{
    place_as(rule, node, TS_LINEAR_NONE);
}

static void forward_scatter_add(const TsCall *call)
{
    TsGatherShape shape = shape_of(call, "scatter_add");
    ts_gather_kernels(call->out[0].dtype)
        ->scatter_add(call->out[0].data, call->in[0].data, call->in[1].data, ids_of(&call->in[2]), shape,
                      call->threads);
}

static void gradient_scatter_add(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = call->d_out[0];
    if (call->needs[1])
        call->d_in[1] = ts_gather(call->d_out[0], call->in[2], (int)((const Attributes *)call->attributes)->dim);
}

const TsOp ts_op_scatter_add = {
    .name = "scatter_add",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer_scatter_add,
    .place = place_scatter_add,
    .forward = forward_scatter_add,
    .gradient = gradient_scatter_add,
};

TsTensor ts_scatter_add(TsTensor x, TsTensor source, TsTensor ids, int dim)
{
    Attributes attributes = along(x, dim);
    return ts_graph_add_one(&ts_op_scatter_add, (TsTensor[]){x, source, ids}, 3, &attributes);
}
