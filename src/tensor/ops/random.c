/* SPDX-License-Identifier: Apache-2.0
 *
 * Random ops: dropout, whose mask is never stored, and noise: uniform, normal, Gumbel.
 */
#include "tensor/kernels/fused.h"

#include <stddef.h>

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

static TsStream stream_of(uint64_t key, const TsBlock *step)
{
    return (TsStream){.key = {(uint32_t)key, (uint32_t)(key >> 32)}, .step = (uint64_t) * (const int64_t *)step->data};
}

static TsRandomBlock block_of(const TsBlock *block)
{
    return (TsRandomBlock){.shape = block->shape, .whole = block->global, .first = block->first};
}

/* ---- drop: x, step ---- */

typedef struct DropAttributes {
    double rate;
    uint64_t stream;
} DropAttributes;

static TsStatus infer_drop(TsInference *inference)
{
    const DropAttributes *attributes = inference->attributes;
    TsInference operand = *inference;
    operand.inputs = 1;
    TS_TRY(ts_op_same_float(&operand));
    TS_TRY(ts_op_scalar("step", inference, 1, TS_I64));
    if (!(attributes->rate >= 0 && attributes->rate <= 1))
        return ts_status_error(TS_CODE_INVALID, "a rate of %g is not in [0, 1]", attributes->rate);
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_drop(TsPlaceRule *rule, const TsNodeView *node)
{
    ts_op_label_alike(rule, node, 0);
    rule->linearity = TS_LINEAR_FIRST;
}

static void forward_drop(const TsCall *call)
{
    const DropAttributes *attributes = call->attributes;
    const TsBlock *out = &call->out[0];
    ts_random_kernels(out->dtype)
        ->drop(out->data, call->in[0].data, block_of(out), stream_of(attributes->stream, &call->in[1]),
               attributes->rate, call->threads);
}

static void fuse_drop(TsFusedStep *step, const TsNodeView *node)
{
    const DropAttributes *attributes = node->attributes;
    step->kind = TS_FUSED_DROP;
    step->parameter = attributes->rate;
    step->stream = attributes->stream;
}

static void gradient_drop(TsGradientCall *call)
{
    const DropAttributes *attributes = call->attributes;
    if (call->needs[0])
        call->d_in[0] = ts_drop(call->d_out[0], call->in[1], attributes->rate, attributes->stream);
}

const TsOp ts_op_drop = {
    .name = "drop",
    .attributes_bytes = sizeof(DropAttributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer_drop,
    .place = place_drop,
    .forward = forward_drop,
    .gradient = gradient_drop,
    .fuse = fuse_drop,
};

TsTensor ts_drop(TsTensor x, TsTensor step, double rate, uint64_t stream)
{
    if (rate == 0)
        return x;
    DropAttributes attributes = {.rate = rate, .stream = stream};
    return ts_graph_add_one(&ts_op_drop, (TsTensor[]){x, step}, 2, &attributes);
}

/* ---- noise: step ---- */

typedef struct NoiseAttributes {
    int64_t kind; /* TsNoise */
    uint64_t stream;
    int64_t dims;
    int64_t size[TS_MAX_DIMS];
    TsPlacement placement; /* where a reader wants it; set by the place pass */
} NoiseAttributes;

static TsStatus infer_noise(TsInference *inference)
{
    const NoiseAttributes *attributes = inference->attributes;
    TS_TRY(ts_op_scalar("step", inference, 0, TS_I64));
    inference->out_shape[0] = ts_shape_of((int)attributes->dims, attributes->size);
    inference->out_dtype[0] = TS_F32;
    return TS_OK;
}

static void forward_noise(const TsCall *call)
{
    const NoiseAttributes *attributes = call->attributes;
    const TsBlock *out = &call->out[0];
    ts_random_kernels(TS_F32)->noise(out->data, (TsNoise)attributes->kind, block_of(out),
                                     stream_of(attributes->stream, &call->in[0]), call->threads);
}

#define NOISE_ROW(NAME)                                                                                                \
    {                                                                                                                  \
        .name = NAME, .attributes_bytes = sizeof(NoiseAttributes),                                                     \
        .placement_at = offsetof(NoiseAttributes, placement), .outputs = 1, .flags = TS_OP_NO_GRADIENT,                \
        .infer = infer_noise, .forward = forward_noise,                                                                \
    }

const TsOp ts_op_uniform = NOISE_ROW("uniform");
const TsOp ts_op_normal = NOISE_ROW("normal");
const TsOp ts_op_gumbel = NOISE_ROW("gumbel");

static TsTensor noise(const TsOp *op, TsNoise kind, TsTensor step, TsShape shape, uint64_t stream)
{
    NoiseAttributes attributes;
    memset(&attributes, 0, sizeof attributes); /* padding too */
    attributes.kind = kind;
    attributes.stream = stream;
    attributes.dims = shape.dims;
    memcpy(attributes.size, shape.size, (size_t)shape.dims * sizeof shape.size[0]);
    return ts_graph_add_one(op, &step, 1, &attributes);
}

TsTensor ts_uniform(TsTensor step, TsShape shape, uint64_t stream)
{
    return noise(&ts_op_uniform, TS_NOISE_UNIFORM, step, shape, stream);
}

TsTensor ts_normal(TsTensor step, TsShape shape, uint64_t stream)
{
    return noise(&ts_op_normal, TS_NOISE_NORMAL, step, shape, stream);
}

TsTensor ts_gumbel(TsTensor step, TsShape shape, uint64_t stream)
{
    return noise(&ts_op_gumbel, TS_NOISE_GUMBEL, step, shape, stream);
}
