/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy, of which the classes may be cut: each rank takes the maximum over its own, then sums over its own;
 * both are reduced, (B, T) and (B, T, 3), and the logits never move. That takes three ops: ts_max, cross_entropy_sums,
 * and cross_entropy, which makes losses of the sums. Where all classes turn out to be on each rank, the pass
 * join_maxima makes cross_entropy_rows of the first two, which reads the logits once. The gradient takes the place of
 * the logits where nothing else needs them.
 */
#include "tensor/kernels/cross_entropy.h"

#include "tensor/node.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    double smoothing, z_loss;
    int64_t ignore, classes;
} Attributes;

/* ---- cross_entropy_sums: logits (..., V), labels (...), maxima (...) -> (..., 3); its gradient: and d_sums ---- */

static TsStatus infer_sums(TsInference *inference)
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
    inference->out_shape[0] = logits;
    inference->out_shape[0].size[logits.dims - 1] = TS_CROSS_ENTROPY_SUMS;
    inference->out_dtype[0] = ts_op_sum_dtype(dtype);
    return TS_OK;
}

static TsStatus infer_d_logits(TsInference *inference)
{
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

/* Positions are alike in all operands; of `input`, and of the output where it has them, the classes bear a label too.
 */
static void label_positions(TsPlaceRule *rule, const TsNodeView *node, int dims)
{
    for (int d = 0; d < dims && d < TS_MAX_DIMS; d++) {
        for (int i = 0; i < node->inputs; i++)
            rule->in_label[i][d] = (int8_t)(d + 1);
        rule->out_label[0][d] = (int8_t)(d + 1);
    }
}

static void place_sums(TsPlaceRule *rule, const TsNodeView *node)
{
    int dims = node->in_shape[1].dims;
    label_positions(rule, node, dims);
    if (dims < TS_MAX_DIMS)
        rule->in_label[0][dims] = (int8_t)(dims + 1);
    rule->reduction = TS_SUM;
}

static void place_d_logits(TsPlaceRule *rule, const TsNodeView *node)
{
    int dims = node->in_shape[1].dims;
    label_positions(rule, node, dims);
    if (dims < TS_MAX_DIMS)
        rule->in_label[0][dims] = rule->out_label[0][dims] = (int8_t)(dims + 1);
}

static TsCrossEntropyRows rows_of(const TsCall *call, const TsBlock *labels)
{
    const Attributes *attributes = call->attributes;
    return (TsCrossEntropyRows){
        .labels = labels->data,
        .rows = ts_shape_elems(labels->shape),
        .whole_classes = attributes->classes,
        .ignore = (int32_t)attributes->ignore,
        .smoothing = attributes->smoothing,
        .z_loss = attributes->z_loss,
    };
}

/* Checks the labels: the gradient may be all that is run. */
static TsCrossEntropyRows logit_rows_of(const TsCall *call)
{
    const TsBlock *logits = &call->in[0], *labels = &call->in[1];
    TsCrossEntropyRows rows = rows_of(call, labels);
    rows.classes = logits->shape.size[logits->shape.dims - 1];
    rows.first = logits->first[logits->shape.dims - 1];
    int64_t bad = ts_kernel_labels_check(&rows);
    TS_CHECK(bad < 0, "cross_entropy: label %d at %s is neither one of %lld classes nor %d, which is ignored",
             rows.labels[bad], ts_op_position(labels, bad).text, (long long)rows.whole_classes, rows.ignore);
    return rows;
}

static void forward_sums(const TsCall *call)
{
    TsCrossEntropyRows rows = logit_rows_of(call);
    ts_cross_entropy_kernels(call->in[0].dtype)
        ->sums(call->out[0].data, call->in[0].data, call->in[2].data, &rows, call->threads);
}

static void forward_d_logits(const TsCall *call)
{
    TsCrossEntropyRows rows = logit_rows_of(call);
    ts_cross_entropy_kernels(call->in[0].dtype)
        ->backward(call->out[0].data, call->in[0].data, call->in[2].data, call->in[3].data, &rows, call->threads);
}

static TsCost cost_sums(const TsNodeView *node)
{
    return (TsCost){.flops = 4 * (double)ts_shape_elems(node->in_shape[0])};
}

/* Labels, 0 where they are ignored; and 1 where they count, else 0, of that dtype. */
static TsTensor counted_labels(TsTensor labels, TsTensor *counts, TsDtype dtype, const Attributes *attributes)
{
    TsTensor ignored = ts_equal(labels, ts_constant(labels.graph, TS_I32, ts_scalar, (double)attributes->ignore));
    *counts = ts_where(ignored, ts_constant(labels.graph, dtype, ts_scalar, 0),
                       ts_constant(labels.graph, dtype, ts_scalar, 1));
    return ts_where(ignored, ts_constant(labels.graph, TS_I32, ts_scalar, 0), labels);
}

/* A dim of 1 after the others. */
static TsTensor as_column(TsTensor x)
{
    TsShape shape = ts_shape_of_tensor(x);
    shape.size[shape.dims++] = 1;
    return ts_reshape(x, shape);
}

static void d_sums_plainly(TsTensor *out, const TsTensor *in, int inputs, const void *call_attributes)
{
    const Attributes *attributes = call_attributes;
    TsTensor d_sums = in[inputs - 1], counts;
    TsTensor x = ts_cast(in[0], ts_dtype_of(d_sums)), maxima = as_column(ts_cast(in[2], ts_dtype_of(d_sums)));
    TsTensor labels = counted_labels(in[1], &counts, ts_dtype_of(d_sums), attributes);
    int last = ts_dims(x) - 1;
    TsTensor sum[TS_CROSS_ENTROPY_SUMS] = {ts_sum(ts_exp(ts_sub(x, maxima)), 1 << last, true),
                                           ts_gather(x, as_column(labels), last),
                                           ts_scale(ts_sum(x, 1 << last, true), attributes->smoothing != 0)};
    TsTensor sums = ts_mul(ts_concatenate(sum, TS_CROSS_ENTROPY_SUMS, last), as_column(counts));
    ts_graph_differentiate(out, ts_sum(ts_mul(sums, d_sums), -1, false), in, 1);
}

static void gradient_d_sums(TsGradientCall *call)
{
    ts_op_gradient_plainly(call, d_sums_plainly);
}

static void gradient_sums(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] =
            ts_graph_add_one(&ts_op_d_cross_entropy_sums,
                             (TsTensor[]){call->in[0], call->in[1], call->in[2], call->d_out[0]}, 4, call->attributes);
}

