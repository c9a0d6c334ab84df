/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention as one op, and its gradient. Heads and batch may be cut; queries and keys are whole.
 */
#include "tensor/kernels/attend.h"

#include <math.h>

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    double scale; /* resolved: never 0 */
    int64_t window;
    int32_t causal;
    int32_t has_first;       /* the last input is query_first */
    int32_t has_d_logsumexp; /* gradient: input 6 */
    int32_t unused;
} Attributes;

/* Inputs: q, k, v; of the gradient then out, logsumexp, d_out and perhaps d_logsumexp; perhaps query_first. */
enum { Q, K, V, OUT, LOGSUMEXP, D_OUT, D_LOGSUMEXP };

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape q = inference->in_shape[Q], k = inference->in_shape[K], v = inference->in_shape[V];
    TsInference operands = *inference;
    operands.inputs = 3;
    TS_TRY(ts_op_same_float(&operands));
    bool fits = q.dims == 4 && k.dims == 4 && ts_shape_equal(k, v) && q.size[0] == k.size[0] && q.size[3] == k.size[3];
    if (!fits || k.size[2] == 0 || q.size[2] % k.size[2] != 0 || q.size[3] == 0)
        return ts_status_error(TS_CODE_INVALID,
                               "queries %s do not go with keys %s and values %s: expected (B, Tq, H, D), "
                               "(B, Tk, Hkv, D) twice, and Hkv that divides H",
                               ts_shape_text(q).text, ts_shape_text(k).text, ts_shape_text(v).text);
    if (attributes->has_first)
        TS_TRY(ts_op_scalar("query_first", inference, inference->inputs - 1, TS_I64));
    inference->out_shape[0] = q;
    inference->out_dtype[0] = inference->in_dtype[Q];
    inference->out_shape[1] = ts_shape_of(3, q.size);
    inference->out_dtype[1] = ts_op_sum_dtype(inference->in_dtype[Q]);
    return TS_OK;
}

static TsStatus infer_gradient(TsInference *inference)
{
    for (int i = 0; i < 3; i++) {
        inference->out_shape[i] = inference->in_shape[i];
        inference->out_dtype[i] = inference->in_dtype[i];
    }
    return TS_OK;
}

/* Query heads and key heads are cut alike where there are as many of both; else they are whole. */
enum { BATCH = 1, HEADS };

static void label_heads(int8_t *label, bool heads_may_be_cut)
{
    label[0] = BATCH;
    label[2] = heads_may_be_cut ? HEADS : 0;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    bool alike = node->in_shape[Q].size[2] == node->in_shape[K].size[2];
    for (int i = 0; i < node->inputs - attributes->has_first; i++)
        label_heads(rule->in_label[i], alike);
    for (int i = 0; i < node->outputs; i++)
        label_heads(rule->out_label[i], alike);
}

static TsAttendShape shape_of(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    TsShape q = call->in[Q].shape, k = call->in[K].shape;
    const int64_t *first = attributes->has_first ? call->in[call->inputs - 1].data : NULL;
    return (TsAttendShape){
        .batch = q.size[0],
        .queries = q.size[1],
        .keys = k.size[1],
        .heads = q.size[2],
        .kv_heads = k.size[2],
        .width = q.size[3],
        .group = call->in[Q].global.size[2] / call->in[K].global.size[2],
        .scale = attributes->scale,
        .causal = attributes->causal,
        .window = attributes->window,
        .query_first = first ? *first : k.size[1] - q.size[1],
    };
}

static void forward(const TsCall *call)
{
    TsAttendShape shape = shape_of(call);
    TsAttendIn in = {.q = call->in[Q].data, .k = call->in[K].data, .v = call->in[V].data};
    ts_attend_kernels(call->in[Q].dtype)
        ->forward(call->out[0].data, call->out[1].data, &in, &shape, call->scratch, call->threads);
}

static size_t scratch_bytes(const TsCall *call)
{
    TsAttendShape shape = shape_of(call);
    return ts_attend_kernels(call->in[Q].dtype)->forward_scratch_bytes(&shape, call->threads);
}

