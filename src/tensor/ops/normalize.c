/* SPDX-License-Identifier: Apache-2.0
 *
 * Layer norm and RMS norm over the last dim.
 */
#include "tensor/kernels/fused.h"
#include "tensor/kernels/normalize.h"

#include "tensor/node.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    double epsilon;
    int64_t rms;
} Attributes;

/* Inputs of normalize: x, then scale, then bias, as many as there are; those are f32 where x is bf16. */
static TsStatus infer(TsInference *inference)
{
    TsShape x = inference->in_shape[0];
    TsInference first = *inference;
    first.inputs = 1;
    TS_TRY(ts_op_same_float(&first));
    if (x.dims == 0 || x.size[x.dims - 1] == 0)
        return ts_status_error(TS_CODE_INVALID, "%s has nothing in its last dim", ts_shape_text(x).text);
    for (int i = 1; i < inference->inputs; i++) {
        TsShape row = inference->in_shape[i];
        if (row.dims != 1 || row.size[0] != x.size[x.dims - 1])
            return ts_status_error(TS_CODE_INVALID, "%s %s does not go with the last dim of %s",
                                   i == 1 ? "scale" : "bias", ts_shape_text(row).text, ts_shape_text(x).text);
        if (inference->in_dtype[i] != ts_op_sum_dtype(inference->in_dtype[0]))
            return ts_status_error(TS_CODE_INVALID, "%s of %s does not go with %s", i == 1 ? "scale" : "bias",
                                   ts_dtype_name(inference->in_dtype[i]), ts_dtype_name(inference->in_dtype[0]));
    }
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

/* Rows may be cut, and are whole themselves. */
static void label_rows(int8_t *label, TsShape shape)
{
    for (int d = 0; d + 1 < shape.dims; d++)
        label[d] = (int8_t)(d + 1);
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    label_rows(rule->in_label[0], node->in_shape[0]);
    label_rows(rule->out_label[0], node->in_shape[0]);
}

static TsNormalizeRows rows_of(const void *attributes, TsShape x)
{
    const Attributes *options = attributes;
    return (TsNormalizeRows){
        .rows = ts_op_elems_between(x, 0, x.dims - 1),
        .columns = x.size[x.dims - 1],
        .epsilon = options->epsilon,
        .rms = options->rms,
    };
}

static void forward(const TsCall *call)
{
    const TsBlock *x = &call->in[0];
    ts_normalize_kernels(x->dtype)->forward(call->out[0].data, x->data, call->inputs > 1 ? call->in[1].data : NULL,
                                            call->inputs > 2 ? call->in[2].data : NULL,
                                            rows_of(call->attributes, x->shape), call->threads);
}

static void fuse(TsFusedStep *step, const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    step->kind = TS_FUSED_NORMALIZE;
    step->kernel = (int8_t)attributes->rms;
    step->parameter = attributes->epsilon;
}

static void fuse_gradient(TsFusedStep *step, const TsNodeView *node)
{
    fuse(step, node);
    step->kind = TS_FUSED_D_NORMALIZE;
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 8 * (double)ts_shape_elems(node->in_shape[0])};
}

/* Inputs of the gradient: x, d_out, and scale where there is one, which makes outputs of d_scale and d_bias too. */

static TsStatus infer_gradient(TsInference *inference)
{
    TsShape x = inference->in_shape[0];
    inference->out_shape[0] = x;
    inference->out_dtype[0] = inference->in_dtype[0];
    for (int i = 1; i < inference->outputs; i++) {
        inference->out_shape[i] = ts_shape(x.size[x.dims - 1]);
        inference->out_dtype[i] = ts_op_sum_dtype(inference->in_dtype[0]);
    }
    return TS_OK;
}

static void place_gradient(TsPlaceRule *rule, const TsNodeView *node)
{
    label_rows(rule->in_label[0], node->in_shape[0]);
    label_rows(rule->in_label[1], node->in_shape[0]);
    label_rows(rule->out_label[0], node->in_shape[0]);
    rule->reduction = TS_SUM;
}

