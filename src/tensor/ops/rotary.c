/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary position embedding. All dims but the width may be cut: a block knows at which position it begins.
 */
#include "tensor/kernels/rotary.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    double base;
    TsRotaryScaling scaling;
    int64_t turned; /* resolved: 0 only for a width below 2 */
    int32_t interleaved, backwards;
    int32_t has_first, unused;
} Attributes;

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0];
    TsInference operand = *inference;
    operand.inputs = 1;
    TS_TRY(ts_op_same_float(&operand));
    if (attributes->has_first)
        TS_TRY(ts_op_scalar("first", inference, 1, TS_I64));
    if (x.dims != 4 && x.dims != 5)
        return ts_status_error(TS_CODE_INVALID, "%s: expected (B, T, H, D)", ts_shape_text(x).text);
    int64_t width = x.size[x.dims - 1];
    if (attributes->turned < 0 || attributes->turned > width || attributes->turned % 2)
        return ts_status_error(TS_CODE_INVALID, "%lld of the width of %s: expected an even number of at most %lld",
                               (long long)attributes->turned, ts_shape_text(x).text, (long long)width);
    if (!(attributes->base > 0))
        return ts_status_error(TS_CODE_INVALID, "a base of %g is not above 0", attributes->base);
    const TsRotaryScaling *scaling = &attributes->scaling;
    if (!(scaling->factor >= 0) || (scaling->high != 0 && !(scaling->high > scaling->low && scaling->original > 0)))
        return ts_status_error(TS_CODE_INVALID,
                               "scaling by %g of what has %g to %g waves in %g positions: expected 0 or more, "
                               "more waves than that, and positions",
                               scaling->factor, scaling->low, scaling->high, scaling->original);
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[0].dims - 1; d++)
        rule->in_label[0][d] = rule->out_label[0][d] = (int8_t)(d + 1);
    rule->linearity = TS_LINEAR_FIRST;
}

static void forward(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0];
    TsRotaryShape shape = {
        .batch = x->shape.size[0],
        .length = x->shape.size[1],
        .heads = x->shape.size[2] * (x->shape.dims == 5 ? x->shape.size[3] : 1),
        .width = x->shape.size[x->shape.dims - 1],
        .turned = attributes->turned,
        .first = x->first[1] + (attributes->has_first ? *(const int64_t *)call->in[1].data : 0),
        .base = attributes->base,
        .factor = attributes->scaling.factor,
        .low = attributes->scaling.low,
        .high = attributes->scaling.high,
        .original = attributes->scaling.original,
        .interleaved = attributes->interleaved,
        .backwards = attributes->backwards,
    };
    ts_rotary_kernels(x->dtype)->turn(call->out[0].data, x->data, &shape, call->scratch, call->threads);
}

static size_t scratch_bytes(const TsCall *call)
{
    return ts_rotary_scratch_bytes(((const Attributes *)call->attributes)->turned, call->threads);
}

static void gradient(TsGradientCall *call)
{
    Attributes attributes;
    memcpy(&attributes, call->attributes, sizeof attributes);
    attributes.backwards = !attributes.backwards;
    if (call->needs[0])
        call->d_in[0] = ts_graph_add_one(&ts_op_rotary, (TsTensor[]){call->d_out[0], call->in[call->inputs - 1]},
                                         call->inputs, &attributes);
}

const TsOp ts_op_rotary = {
    .name = "rotary",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .scratch_bytes = scratch_bytes,
};

TsTensor ts_rotary(TsTensor x, TsTensor first, TsRotary options)
{
    int64_t width = x.id >= 0 && ts_dims(x) ? ts_dim(x, -1) : 0;
    Attributes attributes = {
        .base = options.base != 0 ? options.base : 10000,
        .scaling = options.scaling,
        .turned = options.turned != 0 ? options.turned : width,
        .interleaved = options.interleaved,
        .has_first = first.graph != NULL,
    };
    return ts_graph_add_one(&ts_op_rotary, (TsTensor[]){x, first}, 1 + attributes.has_first, &attributes);
}
