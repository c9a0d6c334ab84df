/* SPDX-License-Identifier: Apache-2.0
 *
 * Route: tokens to the slots of experts, and back. A sequence is routed by itself, so that what is dropped depends on
 * nothing else; sequences may be cut, and so may the width. Experts are not cut here: an all-to-all follows.
 *
 * dispatch: rows (B, T, C), slots (B, T, K), perhaps weights (B, T, K) -> (E, B, P, C). collect: the way back. weigh:
 * the gradient of the weights of both. Each is the gradient of another.
 */
#include "tensor/kernels/route.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t experts, capacity;
} Attributes;

enum { SEQUENCES = 1, WIDTH };

/* ---- assign: chosen (B, T, K) i32 -> slots (B, T, K), counts (B, E), dropped (B), all i32 ---- */

static TsStatus infer_assign(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape chosen = inference->in_shape[0];
    if (chosen.dims != 3 || inference->in_dtype[0] != TS_I32)
        return ts_status_error(TS_CODE_INVALID, "choices %s %s: expected i32 (B, T, K)",
                               ts_dtype_name(inference->in_dtype[0]), ts_shape_text(chosen).text);
    if (attributes->experts < 1 || attributes->capacity < 1 || attributes->experts > INT32_MAX / attributes->capacity)
        return ts_status_error(TS_CODE_INVALID, "%lld experts with room for %lld", (long long)attributes->experts,
                               (long long)attributes->capacity);
    inference->out_shape[0] = chosen;
    inference->out_shape[1] = ts_shape(chosen.size[0], attributes->experts);
    inference->out_shape[2] = ts_shape(chosen.size[0]);
    for (int k = 0; k < 3; k++)
        inference->out_dtype[k] = TS_I32;
    return TS_OK;
}

static void place_assign(TsPlaceRule *rule, const TsNodeView *node)
{
    rule->in_label[0][0] = SEQUENCES;
    for (int k = 0; k < node->outputs; k++)
        rule->out_label[k][0] = SEQUENCES;
}

static void forward_assign(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *chosen = &call->in[0];
    const int32_t *expert = chosen->data;
    for (int64_t i = 0; i < ts_shape_elems(chosen->shape); i++)
        TS_CHECK(expert[i] < attributes->experts, "assign: expert %d at %s is not one of %lld", expert[i],
                 ts_op_position(chosen, i).text, (long long)attributes->experts);
    TsRouteShape shape = {.batch = chosen->shape.size[0],
                          .length = chosen->shape.size[1],
                          .choices = chosen->shape.size[2],
                          .experts = attributes->experts,
                          .capacity = attributes->capacity};
    ts_kernel_assign(call->out[0].data, call->out[1].data, call->out[2].data, expert, &shape);
}

const TsOp ts_op_assign = {
    .name = "assign",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 3,
    .flags = TS_OP_NO_GRADIENT,
    .infer = infer_assign,
    .place = place_assign,
    .forward = forward_assign,
};

/* ---- dispatch, collect, weigh ---- */

static TsStatus bad_operands(const TsInference *inference)
{
    return ts_status_error(TS_CODE_INVALID, "%s %s and %s %s do not go together", ts_dtype_name(inference->in_dtype[0]),
                           ts_shape_text(inference->in_shape[0]).text, ts_dtype_name(inference->in_dtype[1]),
                           ts_shape_text(inference->in_shape[1]).text);
}

static bool is_float(TsDtype dtype)
{
    return dtype == TS_F32 || dtype == TS_F64 || dtype == TS_BF16;
}