static void forward_gradient(const TsCall *call)
{
    const TsBlock *x = &call->in[0];
    bool affine = call->outputs == 3;
    ts_normalize_kernels(x->dtype)->backward(call->out[0].data, affine ? call->out[1].data : NULL,
                                             affine ? call->out[2].data : NULL, x->data,
                                             affine ? call->in[2].data : NULL, call->in[1].data,
                                             rows_of(call->attributes, x->shape), call->scratch, call->threads);
}

static size_t scratch_bytes(const TsCall *call)
{
    const TsBlock *x = &call->in[0];
    TsNormalizeRows shape = rows_of(call->attributes, x->shape);
    return call->outputs == 3 ? ts_normalize_scratch_bytes(shape.rows, shape.columns, x->dtype) : 0;
}

static void gradient(TsGradientCall *call)
{
    TsTensor d[3], in[3] = {call->in[0], call->d_out[0], call->inputs > 1 ? call->in[1] : TS_NONE};
    bool affine = call->inputs > 1;
    ts_graph_add(d, affine ? &ts_op_d_normalize_affine : &ts_op_d_normalize, in, affine ? 3 : 2, call->attributes);
    for (int i = 0; i < call->inputs; i++)
        if (call->needs[i])
            call->d_in[i] = d[i];
}

/* x / sqrt(mean of squares), of x less its mean where it is layer norm; times scale. In the dtype of sums. */
static TsTensor normalized_plainly(TsTensor x, TsTensor scale, const Attributes *attributes)
{
    int row = 1 << (ts_dims(x) - 1);
    x = ts_cast(x, ts_op_sum_dtype(ts_dtype_of(x)));
    x = attributes->rms ? x : ts_sub(x, ts_mean(x, row, true));
    TsTensor spread = ts_sqrt(ts_shift(ts_mean(ts_mul(x, x), row, true), attributes->epsilon));
    TsTensor out = ts_div(x, spread);
    return scale.graph ? ts_mul(out, scale) : out;
}

static void d_plainly(TsTensor *out, const TsTensor *in, int inputs, const void *attributes)
{
    TsTensor scale = inputs > 2 ? in[2] : TS_NONE, y = normalized_plainly(in[0], scale, attributes);
    TsTensor d_y = ts_cast(in[1], ts_dtype_of(y));
    ts_graph_differentiate(out, ts_sum(ts_mul(y, d_y), -1, false), (TsTensor[]){in[0], scale}, inputs - 1);
    if (inputs > 2)
        out[2] = ts_sum(d_y, (1 << (ts_dims(d_y) - 1)) - 1, false); /* of the bias: over all dims but the last */
}

static void gradient_twice(TsGradientCall *call)
{
    ts_op_gradient_plainly(call, d_plainly);
}

const TsOp ts_op_normalize = {
    .name = "normalize",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
    .fuse = fuse,
};

const TsOp ts_op_d_normalize = {
    .name = "d_normalize",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_gradient,
    .place = place_gradient,
    .forward = forward_gradient,
    .gradient = gradient_twice,
    .cost = cost,
    .fuse = fuse_gradient,
};

const TsOp ts_op_d_normalize_affine = {
    .name = "d_normalize_affine",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 3,
    .infer = infer_gradient,
    .place = place_gradient,
    .forward = forward_gradient,
    .gradient = gradient_twice,
    .cost = cost,
    .fuse = fuse_gradient,
    .scratch_bytes = scratch_bytes,
};

TsTensor ts_normalize(TsTensor x, TsTensor scale, TsTensor bias, TsNormalize options)
{
    Attributes attributes = {.epsilon = options.epsilon, .rms = options.rms};
    /* TS_NONE has no graph; the tensor of an error has one, and is passed on. */
    bool scaled = scale.graph != NULL, biased = bias.graph != NULL;
    TsTensor out =
        ts_graph_add_one(&ts_op_normalize, (TsTensor[]){x, scale, bias}, 1 + scaled + (scaled && biased), &attributes);
    return biased && !scaled ? ts_add(out, bias) : out;
}