static void forward_gradient(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    TsAttendShape shape = shape_of(call);
    TsAttendIn in = {
        .q = call->in[Q].data,
        .k = call->in[K].data,
        .v = call->in[V].data,
        .out = call->in[OUT].data,
        .d_out = call->in[D_OUT].data,
        .logsumexp = call->in[LOGSUMEXP].data,
        .d_logsumexp = attributes->has_d_logsumexp ? call->in[D_LOGSUMEXP].data : NULL,
    };
    ts_attend_kernels(call->in[Q].dtype)
        ->backward(call->out[Q].data, call->out[K].data, call->out[V].data, &in, &shape, call->scratch, call->threads);
}

static size_t scratch_bytes_gradient(const TsCall *call)
{
    TsAttendShape shape = shape_of(call);
    return ts_attend_kernels(call->in[Q].dtype)->backward_scratch_bytes(&shape, call->threads);
}

/* Pairs of a query and a key that it sees, times the width and the heads: what one product of the two costs, halved. */
static double seen_products(const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    TsShape q = node->in_shape[Q];
    double queries = (double)q.size[1], keys = (double)node->in_shape[K].size[1], pairs = queries * keys;
    if (attributes->causal && keys >= queries)
        pairs -= queries * (queries - 1) / 2;
    if (attributes->window && (double)attributes->window < keys)
        pairs = fmin(pairs, queries * (double)(attributes->window + 1));
    return pairs * (double)q.size[0] * (double)q.size[2] * (double)q.size[3];
}

static TsCost cost(const TsNodeView *node)
{
    return (TsCost){.flops = 4 * seen_products(node)};
}

static TsCost cost_gradient(const TsNodeView *node)
{
    return (TsCost){.flops = 10 * seen_products(node)};
}

static void gradient(TsGradientCall *call)
{
    Attributes attributes;
    memcpy(&attributes, call->attributes, sizeof attributes);
    TsTensor q = call->in[Q], d[3], in[8] = {q, call->in[K], call->in[V], call->out[0], call->out[1]};
    int inputs = 5;
    in[inputs++] =
        call->d_out[0].id >= 0 ? call->d_out[0] : ts_constant(q.graph, ts_dtype_of(q), ts_shape_of_tensor(q), 0);
    attributes.has_d_logsumexp = call->d_out[1].id >= 0;
    if (attributes.has_d_logsumexp)
        in[inputs++] = call->d_out[1];
    if (attributes.has_first)
        in[inputs++] = call->in[call->inputs - 1];
    ts_graph_add(d, &ts_op_d_attend, in, inputs, &attributes);
    for (int i = 0; i < 3; i++)
        if (call->needs[i])
            call->d_in[i] = d[i];
}

const TsOp ts_op_attend = {
    .name = "attend",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 2,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
    .scratch_bytes = scratch_bytes,
};

const TsOp ts_op_d_attend = {
    .name = "d_attend",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 3,
    .flags = TS_OP_NO_GRADIENT,
    .infer = infer_gradient,
    .place = place,
    .forward = forward_gradient,
    .cost = cost_gradient,
    .scratch_bytes = scratch_bytes_gradient,
};

TsAttended ts_attend(TsTensor q, TsTensor k, TsTensor v, TsTensor query_first, TsAttend options)
{
    TsTensor out[2], in[4] = {q, k, v, query_first};
    double width = q.id >= 0 && ts_dims(q) ? (double)ts_dim(q, -1) : 1;
    Attributes attributes = {
        .scale = options.scale != 0 ? options.scale : 1 / sqrt(width > 0 ? width : 1),
        .window = options.window,
        .causal = options.causal,
        .has_first = query_first.graph != NULL,
    };
    ts_graph_add(out, &ts_op_attend, in, 3 + attributes.has_first, &attributes);
    return (TsAttended){.out = out[0], .logsumexp = out[1]};
}
