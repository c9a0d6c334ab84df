/* SPDX-License-Identifier: Apache-2.0
 *
 * Slice, pad and concatenate along one dim, which is whole on every rank; at places that are known while tracing.
 */
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dim;
    int64_t first; /* where the slice begins in the larger array */
    int64_t size;  /* slice: of the slice; pad: of the larger array */
} Attributes;

/* All dims but `dim` may be cut, alike in all operands. */
static void place_along(TsPlaceRule *rule, const TsNodeView *node, int64_t dim)
{
    for (int d = 0; d < node->out_shape[0].dims && d < TS_MAX_DIMS; d++) {
        int8_t label = d == dim ? 0 : (int8_t)(d + 1);
        for (int i = 0; i < node->inputs; i++)
            rule->in_label[i][d] = label;
        rule->out_label[0][d] = label;
    }
    rule->linearity = TS_LINEAR_JOINT;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    place_along(rule, node, ((const Attributes *)node->attributes)->dim);
}

static const int64_t origin[TS_MAX_DIMS];

/* ---- slice ---- */

static TsStatus infer_slice(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0];
    if (attributes->dim < 0 || attributes->dim >= x.dims)
        return ts_status_error(TS_CODE_INVALID, "%s has no dim %d", ts_shape_text(x).text, (int)attributes->dim);
    if (attributes->first < 0 || attributes->size < 0 || attributes->first > x.size[attributes->dim] - attributes->size)
        return ts_status_error(TS_CODE_INVALID, "[%lld, %lld) of dim %d is not in %s", (long long)attributes->first,
                               (long long)((uint64_t)attributes->first + (uint64_t)attributes->size),
                               (int)attributes->dim, ts_shape_text(x).text);
    x.size[attributes->dim] = attributes->size;
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void forward_slice(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    int64_t first[TS_MAX_DIMS] = {0};
    first[attributes->dim] = attributes->first;
    ts_op_copy_block(out->data, out->shape, x->data, x->shape, origin, first, out->shape, x->dtype, call->threads);
}

static TsTensor pad(TsTensor x, int64_t dim, int64_t first, int64_t size)
{
    Attributes attributes = {.dim = dim, .first = first, .size = size};
    return ts_graph_add_one(&ts_op_pad, &x, 1, &attributes);
}

static void gradient_slice(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    call->d_in[0] = pad(call->d_out[0], attributes->dim, attributes->first, ts_dim(call->in[0], (int)attributes->dim));
}

const TsOp ts_op_slice = {
    .name = "slice",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_slice,
    .place = place,
    .forward = forward_slice,
    .gradient = gradient_slice,
};

TsTensor ts_slice(TsTensor x, int dim, int64_t first, int64_t size)
{
    Attributes attributes = {.dim = dim < 0 && x.id >= 0 ? dim + ts_dims(x) : dim, .first = first, .size = size};
    return ts_graph_add_one(&ts_op_slice, &x, 1, &attributes);
}

/* ---- pad: zeros around a slice ---- */

static TsStatus infer_pad(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0];
    x.size[attributes->dim] = attributes->size;
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void forward_pad(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    int64_t first[TS_MAX_DIMS] = {0};
    first[attributes->dim] = attributes->first;
    size_t bytes = (size_t)ts_shape_elems(out->shape) * ts_dtype_bytes(out->dtype);
    if (bytes)
        memset(out->data, 0, bytes);
    ts_op_copy_block(out->data, out->shape, x->data, x->shape, first, origin, x->shape, x->dtype, call->threads);
}

static void gradient_pad(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    call->d_in[0] =
        ts_slice(call->d_out[0], (int)attributes->dim, attributes->first, ts_dim(call->in[0], (int)attributes->dim));
}

const TsOp ts_op_pad = {
    .name = "pad",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_pad,
    .place = place,
    .forward = forward_pad,
    .gradient = gradient_pad,
};

/* ---- concatenate ---- */

typedef struct ConcatenateAttributes {
    int64_t dim;
} ConcatenateAttributes;

static TsStatus infer_concatenate(TsInference *inference)
{
    int64_t dim = ((const ConcatenateAttributes *)inference->attributes)->dim, total = 0;
    TsShape first = inference->in_shape[0];
    if (dim < 0 || dim >= first.dims)
        return ts_status_error(TS_CODE_INVALID, "%s has no dim %d", ts_shape_text(first).text, (int)dim);
    for (int i = 0; i < inference->inputs; i++) {
        TsShape next = inference->in_shape[i], alike = next;
        if (next.dims == first.dims)
            alike.size[dim] = first.size[dim];
        if (!ts_shape_equal(alike, first) || inference->in_dtype[i] != inference->in_dtype[0])
            return ts_status_error(TS_CODE_INVALID, "along dim %d: %s %s does not go with %s %s", (int)dim,
                                   ts_dtype_name(inference->in_dtype[0]), ts_shape_text(first).text,
                                   ts_dtype_name(inference->in_dtype[i]), ts_shape_text(next).text);
        total += next.size[dim];
    }
    inference->out_shape[0] = first;
    inference->out_shape[0].size[dim] = total;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_concatenate(TsPlaceRule *rule, const TsNodeView *node)
{
    place_along(rule, node, ((const ConcatenateAttributes *)node->attributes)->dim);
}

static void forward_concatenate(const TsCall *call)
{
    int64_t dim = ((const ConcatenateAttributes *)call->attributes)->dim, first[TS_MAX_DIMS] = {0};
    const TsBlock *out = &call->out[0];
    for (int i = 0; i < call->inputs; i++) {
        const TsBlock *x = &call->in[i];
        ts_op_copy_block(out->data, out->shape, x->data, x->shape, first, origin, x->shape, x->dtype, call->threads);
        first[dim] += x->shape.size[dim];
    }
}

static void gradient_concatenate(TsGradientCall *call)
{
    int dim = (int)((const ConcatenateAttributes *)call->attributes)->dim;
    int64_t first = 0;
    for (int i = 0; i < call->inputs; i++) {
        int64_t size = ts_dim(call->in[i], dim);
        if (call->needs[i])
            call->d_in[i] = ts_slice(call->d_out[0], dim, first, size);
        first += size;
    }
}

const TsOp ts_op_concatenate = {
    .name = "concatenate",
    .attributes_bytes = sizeof(ConcatenateAttributes),
    .outputs = 1,
    .infer = infer_concatenate,
    .place = place_concatenate,
    .forward = forward_concatenate,
    .gradient = gradient_concatenate,
};

TsTensor ts_concatenate(const TsTensor *x, int count, int dim)
{
    ConcatenateAttributes attributes = {.dim = dim < 0 && x[0].id >= 0 ? dim + ts_dims(x[0]) : dim};
    return ts_graph_add_one(&ts_op_concatenate, x, count, &attributes);
}
