/* SPDX-License-Identifier: Apache-2.0
 *
 * Reshape: the same elements in the same order under other dims. No kernel runs.
 */
#include "tensor/ops/common.h"
#include "tensor/ops/rows.h"

typedef struct Attributes {
    int64_t dims;
    int64_t size[TS_MAX_DIMS];
} Attributes;

static TsStatus infer(TsInference *inference)
{
    const Attributes *attributes = inference->attributes;
    TsShape out = ts_shape_of((int)attributes->dims, attributes->size), x = inference->in_shape[0];
    if (ts_shape_elems(out) != ts_shape_elems(x))
        return ts_status_error(TS_CODE_INVALID, "%s does not have the elements of %s", ts_shape_text(x).text,
                               ts_shape_text(out).text);
    inference->out_shape[0] = out;
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

/* A dim of which all dims before it, and itself, have the same sizes on both sides may stay cut; so may those that end
 * alike, counted from the last. */
static void place(TsPlaceRule *rule, const TsNodeView *node)
{
    TsShape in = node->in_shape[0], out = node->out_shape[0];
    int8_t label = 1;
    int i = 0, o = 0;
    while (i < in.dims && o < out.dims) {
        if (in.size[i] == out.size[o]) {
            rule->in_label[0][i++] = rule->out_label[0][o++] = label++;
            continue;
        }
        if (in.size[i] == 1 || out.size[o] == 1) { /* comes or goes alone */
            in.size[i] == 1 ? i++ : o++;
            continue;
        }
        /* The shortest runs of dims of equal products: within them everything is whole. */
        int64_t in_elems = in.size[i++], out_elems = out.size[o++];
        while (in_elems != out_elems && (i < in.dims || o < out.dims)) {
            if ((in_elems < out_elems && i < in.dims) || o == out.dims)
                in_elems *= in.size[i++];
            else
                out_elems *= out.size[o++];
        }
    }
    rule->linearity = TS_LINEAR_JOINT;
}

/* A view where the Program can make it one; where it cannot, a copy. */
static void forward(const TsCall *call)
{
    const TsBlock *out = &call->out[0];
    if (out->data != call->in[0].data)
        memcpy(out->data, call->in[0].data, (size_t)ts_shape_elems(out->shape) * ts_dtype_bytes(out->dtype));
}

static void gradient(TsGradientCall *call)
{
    call->d_in[0] = ts_reshape(call->d_out[0], ts_shape_of_tensor(call->in[0]));
}

const TsOp ts_op_reshape = {
    .name = "reshape",
    .attributes_bytes = sizeof(Attributes),
    .outputs = 1,
    .flags = TS_OP_VIEW,
    .infer = infer,
    .place = place,
    .forward = forward,
    .gradient = gradient,
};

TsTensor ts_reshape(TsTensor x, TsShape shape)
{
    if (x.id >= 0 && ts_shape_equal(ts_shape_of_tensor(x), shape))
        return x;
    Attributes attributes = {.dims = shape.dims};
    memcpy(attributes.size, shape.size, (size_t)shape.dims * sizeof shape.size[0]);
    return ts_graph_add_one(&ts_op_reshape, &x, 1, &attributes);
}
