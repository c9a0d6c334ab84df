/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention as one op, and its gradient. Heads and batch may be cut; queries and keys are whole.
 *
 * Inputs are q, k, v; of the gradient then out, logsumexp, d_out and perhaps d_logsumexp; then those of Extra that are
 * there, in that order.
 */
#include "tensor/kernels/attend.h"

#include <math.h>

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

enum { Q, K, V, OUT, LOGSUMEXP, D_OUT, D_LOGSUMEXP };

typedef enum Extra { FIRST, KEYS_SEEN, QUERY_SEGMENTS, KEY_SEGMENTS, SLOPES, BIAS, STEP, EXTRAS } Extra;

typedef struct Attributes {
    double scale; /* resolved: never 0 */
    int64_t window;
    double drop_rate;
    uint64_t stream;
    int32_t causal;
    int32_t has;             /* bit e: Extra e is there */
    int32_t has_d_logsumexp; /* gradient: input 6 */
    int32_t unused;
} Attributes;

/* Query heads of each key head where q (B, Tq, Hkv, G, D) names them; else 1. */
static int64_t named_group(TsShape q)
{
    return q.dims == 5 ? q.size[3] : 1;
}

/* The dims of heads of q: (H), or (Hkv, G); with `more` dims after them. */
static TsShape head_shape(TsShape q, int more, int64_t first, int64_t second)
{
    TsShape shape = ts_shape_of(q.dims - 3, q.size + 2);
    const int64_t after[] = {first, second};
    for (int i = 0; i < more; i++)
        shape.size[shape.dims++] = after[i];
    return shape;
}

/* Which input an Extra is; -1: it is not there. */
static int find_extra(const Attributes *attributes, int inputs, Extra extra)
{
    if (!(attributes->has >> extra & 1))
        return -1;
    for (int e = extra; e < EXTRAS; e++)
        inputs -= attributes->has >> e & 1;
    return inputs;
}

/* An error unless the Extra, if it is there, has that dtype and shape. */
static TsStatus check_extra(const TsInference *inference, Extra extra, const char *what, TsDtype dtype, TsShape shape)
{
    int i = find_extra(inference->attributes, inference->inputs, extra);
    if (i >= 0 && (inference->in_dtype[i] != dtype || !ts_shape_equal(inference->in_shape[i], shape)))
        return ts_status_error(TS_CODE_INVALID, "%s is %s %s, expected %s %s", what,
                               ts_dtype_name(inference->in_dtype[i]), ts_shape_text(inference->in_shape[i]).text,
                               ts_dtype_name(dtype), ts_shape_text(shape).text);
    return TS_OK;
}

static TsStatus check_extras(const TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape q = inference->in_shape[Q];
    int64_t batch = q.size[0], queries = q.size[1], keys = inference->in_shape[K].size[1];
    TsDtype real = ts_op_sum_dtype(inference->in_dtype[Q]);
    TS_TRY(check_extra(inference, FIRST, "query_first", TS_I64, ts_scalar));
    TS_TRY(check_extra(inference, KEYS_SEEN, "keys_seen", TS_BOOL, ts_shape(batch, keys)));
    TS_TRY(check_extra(inference, QUERY_SEGMENTS, "segments", TS_I32, ts_shape(batch, queries)));
    TS_TRY(check_extra(inference, KEY_SEGMENTS, "key_segments", TS_I32, ts_shape(batch, keys)));
    TS_TRY(check_extra(inference, SLOPES, "slopes", real, head_shape(q, 0, 0, 0)));
    TS_TRY(check_extra(inference, BIAS, "bias", real, head_shape(q, 2, queries, keys)));
    TS_TRY(check_extra(inference, STEP, "step", TS_I64, ts_scalar));
    if (!(attributes->drop_rate >= 0 && attributes->drop_rate <= 1) || attributes->window < 0)
        return ts_status_error(TS_CODE_INVALID, "a rate of %g or a window of %lld: expected [0, 1], and not below 0",
                               attributes->drop_rate, (long long)attributes->window);
    return TS_OK;
}

