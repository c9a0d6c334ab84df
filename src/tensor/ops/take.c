/* SPDX-License-Identifier: Apache-2.0
 *
 * Take: rows of a table by number, an embedding. The table's rows may be cut: each rank then looks up what it has, and
 * the sum over ranks is the whole.
 */
#include "tensor/kernels/take.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

static TsStatus infer(TsInference *inference)
{
    TsShape table = inference->in_shape[0], ids = inference->in_shape[1];
    TsDtype dtype = inference->in_dtype[0], id_dtype = inference->in_dtype[1];
    if (!ts_dtype_is_float(dtype) || dtype == TS_F16 || (id_dtype != TS_I32 && id_dtype != TS_I64))
        return ts_status_error(TS_CODE_INVALID, "a table of %s by ids of %s: expected floats by i32 or i64",
                               ts_dtype_name(dtype), ts_dtype_name(id_dtype));
    if (table.dims != 2 || ids.dims + 1 > TS_MAX_DIMS)
        return ts_status_error(TS_CODE_INVALID, "a table %s by ids %s: expected (V, C) by at most %d dims",
                               ts_shape_text(table).text, ts_shape_text(ids).text, TS_MAX_DIMS - 1);
    TsShape out = ids;
    out.size[out.dims++] = table.size[1];
    inference->out_shape[0] = out;
    inference->out_dtype[0] = dtype;
    return TS_OK;
}

/* Labels: 1 the table's rows, 2 its columns, 3 and on the dims of the ids. */
enum { ROWS = 1, COLUMNS, IDS };

static void label_out(int8_t *label, int id_dims)
{
    for (int d = 0; d < id_dims && d < TS_MAX_DIMS - 1; d++)
        label[d] = (int8_t)(IDS + d);
    label[id_dims < TS_MAX_DIMS ? id_dims : 0] = COLUMNS;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    int id_dims = node->in_shape[1].dims;
    rule->in_label[0][0] = ROWS;
    rule->in_label[0][1] = COLUMNS;
    for (int d = 0; d < id_dims && d < TS_MAX_DIMS - 1; d++)
        rule->in_label[1][d] = (int8_t)(IDS + d);
    label_out(rule->out_label[0], id_dims);
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_FIRST;
}

static TsTakeIds ids_of(const TsBlock *ids)
{
    return (TsTakeIds){.ids = ids->data, .dtype = ids->dtype, .count = ts_shape_elems(ids->shape)};
}

static void check_ids(const TsBlock *ids, int64_t vocabulary)
{
    int64_t bad = ts_kernel_take_check(ids_of(ids), vocabulary);
    TS_CHECK(bad < 0, "take: id %lld at %s is not in a table of %lld rows", (long long)ts_take_id(ids_of(ids), bad),
             ts_op_position(ids, bad).text, (long long)vocabulary);
}

static void forward(const TsCall *call)
{
    const TsBlock *table = &call->in[0], *ids = &call->in[1];
    check_ids(ids, table->global.size[0]);
    ts_kernel_take(call->out[0].data, table->data, ids_of(ids), table->first[0], table->shape.size[0],
                   table->shape.size[1] * (int64_t)ts_dtype_bytes(table->dtype), call->threads);
}

static TsCost cost(const TsNodeView *node)
{
    double out = (double)ts_shape_elems(node->out_shape[0]) * (double)ts_dtype_bytes(node->out_dtype[0]);
    return (TsCost){.bytes = 2 * out};
}

/* The gradient: d_out (..., C), ids (...) -> d_table (V, C). */

typedef struct GradientAttributes {
    int64_t rows; /* V */
} GradientAttributes;

