/* SPDX-License-Identifier: Apache-2.0
 *
 * Where, and the comparisons that give it its conditions; element by element, broadcast as NumPy does.
 */
#include "tensor/kernels/select.h"
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

/* The shape that all inputs are broadcast to. */
static TsStatus broadcast(TsShape *out, const TsInference *inference)
{
    *out = inference->in_shape[0];
    for (int i = 1; i < inference->inputs; i++) {
        TsShape next = inference->in_shape[i], was = *out;
        TsShape longer = was.dims >= next.dims ? was : next, other = was.dims >= next.dims ? next : was;
        int missing = longer.dims - other.dims;
        for (int d = missing; d < longer.dims; d++) {
            int64_t mine = longer.size[d], its = other.size[d - missing];
            if (mine != its && mine != 1 && its != 1)
                return ts_status_error(TS_CODE_INVALID, "%s does not go with %s, element by element",
                                       ts_shape_text(was).text, ts_shape_text(next).text);
            longer.size[d] = mine == 1 ? its : mine;
        }
        *out = longer;
    }
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    TsShape out = node->out_shape[0];
    for (int d = 0; d < out.dims; d++)
        rule->out_label[0][d] = (int8_t)(d + 1);
    for (int i = 0; i < node->inputs; i++) {
        TsShape in = node->in_shape[i];
        for (int d = 0; d < in.dims; d++)
            if (in.size[d] == out.size[d + out.dims - in.dims])
                rule->in_label[i][d] = (int8_t)(d + out.dims - in.dims + 1);
    }
}

static TsSelectOperand operand_of(const TsBlock *in, const TsBlock *out)
{
    TsSelectOperand operand = {.data = in->data};
    int missing = out->shape.dims - in->shape.dims;
    int64_t step = 1;
    for (int d = in->shape.dims - 1; d >= 0; d--) {
        bool repeated = in->global.size[d] == 1 && out->global.size[d + missing] != 1;
        operand.step[d + missing] = repeated ? 0 : step;
        step *= in->shape.size[d];
    }
    return operand;
}

/* ---- where: condition, a, b ---- */

static TsStatus infer_where(TsInference *inference)
{
    const TsDtype *dtype = inference->in_dtype;
    if (dtype[0] != TS_BOOL || dtype[1] != dtype[2])
        return ts_status_error(TS_CODE_INVALID, "%s chooses between %s and %s: expected bool, and two of one dtype",
                               ts_dtype_name(dtype[0]), ts_dtype_name(dtype[1]), ts_dtype_name(dtype[2]));
    TS_TRY(broadcast(&inference->out_shape[0], inference));
    inference->out_dtype[0] = dtype[1];
    return TS_OK;
}

static void forward_where(const TsCall *call)
{
    const TsBlock *out = &call->out[0];
    ts_kernel_where(out->data, operand_of(&call->in[0], out), operand_of(&call->in[1], out),
                    operand_of(&call->in[2], out), out->shape, ts_dtype_bytes(out->dtype), call->threads);
}

static void gradient_where(TsGradientCall *call)
{
    TsTensor d = call->d_out[0], none = ts_constant(d.graph, ts_dtype_of(d), ts_scalar, 0);
    if (call->needs[1])
        call->d_in[1] = ts_op_unbroadcast(ts_where(call->in[0], d, none), ts_shape_of_tensor(call->in[1]));
    if (call->needs[2])
        call->d_in[2] = ts_op_unbroadcast(ts_where(call->in[0], none, d), ts_shape_of_tensor(call->in[2]));
}

const TsOp ts_op_where = {
    .name = "where",
    .outputs = 1,
    .infer = infer_where,
    .place = place,
    .forward = forward_where,
    .gradient = gradient_where,
};

TsTensor ts_where(TsTensor condition, TsTensor a, TsTensor b)
{
    return ts_graph_add_one(&ts_op_where, (TsTensor[]){condition, a, b}, 3, NULL);
}

/* ---- comparisons ---- */

typedef struct CompareAttributes {
    int64_t comparison; /* TsComparison */
} CompareAttributes;

static TsStatus infer_compare(TsInference *inference)
{
    if (inference->in_dtype[0] != inference->in_dtype[1] || inference->in_dtype[0] == TS_F16)
        return ts_status_error(TS_CODE_INVALID, "%s does not compare with %s", ts_dtype_name(inference->in_dtype[0]),
                               ts_dtype_name(inference->in_dtype[1]));
    TS_TRY(broadcast(&inference->out_shape[0], inference));
    inference->out_dtype[0] = TS_BOOL;
    return TS_OK;
}

static void forward_compare(const TsCall *call)
{
    const CompareAttributes *attributes = call->attributes;
    const TsBlock *out = &call->out[0];
    ts_kernel_compare(out->data, operand_of(&call->in[0], out), operand_of(&call->in[1], out),
                      (TsComparison)attributes->comparison, call->in[0].dtype, out->shape, call->threads);
}

const TsOp ts_op_compare = {
    .name = "compare",
    .attributes_bytes = sizeof(CompareAttributes),
    .outputs = 1,
    .flags = TS_OP_NO_GRADIENT,
    .infer = infer_compare,
    .place = place,
    .forward = forward_compare,
};

static TsTensor compare(TsTensor a, TsTensor b, TsComparison comparison)
{
    CompareAttributes attributes = {.comparison = comparison};
    return ts_graph_add_one(&ts_op_compare, (TsTensor[]){a, b}, 2, &attributes);
}

TsTensor ts_equal(TsTensor a, TsTensor b)
{
    return compare(a, b, TS_COMPARE_EQUAL);
}

TsTensor ts_less(TsTensor a, TsTensor b)
{
    return compare(a, b, TS_COMPARE_LESS);
}

TsTensor ts_greater(TsTensor a, TsTensor b)
{
    return compare(a, b, TS_COMPARE_GREATER);
}