static TsStatus infer(TsInference *inference)
{
    TsShape q = inference->in_shape[Q], k = inference->in_shape[K], v = inference->in_shape[V];
    TsInference operands = *inference;
    operands.inputs = 3;
    TS_TRY(ts_op_same_float(&operands));
    bool fits = (q.dims == 4 || q.dims == 5) && k.dims == 4 && ts_shape_equal(k, v) && q.size[0] == k.size[0] &&
                q.size[q.dims - 1] == k.size[3] && (q.dims == 4 || q.size[2] == k.size[2]);
    if (!fits || k.size[2] == 0 || q.size[2] % k.size[2] != 0 || k.size[3] == 0)
        return ts_status_error(TS_CODE_INVALID,
                               "queries %s do not go with keys %s and values %s: expected (B, Tq, H, D) "
                               "or (B, Tq, Hkv, G, D), (B, Tk, Hkv, D) twice, and Hkv that divides H",
                               ts_shape_text(q).text, ts_shape_text(k).text, ts_shape_text(v).text);
    TS_TRY(check_extras(inference));
    inference->out_shape[0] = q;
    inference->out_dtype[0] = inference->in_dtype[Q];
    inference->out_shape[1] = ts_shape_of(q.dims - 1, q.size);
    inference->out_dtype[1] = ts_op_sum_dtype(inference->in_dtype[Q]);
    return TS_OK;
}