static TsStatus infer_gradient(TsInference *inference)
{
    const GradientAttributes *attributes = inference->attributes;
    TsShape d_out = inference->in_shape[0];
    inference->out_shape[0] = ts_shape(attributes->rows, d_out.size[d_out.dims - 1]);
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_gradient(TsPlaceRule *rule, const TsNodeView *node)
{
    int id_dims = node->in_shape[1].dims;
    label_out(rule->in_label[0], id_dims);
    for (int d = 0; d < id_dims && d < TS_MAX_DIMS - 1; d++)
        rule->in_label[1][d] = (int8_t)(IDS + d);
    rule->out_label[0][0] = ROWS; /* each rank sums what it has, for the rows that it keeps */
    rule->out_label[0][1] = COLUMNS;
    rule->free = 1u << ROWS;
    rule->reduction = TS_SUM;
    rule->linearity = TS_LINEAR_FIRST;
}

static void forward_gradient(const TsCall *call)
{
    const TsBlock *d_table = &call->out[0];
    ts_take_kernels(d_table->dtype)
        ->backward(d_table->data, NULL, call->in[0].data, ids_of(&call->in[1]), d_table->first[0],
                   d_table->shape.size[0], d_table->shape.size[1], call->scratch, call->threads);
}

static size_t scratch_bytes_gradient(const TsCall *call)
{
    return call->out[0].dtype == TS_BF16 ? (size_t)ts_shape_elems(call->out[0].shape) * sizeof(float) : 0;
}

static void gradient(TsGradientCall *call)
{
    GradientAttributes attributes = {.rows = ts_dim(call->in[0], 0)};
    if (call->needs[0])
        call->d_in[0] = ts_graph_add_one(&ts_op_d_take, (TsTensor[]){call->d_out[0], call->in[1]}, 2, &attributes);
}

static void gradient_of_gradient(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = ts_take(call->d_out[0], call->in[1]);
}

/* That gradient added to another: sum (V, C), d_out (..., C), ids (...) -> (V, C). Put in by passes, so that a table
 * which is read twice has one gradient in memory, not two: where the sum over ranks is still to come for both, or where
 * the other one is to be cut by rows, to which those of all ranks are then added. */

static TsStatus infer_added(TsInference *inference)
{
    TsShape sum = inference->in_shape[0], d_out = inference->in_shape[1];
    if (sum.dims != 2 || d_out.dims < 1 || sum.size[1] != d_out.size[d_out.dims - 1] ||
        inference->in_dtype[0] != inference->in_dtype[1])
        return ts_status_error(TS_CODE_INVALID, "rows %s are added to a table %s", ts_shape_text(d_out).text,
                               ts_shape_text(sum).text);
    inference->out_shape[0] = sum;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place_added(TsPlaceRule *rule, const TsNodeView *node)
{
    rule->in_label[0][0] = rule->out_label[0][0] = ROWS;
    rule->in_label[0][1] = rule->out_label[0][1] = COLUMNS;
    rule->in_label[1][node->in_shape[1].dims - 1] = COLUMNS; /* all its rows: another rank adds none */
    rule->free = 1u << ROWS;
}

static void forward_added(const TsCall *call)
{
    const TsBlock *out = &call->out[0];
    ts_take_kernels(out->dtype)
        ->backward(out->data, call->in[0].data, call->in[1].data, ids_of(&call->in[2]), out->first[0],
                   out->shape.size[0], out->shape.size[1], call->scratch, call->threads);
}

static void gradient_of_added(TsGradientCall *call)
{
    if (call->needs[0])
        call->d_in[0] = call->d_out[0];
    if (call->needs[1])
        call->d_in[1] = ts_take(call->d_out[0], call->in[2]);
}

const TsOp ts_op_take = {
    .name = "take",
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
    .cost = cost,
};

const TsOp ts_op_d_take = {
    .name = "d_take",
    .attributes_bytes = sizeof(GradientAttributes),
    .outputs = 1,
    .infer = infer_gradient,
    .place = place_gradient,
    .forward = forward_gradient,
    .gradient = gradient_of_gradient,
    .scratch_bytes = scratch_bytes_gradient,
};

const TsOp ts_op_d_take_added = {
    .name = "d_take_added",
    .outputs = 1,
    .flags = TS_OP_IN_PLACE,
    .infer = infer_added,
    .place = place_added,
    .forward = forward_added,
    .gradient = gradient_of_added,
    .scratch_bytes = scratch_bytes_gradient,
};

TsTensor ts_take(TsTensor table, TsTensor ids)
{
    return ts_graph_add_one(&ts_op_take, (TsTensor[]){table, ids}, 2, NULL);
}
