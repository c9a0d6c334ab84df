/* SPDX-License-Identifier: Apache-2.0
 *
 * Transpose: the dims in another order.
 */
#include "tensor/kernels/copy.h"

#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dims;
    int64_t order[TS_MAX_DIMS]; /* out dim i is dim order[i] of x */
} Attributes;

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape x = inference->in_shape[0], out = {.dims = x.dims};
    unsigned seen = 0;
    for (int d = 0; d < x.dims; d++) {
        int64_t from = attributes->order[d];
        if (from < 0 || from >= x.dims || seen >> from & 1)
            return ts_status_error(TS_CODE_INVALID, "dim %d of the output is dim %d of %s, twice or not there", d,
                                   (int)from, ts_shape_text(x).text);
        seen |= 1u << from;
        out.size[d] = x.size[from];
    }
    inference->out_shape[0] = out;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    const Attributes *attributes = node->attributes;
    for (int d = 0; d < node->in_shape[0].dims; d++)
        rule->out_label[0][d] = rule->in_label[0][attributes->order[d]] = (int8_t)(d + 1);
    rule->linearity = TS_LINEAR_JOINT;
}

static void forward(const TsCall *call)
{
    const Attributes *attributes = call->attributes;
    const TsBlock *x = &call->in[0], *out = &call->out[0];
    TsCopy copy = {.out = out->data, .in = x->data, .shape = out->shape, .elem_bytes = ts_dtype_bytes(out->dtype)};
    int64_t steps[TS_MAX_DIMS];
    ts_row_major_steps(copy.out_step, out->shape);
    ts_row_major_steps(steps, x->shape);
    for (int d = 0; d < out->shape.dims; d++)
        copy.in_step[d] = steps[attributes->order[d]];
    ts_kernel_copy(&copy, call->threads);
}

static void gradient(TsGradientCall *call)
{
    const Attributes *attributes = call->attributes;
    int inverse[TS_MAX_DIMS] = {0};
    for (int d = 0; d < attributes->dims; d++)
        inverse[attributes->order[d]] = d;
    call->d_in[0] = ts_transpose(call->d_out[0], inverse);
}

const TsOp ts_op_transpose = {
    .name = "transpose",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
};

TsTensor ts_transpose(TsTensor x, const int *order)
{
    if (x.id < 0)
        return x;
    Attributes attributes = {.dims = ts_dims(x)};
    for (int d = 0; d < attributes.dims; d++)
        attributes.order[d] = order[d];
    return ts_graph_add_one(&ts_op_transpose, &x, 1, &attributes);
}