/* Slots (B, T, K) i32 are operand 1; operand 2, if it is there and `weighs`, are weights of that shape. */
static TsStatus check_slots(const TsInference *inference, bool weighs)
{
    TsShape slots = inference->in_shape[1];
    if (!is_float(inference->in_dtype[0]) || inference->in_dtype[1] != TS_I32 || slots.dims != 3)
        return bad_operands(inference);
    if (weighs && inference->inputs > 2 &&
        (inference->in_dtype[2] != inference->in_dtype[0] || !ts_shape_equal(inference->in_shape[2], slots)))
        return ts_status_error(TS_CODE_INVALID, "weights %s %s, expected %s %s", ts_dtype_name(inference->in_dtype[2]),
                               ts_shape_text(inference->in_shape[2]).text, ts_dtype_name(inference->in_dtype[0]),
                               ts_shape_text(slots).text);
    return TS_OK;
}

static TsStatus infer_dispatch(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape rows = inference->in_shape[0], slots = inference->in_shape[1];
    TS_TRY(check_slots(inference, true));
    if (rows.dims != 3 || rows.size[0] != slots.size[0] || rows.size[1] != slots.size[1])
        return bad_operands(inference);
    inference->out_shape[0] = ts_shape(attributes->experts, rows.size[0], attributes->capacity, rows.size[2]);
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static bool is_slotted(TsShape slotted, TsShape slots, const Attributes *attributes)
{
    return slotted.dims == 4 && slotted.size[0] == attributes->experts && slotted.size[1] == slots.size[0] &&
           slotted.size[2] == attributes->capacity;
}

static TsStatus infer_collect(TsInference *inference)
{
    TsShape slotted = inference->in_shape[0], slots = inference->in_shape[1];
    TS_TRY(check_slots(inference, true));
    if (!is_slotted(slotted, slots, inference->attributes))
        return bad_operands(inference);
    inference->out_shape[0] = ts_shape(slots.size[0], slots.size[1], slotted.size[3]);
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static TsStatus infer_weigh(TsInference *inference)
{
    TsShape slotted = inference->in_shape[0], slots = inference->in_shape[1], rows = inference->in_shape[2];
    TS_TRY(check_slots(inference, false));
    if (!is_slotted(slotted, slots, inference->attributes) || inference->in_dtype[2] != inference->in_dtype[0] ||
        !ts_shape_equal(rows, ts_shape(slots.size[0], slots.size[1], slotted.size[3])))
        return bad_operands(inference);
    inference->out_shape[0] = slots;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void label_rows(int8_t *label)
{
    label[0] = SEQUENCES;
    label[2] = WIDTH;
}

static void label_slotted(int8_t *label)
{
    label[1] = SEQUENCES;
    label[3] = WIDTH;
}

static void place_dispatch(TsPlaceRule *rule, const TsNodeView *node)
{
    label_rows(rule->in_label[0]);
    for (int i = 1; i < node->inputs; i++)
        rule->in_label[i][0] = SEQUENCES;
    label_slotted(rule->out_label[0]);
    rule->linearity = TS_LINEAR_EACH;
}

static void place_collect(TsPlaceRule *rule, const TsNodeView *node)
{
    label_slotted(rule->in_label[0]);
    for (int i = 1; i < node->inputs; i++)
        rule->in_label[i][0] = SEQUENCES;
    label_rows(rule->out_label[0]);
    rule->linearity = TS_LINEAR_EACH;
}

static void place_weigh(TsPlaceRule *rule, const TsNodeView *node)
{
    (void)node;
    label_slotted(rule->in_label[0]);
    rule->in_label[1][0] = SEQUENCES;
    label_rows(rule->in_label[2]);
    rule->out_label[0][0] = SEQUENCES;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_EACH;
}

static TsRouteShape shape_of(const TsCall *call, int64_t width)
{
    const Attributes *attributes = call->attributes;
    TsShape slots = call->in[1].shape;
    return (TsRouteShape){.batch = slots.size[0],
                          .length = slots.size[1],
                          .choices = slots.size[2],
                          .experts = attributes->experts,
                          .capacity = attributes->capacity,
                          .width = width};
}

static void forward_dispatch(const TsCall *call)
{
    TsRouteShape shape = shape_of(call, call->in[0].shape.size[2]);
    ts_route_kernels(call->in[0].dtype)
        ->dispatch(call->out[0].data, call->in[0].data, call->in[1].data, call->inputs > 2 ? call->in[2].data : NULL,
                   &shape, call->threads);
}

static void forward_collect(const TsCall *call)
{
    TsRouteShape shape = shape_of(call, call->in[0].shape.size[3]);
    ts_route_kernels(call->in[0].dtype)
        ->collect(call->out[0].data, call->in[0].data, call->in[1].data, call->inputs > 2 ? call->in[2].data : NULL,
                  &shape, call->threads);
}

static void forward_weigh(const TsCall *call)
{
    TsRouteShape shape = shape_of(call, call->in[0].shape.size[3]);
    ts_route_kernels(call->in[0].dtype)
        ->weigh(call->out[0].data, call->in[0].data, call->in[1].data, call->in[2].data, &shape, call->threads);
}

static TsTensor add(const TsOp *op, TsTensor x, TsTensor slots, const TsTensor *third, const void *attributes)
{
    return ts_graph_add_one(op, (TsTensor[]){x, slots, third ? *third : TS_NONE}, third ? 3 : 2, attributes);
}

static void gradient_dispatch(TsGradientCall *call)
{
    const TsTensor *weights = call->inputs > 2 ? &call->in[2] : NULL;
    if (call->needs[0])
        call->d_in[0] = add(&ts_op_collect, call->d_out[0], call->in[1], weights, call->attributes);
    if (weights && call->needs[2])
        call->d_in[2] = add(&ts_op_weigh, call->d_out[0], call->in[1], &call->in[0], call->attributes);
}

static void gradient_collect(TsGradientCall *call)
{
    const TsTensor *weights = call->inputs > 2 ? &call->in[2] : NULL;
    if (call->needs[0])
        call->d_in[0] = add(&ts_op_dispatch, call->d_out[0], call->in[1], weights, call->attributes);
    if (weights && call->needs[2])
        call->d_in[2] = add(&ts_op_weigh, call->in[0], call->in[1], &call->d_out[0], call->attributes);
}

static void gradient_weigh(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = add(&ts_op_dispatch, call->in[2], call->in[1], &call->d_out[0], call->attributes);
    if (call->needs[2])
        call->d_in[2] = add(&ts_op_collect, call->in[0], call->in[1], &call->d_out[0], call->attributes);
}

#define ROUTE_ROW(NAME, what)                                                                                          \
    {                                                                                                                  \
        .name = NAME, .attributes_bytes = sizeof(Attributes), .outputs = 1, .infer = infer_##what,                     \
        .place = place_##what, .forward = forward_##what, .gradient = gradient_##what,                                 \
    }

const TsOp ts_op_dispatch = ROUTE_ROW("dispatch", dispatch);
const TsOp ts_op_collect = ROUTE_ROW("collect", collect);
const TsOp ts_op_weigh = ROUTE_ROW("weigh", weigh);

TsRouted ts_assign_slots(TsTensor chosen, int64_t experts, int64_t capacity)
{
    Attributes attributes = {.experts = experts, .capacity = capacity};
    TsTensor out[3];
    ts_graph_add(out, &ts_op_assign, &chosen, 1, &attributes);
    return (TsRouted){.slots = out[0], .counts = out[1], .dropped = out[2]};
}

TsTensor ts_dispatch(TsTensor rows, TsTensor slots, TsTensor weights, int64_t experts, int64_t capacity)
{
    Attributes attributes = {.experts = experts, .capacity = capacity};
    return add(&ts_op_dispatch, rows, slots, weights.graph ? &weights : NULL, &attributes);
}

TsTensor ts_collect(TsTensor slotted, TsTensor slots, TsTensor weights)
{
    bool known = slotted.id >= 0 && ts_dims(slotted) == 4;
    Attributes attributes = {.experts = known ? ts_dim(slotted, 0) : 1, .capacity = known ? ts_dim(slotted, 2) : 1};
    return add(&ts_op_collect, slotted, slots, weights.graph ? &weights : NULL, &attributes);
}