static TsStatus infer_gradient(TsInference *inference)
{
    for (int i = 0; i < 3; i++) {
        inference->out_shape[i] = inference->in_shape[i];
        inference->out_dtype[i] = inference->in_dtype[i];
    }
    int bias = find_extra(inference->attributes, inference->inputs, BIAS);
    if (inference->outputs > 3 && bias >= 0) {
        inference->out_shape[3] = inference->in_shape[bias];
        inference->out_dtype[3] = inference->in_dtype[bias];
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
    int operands = node->inputs - __builtin_popcount((unsigned)attributes->has), at;
    for (int i = 0; i < operands; i++)
        label_heads(rule->in_label[i], alike);
    for (Extra e = KEYS_SEEN; e <= KEY_SEGMENTS; e++)
        if ((at = find_extra(attributes, node->inputs, e)) >= 0)
            rule->in_label[at][0] = BATCH;
    for (Extra e = SLOPES; e <= BIAS; e++)
        if ((at = find_extra(attributes, node->inputs, e)) >= 0)
            rule->in_label[at][0] = alike ? HEADS : 0;
    for (int i = 0; i < node->outputs && i < 3; i++)
        label_heads(rule->out_label[i], alike);
    if (node->outputs > 3) /* d_bias: summed over the batch */
        rule->out_label[3][0] = alike ? HEADS : 0;
    rule->reduction = TS_SUM;
}

static const void *data_of(const TsCall *call, Extra extra)
{
    int i = find_extra(call->attributes, call->inputs, extra);
    return i >= 0 ? call->in[i].data : NULL;
}

static TsAttendShape shape_of(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *block = &call->in[Q];
    TsShape q = block->shape, k = call->in[K].shape;
    int64_t named = named_group(q);
    const int64_t *first = data_of(call, FIRST), *step = data_of(call, STEP);
    return (TsAttendShape){
        .batch = q.size[0],
        .queries = q.size[1],
        .keys = k.size[1],
        .heads = q.size[2] * named,
        .kv_heads = k.size[2],
        .width = k.size[3],
        .group = named * block->global.size[2] / call->in[K].global.size[2],
        .scale = attributes->scale,
        .causal = attributes->causal,
        .window = attributes->window,
        .query_first = first ? *first : k.size[1] - q.size[1],
        .drop_rate = attributes->drop_rate,
        .stream = {.key = {(uint32_t)attributes->stream, (uint32_t)(attributes->stream >> 32)},
                   .step = step ? (uint64_t)*step : 0},
        .batch_first = block->first[0],
        .head_first = block->first[2] * named,
        .whole_heads = block->global.size[2] * named,
    };
}

static TsAttendIn operands_of(const TsCall *call)
{
    return (TsAttendIn){
        .q = call->in[Q].data,
        .k = call->in[K].data,
        .v = call->in[V].data,
        .keys_seen = data_of(call, KEYS_SEEN),
        .query_segments = data_of(call, QUERY_SEGMENTS),
        .key_segments = data_of(call, KEY_SEGMENTS),
        .slopes = data_of(call, SLOPES),
        .bias = data_of(call, BIAS),
    };
}

static void forward(const TsCall *call)
{
    TsAttendShape shape = shape_of(call);
    TsAttendIn in = operands_of(call);
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
    TsAttendIn in = operands_of(call);
    in.out = call->in[OUT].data;
    in.d_out = call->in[D_OUT].data;
    in.logsumexp = call->in[LOGSUMEXP].data;
    in.d_logsumexp = attributes->has_d_logsumexp ? call->in[D_LOGSUMEXP].data : NULL;
    ts_attend_kernels(call->in[Q].dtype)
        ->backward(call->out[Q].data, call->out[K].data, call->out[V].data,
                   call->outputs > 3 ? call->out[3].data : NULL, &in, &shape, call->scratch, call->threads);
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
        pairs = fmin(pairs, queries * (double)attributes->window);
    return pairs * (double)q.size[0] * (double)q.size[2] * (double)named_group(q) * (double)q.size[q.dims - 1];
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
    TsTensor q = call->in[Q], d[4], in[7 + EXTRAS] = {q, call->in[K], call->in[V], call->out[0], call->out[1]};
    int inputs = 5, bias = find_extra(&attributes, call->inputs, BIAS);
    in[inputs++] =
        call->d_out[0].id >= 0 ? call->d_out[0] : ts_constant(q.graph, ts_dtype_of(q), ts_shape_of_tensor(q), 0);
    attributes.has_d_logsumexp = call->d_out[1].id >= 0;
    if (attributes.has_d_logsumexp)
        in[inputs++] = call->d_out[1];
    for (int i = 3; i < call->inputs; i++)
        in[inputs++] = call->in[i];
    bool d_bias = bias >= 0 && call->needs[bias];
    ts_graph_add(d, d_bias ? &ts_op_d_attend_bias : &ts_op_d_attend, in, inputs, &attributes);
    for (int i = 0; i < 3; i++)
        if (call->needs[i])
            call->d_in[i] = d[i];
    if (d_bias)
        call->d_in[bias] = d[3];
    int slopes = find_extra(&attributes, call->inputs, SLOPES);
    if (slopes >= 0 && call->needs[slopes])
        call->d_in[slopes] = ts_graph_error(q.graph, "attend: slopes have no gradient");
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

#define GRADIENT_ROW(NAME, OUTPUTS)                                                                                    \
    {                                                                                                                  \
        .name = NAME, .attributes_bytes = sizeof(Attributes), .outputs = OUTPUTS, .infer = infer_gradient,             \
        .place = place, .forward = forward_gradient, .gradient = ts_op_refuse_gradient, .cost = cost_gradient,         \
        .scratch_bytes = scratch_bytes_gradient,                                                                       \
    }

const TsOp ts_op_d_attend = GRADIENT_ROW("d_attend", 3);
const TsOp ts_op_d_attend_bias = GRADIENT_ROW("d_attend_bias", 4); /* d_bias too */

TsAttended ts_attend(TsTensor q, TsTensor k, TsTensor v, TsTensor query_first, TsAttend options)
{
    double width = q.id >= 0 && ts_dims(q) ? (double)ts_dim(q, -1) : 1;
    bool segments = options.segments.graph != NULL;
    TsTensor key_segments = options.key_segments.graph || !segments ? options.key_segments : options.segments;
    if (key_segments.graph && !segments)
        key_segments = ts_graph_error(q.graph, "attend: key_segments without segments");
    if (options.drop_rate != 0 && !options.step.graph)
        options.step = ts_graph_error(q.graph, "attend: a drop_rate without a step");
    TsTensor out[2], in[3 + EXTRAS] = {q, k, v};
    const TsTensor extra[EXTRAS] = {
        [FIRST] = query_first,
        [KEYS_SEEN] = options.keys_seen,
        [QUERY_SEGMENTS] = options.segments,
        [KEY_SEGMENTS] = key_segments,
        [SLOPES] = options.slopes,
        [BIAS] = options.bias,
        [STEP] = options.drop_rate != 0 ? options.step : TS_NONE,
    };
    Attributes attributes = {
        .scale = options.scale != 0 ? options.scale : 1 / sqrt(width > 0 ? width : 1),
        .window = options.window,
        .drop_rate = options.drop_rate,
        .stream = options.drop_rate != 0 ? options.stream : 0,
        .causal = options.causal,
    };
    int inputs = 3;
    for (int e = 0; e < EXTRAS; e++)
        if (extra[e].graph) {
            attributes.has |= 1 << e;
            in[inputs++] = extra[e];
        }
    ts_graph_add(out, &ts_op_attend, in, inputs, &attributes);
    return (TsAttended){.out = out[0], .logsumexp = out[1]};
}
