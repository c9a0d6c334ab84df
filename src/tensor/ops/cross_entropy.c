/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy fused with softmax. The gradient takes the place of the logits where nothing else needs them, so that
 * there is no second copy.
 */
#include "tensor/kernels/cross_entropy.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    double smoothing, z_loss;
    int64_t ignore;
} Attributes;

/* Both ops: logits (..., V), labels (...), and for the gradient d_loss (...). */
static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape logits = inference->in_shape[0], labels = inference->in_shape[1];
    TsDtype dtype = inference->in_dtype[0];
    if ((dtype != TS_F32 && dtype != TS_F64 && dtype != TS_BF16) || inference->in_dtype[1] != TS_I32)
        return ts_status_error(TS_CODE_INVALID, "logits of %s, labels of %s: expected floats and i32",
                               ts_dtype_name(dtype), ts_dtype_name(inference->in_dtype[1]));
    if (logits.dims == 0 || !ts_shape_equal(ts_shape_of(logits.dims - 1, logits.size), labels))
        return ts_status_error(TS_CODE_INVALID, "logits %s do not go with labels %s", ts_shape_text(logits).text,
                               ts_shape_text(labels).text);
    if (logits.size[logits.dims - 1] == 0)
        return ts_status_error(TS_CODE_INVALID, "logits %s have no classes", ts_shape_text(logits).text);
    if (!(attributes->smoothing >= 0 && attributes->smoothing <= 1))
        return ts_status_error(TS_CODE_INVALID, "smoothing %g is not in [0, 1]", attributes->smoothing);
    inference->out_shape[0] = labels;
    inference->out_dtype[0] = ts_op_sum_dtype(dtype);
    return TS_OK;
}

static TsStatus infer_gradient(TsInference *inference)
{
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

/* Positions may be cut, and have all classes. */
static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    for (int d = 0; d < node->in_shape[1].dims && d < TS_MAX_DIMS; d++) {
        for (int i = 0; i < node->inputs; i++)
            rule->in_label[i][d] = (int8_t)(d + 1);
        rule->out_label[0][d] = (int8_t)(d + 1);
    }
}

/* Checks the labels: the gradient may be all that is run. */
static TsCrossEntropyRows rows_of(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *logits = &call->in[0], *labels = &call->in[1];
    TsCrossEntropyRows rows = {
        .labels = labels->data,
        .rows = ts_shape_elems(labels->shape),
        .classes = logits->shape.size[logits->shape.dims - 1],
        .ignore = (int32_t)attributes->ignore,
        .smoothing = attributes->smoothing,
        .z_loss = attributes->z_loss,
    };
    int64_t bad = ts_kernel_labels_check(&rows);
    TS_CHECK(bad < 0, "cross_entropy: label %d at %s is neither one of %lld classes nor %d, which is ignored",
             rows.labels[bad], ts_op_position(labels, bad).text, (long long)rows.classes, rows.ignore);
    return rows;
}

static void forward(const TsCall *call)
{
    TsCrossEntropyRows rows = rows_of(call);
    ts_cross_entropy_kernels(call->in[0].dtype)->forward(call->out[0].data, call->in[0].data, &rows, call->threads);
}

static void forward_gradient(const TsCall *call)
{
    TsCrossEntropyRows rows = rows_of(call);
    ts_cross_entropy_kernels(call->in[0].dtype)
        ->backward(call->out[0].data, call->in[0].data, call->in[2].data, &rows, call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 4 * (double)ts_shape_elems(node->in_shape[0])};
}

static void gradient(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = ts_graph_add_one(&ts_op_d_cross_entropy, (TsTensor[]){call->in[0], call->in[1], call->d_out[0]},
                                         3, call->attributes);
}

const TsOp ts_op_cross_entropy = {
    .name = "cross_entropy",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
};

const TsOp ts_op_d_cross_entropy = {
    .name = "d_cross_entropy",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_NO_GRADIENT | TS_OP_IN_PLACE,
    .infer = infer_gradient,
    .place = place,
    .forward = forward_gradient,
    .cost = cost,
};

TsTensor ts_cross_entropy(TsTensor logits, TsTensor labels, TsCrossEntropy options)
{
    Attributes attributes = {.smoothing = options.smoothing, .z_loss = options.z_loss, .ignore = options.ignore};
    return ts_graph_add_one(&ts_op_cross_entropy, (TsTensor[]){logits, labels}, 2, &attributes);
}
