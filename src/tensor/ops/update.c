/* SPDX-License-Identifier: Apache-2.0
 *
 * Update: a block written into a larger array at a place that is known only when it runs, and its counterpart, which
 * reads such a block. The dim along which the place lies is whole on every rank.
 */
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dim;
    int64_t size; /* slice_at: of the slice */
} Attributes;

static void place_along(TsPlaceRule *rule, const TsNodeView *node, int blocks)
{
    int64_t dim = ((const Attributes *)node->attributes)->dim;
    for (int d = 0; d < node->out_shape[0].dims && d < TS_MAX_DIMS; d++) {
        int8_t label = d == dim ? 0 : (int8_t)(d + 1);
        for (int i = 0; i < blocks; i++)
            rule->in_label[i][d] = label;
        rule->out_label[0][d] = label;
    }
}

/* Where the block begins, checked against the array that holds it. */
static int64_t place_of(const TsBlock *first, const char *name, int64_t size, int64_t whole)
{
    int64_t at = *(const int64_t *)first->data;
    int64_t end = at > INT64_MAX - size ? INT64_MAX : at + size;
    TS_CHECK(at >= 0 && end <= whole, "%s: [%lld, %lld) is not in a dim of %lld", name, (long long)at, (long long)end,
             (long long)whole);
    return at;
}

/* ---- update: x, block, first ---- */

static TsStatus infer(TsInference *inference)
{
    int64_t dim = ((const Attributes *)inference->attributes)->dim;
    TsShape x = inference->in_shape[0], block = inference->in_shape[1], alike = block;
    if (dim < 0 || dim >= x.dims)
        return ts_status_error(TS_CODE_INVALID, "%s has no dim %d", ts_shape_text(x).text, (int)dim);
    if (block.dims == x.dims)
        alike.size[dim] = x.size[dim];
    if (!ts_shape_equal(alike, x) || block.size[dim] > x.size[dim] || inference->in_dtype[0] != inference->in_dtype[1])
        return ts_status_error(TS_CODE_INVALID, "a block %s %s does not go into %s %s along dim %d",
                               ts_dtype_name(inference->in_dtype[1]), ts_shape_text(block).text,
                               ts_dtype_name(inference->in_dtype[0]), ts_shape_text(x).text, (int)dim);
    TS_TRY(ts_op_scalar("first", inference, 2, TS_I64));
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    place_along(rule, node, 2);
}

static void forward(const TsCall *call)
{
    static const int64_t origin[TS_MAX_DIMS];
    int64_t dim = ((const Attributes *)call->attributes)->dim, first[TS_MAX_DIMS] = {0};
    const TsBlock *x = &call->in[0], *block = &call->in[1], *out = &call->out[0];
    first[dim] = place_of(&call->in[2], "update", block->shape.size[dim], x->shape.size[dim]);
    if (out->data != x->data)
        ts_op_copy_block(out->data, out->shape, x->data, x->shape, origin, origin, x->shape, x->dtype, call->threads);
    ts_op_copy_block(out->data, out->shape, block->data, block->shape, first, origin, block->shape, x->dtype,
                     call->threads);
}

static TsTensor slice_at(TsTensor x, TsTensor first, int64_t dim, int64_t size)
{
    Attributes attributes = {.dim = dim, .size = size};
    return ts_graph_add_one(&ts_op_slice_at, (TsTensor[]){x, first}, 2, &attributes);
}

static void gradient(TsGradientCall *call)
{
    int64_t dim = ((const Attributes *)call->attributes)->dim;
    TsTensor d = call->d_out[0], block = call->in[1], first = call->in[2];
    if (call->needs[0])
        call->d_in[0] =
            ts_update(d, ts_constant(d.graph, ts_dtype_of(d), ts_shape_of_tensor(block), 0), first, (int)dim);
    if (call->needs[1])
        call->d_in[1] = slice_at(d, first, dim, ts_dim(block, (int)dim));
}

const TsOp ts_op_update = {
    .name = "update",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
};

TsTensor ts_update(TsTensor x, TsTensor block, TsTensor first, int dim)
{
    Attributes attributes = {.dim = dim < 0 && x.id >= 0 ? dim + ts_dims(x) : dim};
    return ts_graph_add_one(&ts_op_update, (TsTensor[]){x, block, first}, 3, &attributes);
}

/* ---- slice_at: x, first ---- */

static TsStatus infer_slice_at(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0];
    TS_TRY(ts_op_scalar("first", inference, 1, TS_I64));
    x.size[attributes->dim] = attributes->size;
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_slice_at(TsPlaceRule *rule, const TsNodeView *node)
{
    place_along(rule, node, 1);
    rule->linearity = TS_LINEAR_FIRST;
}

static void forward_slice_at(const TsCall *call)
{
    static const int64_t origin[TS_MAX_DIMS];
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    int64_t first[TS_MAX_DIMS] = {0};
    first[attributes->dim] = place_of(&call->in[1], "slice_at", attributes->size, x->shape.size[attributes->dim]);
    ts_op_copy_block(out->data, out->shape, x->data, x->shape, origin, first, out->shape, x->dtype, call->threads);
}

static void gradient_slice_at(TsGradientCall *call)
{
    int64_t dim = ((const Attributes *)call->attributes)->dim;
    TsTensor x = call->in[0];
    if (call->needs[0])
        call->d_in[0] = ts_update(ts_constant(x.graph, ts_dtype_of(x), ts_shape_of_tensor(x), 0), call->d_out[0],
                                  call->in[1], (int)dim);
}

const TsOp ts_op_slice_at = {
    .name = "slice_at",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_slice_at,
    .place = place_slice_at,
    .forward = forward_slice_at,
    .gradient = gradient_slice_at,
};