const TsOp ts_op_cross_entropy_sums = {
    .name = "cross_entropy_sums",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_sums,
    .place = place_sums,
    .forward = forward_sums,
    .gradient = gradient_sums,
    .cost = cost_sums,
};

const TsOp ts_op_d_cross_entropy_sums = {
    .name = "d_cross_entropy_sums",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer_d_logits,
    .place = place_d_logits,
    .forward = forward_d_logits,
    .gradient = gradient_d_sums,
    .cost = cost_sums,
};

/* ---- cross_entropy_rows: logits (..., V), labels (...) -> sums (..., 3), maxima (..., 1); put in by a pass ---- */

static TsStatus infer_rows(TsInference *inference)
{
    TS_TRY(infer_sums(inference));
    inference->out_shape[1] = inference->out_shape[0];
    inference->out_shape[1].size[inference->out_shape[0].dims - 1] = 1;
    inference->out_dtype[1] = inference->in_dtype[0];
    return TS_OK;
}

static void place_rows(TsPlaceRule *rule, const TsNodeView *node)
{
    int dims = node->in_shape[1].dims;
    label_positions(rule, node, dims);
    for (int d = 0; d < dims && d < TS_MAX_DIMS; d++)
        rule->out_label[1][d] = (int8_t)(d + 1);
}

static void forward_rows(const TsCall *call)
{
    TsCrossEntropyRows rows = logit_rows_of(call);
    ts_cross_entropy_kernels(call->in[0].dtype)
        ->rows(call->out[0].data, call->out[1].data, call->in[0].data, &rows, call->threads);
}

const TsOp ts_op_cross_entropy_rows = {
    .name = "cross_entropy_rows",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 2,
    .infer = infer_rows,
    .place = place_rows,
    .forward = forward_rows,
    .gradient = ts_op_refuse_gradient,
    .cost = cost_sums,
};

/* ---- cross_entropy: sums (..., 3), labels (...), maxima (...) -> (...); its gradient: and d_loss (...) ---- */

static TsStatus infer_loss(TsInference *inference)
{
    inference->out_shape[0] = inference->in_shape[1];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_loss(TsPlaceRule *rule, const TsNodeView *node)
{
    label_positions(rule, node, node->in_shape[1].dims);
}

static void forward_loss(const TsCall *call)
{
    TsCrossEntropyRows rows = rows_of(call, &call->in[1]);
    ts_cross_entropy_kernels(call->in[2].dtype)->loss(call->out[0].data, call->in[0].data, call->in[2].data, &rows);
}

static void forward_d_sums(const TsCall *call)
{
    TsCrossEntropyRows rows = rows_of(call, &call->in[1]);
    ts_cross_entropy_kernels(call->in[2].dtype)
        ->d_sums(call->out[0].data, call->in[0].data, call->in[2].data, call->in[3].data, &rows);
}

static void d_loss_plainly(TsTensor *out, const TsTensor *in, int inputs, const void *call_attributes)
{
    const Attributes *attributes = call_attributes;
    TsTensor sums = in[0], d_loss = in[inputs - 1], column[TS_CROSS_ENTROPY_SUMS], counts;
    int last = ts_dims(sums) - 1;
    counted_labels(in[1], &counts, ts_dtype_of(sums), attributes);
    for (int k = 0; k < TS_CROSS_ENTROPY_SUMS; k++)
        column[k] = ts_reshape(ts_slice(sums, last, k, 1), ts_shape_of_tensor(counts));
    TsTensor none = ts_equal(counts, ts_constant(sums.graph, ts_dtype_of(sums), ts_scalar, 0));
    TsTensor one = ts_constant(sums.graph, ts_dtype_of(sums), ts_scalar, 1);
    TsTensor normalizer = ts_add(ts_cast(in[2], ts_dtype_of(sums)), ts_ln(ts_where(none, one, column[0])));
    TsTensor loss = ts_sub(normalizer, ts_scale(column[1], 1 - attributes->smoothing));
    loss = ts_sub(loss, ts_scale(column[2], attributes->smoothing / (double)attributes->classes));
    loss = ts_mul(ts_add(loss, ts_scale(ts_mul(normalizer, normalizer), attributes->z_loss)), counts);
    ts_graph_differentiate(out, ts_sum(ts_mul(loss, d_loss), -1, false), in, 1);
}

static void gradient_d_loss(TsGradientCall *call)
{
    ts_op_gradient_plainly(call, d_loss_plainly);
}

static void gradient_loss(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] =
            ts_graph_add_one(&ts_op_d_cross_entropy,
                             (TsTensor[]){call->in[0], call->in[1], call->in[2], call->d_out[0]}, 4, call->attributes);
}

const TsOp ts_op_cross_entropy = {
    .name = "cross_entropy",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_loss,
    .place = place_loss,
    .forward = forward_loss,
    .gradient = gradient_loss,
};

const TsOp ts_op_d_cross_entropy = {
    .name = "d_cross_entropy",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer_d_logits,
    .place = place_loss,
    .forward = forward_d_sums,
    .gradient = gradient_d_loss,
};

TsTensor ts_cross_entropy(TsTensor logits, TsTensor labels, TsCrossEntropy options)
{
    int last = logits.id >= 0 ? ts_dims(logits) - 1 : -1;
    Attributes attributes = {.smoothing = options.smoothing,
                             .z_loss = options.z_loss,
                             .ignore = options.ignore,
                             .classes = last >= 0 ? ts_dim(logits, last) : 1};
    TsTensor maxima = logits;
    if (last >= 0 && ts_dtype_is_float(ts_dtype_of(logits)) && attributes.classes > 0)
        maxima = ts_stop_gradient(ts_max(logits, 1 << last, false)); /* the loss does not depend on it */
    TsTensor sums = ts_graph_add_one(&ts_op_cross_entropy_sums, (TsTensor[]){logits, labels, maxima}, 3, &attributes);
    return ts_graph_add_one(&ts_op_cross_entropy, (TsTensor[]){sums, labels, maxima}, 3, &attributes);
}
