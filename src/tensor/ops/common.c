/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/ops/common.h"

#include "tensor/kernels/copy.h"
#include "tensor/node.h"

TsStatus ts_op_same_float(const TsInference *inference)
{
    for (int i = 0; i < inference->inputs; i++) {
        TsDtype dtype = inference->in_dtype[i], first = inference->in_dtype[0];
        if (dtype != first)
            return ts_status_error(TS_CODE_INVALID, "%s does not go with %s", ts_dtype_name(first),
                                   ts_dtype_name(dtype));
        if (dtype != TS_F32 && dtype != TS_F64 && dtype != TS_BF16)
            return ts_status_error(TS_CODE_INVALID, "%s operands: expected f32, f64 or bf16", ts_dtype_name(dtype));
    }
    return TS_OK;
}

TsStatus ts_op_scalar(const char *what, const TsInference *inference, int index, TsDtype dtype)
{
    if (inference->in_shape[index].dims != 0 || inference->in_dtype[index] != dtype)
        return ts_status_error(TS_CODE_INVALID, "%s is %s %s, expected a scalar of %s", what,
                               ts_dtype_name(inference->in_dtype[index]),
                               ts_shape_text(inference->in_shape[index]).text, ts_dtype_name(dtype));
    return TS_OK;
}

TsTensor ts_op_unbroadcast(TsTensor d, TsShape shape)
{
    TsShape whole = ts_shape_of_tensor(d);
    if (ts_shape_equal(whole, shape))
        return d;
    int missing = whole.dims - shape.dims, summed = 0;
    for (int i = 0; i < whole.dims; i++)
        if (i < missing || (shape.size[i - missing] == 1 && whole.size[i] != 1))
            summed |= 1 << i;
    return ts_reshape(summed ? ts_sum(d, summed, true) : d, shape);
}

void ts_op_refuse_gradient(TsGradientCall *call)
{
    ts_graph_error(call->in[0].graph,
                   "gradients: %s has no derivative; behind ts_stop_gradient it counts as a constant", call->op->name);
}

enum { MOST_PLAIN_INPUTS = 8 };

void ts_op_gradient_plainly(TsGradientCall *call, TsPlainly *plain)
{
    TsGraph *graph = call->in[0].graph;
    TsTensor in[MOST_PLAIN_INPUTS], out[TS_MAX_OUTPUTS], of[MOST_PLAIN_INPUTS], d[MOST_PLAIN_INPUTS], loss = TS_NONE;
    int count = 0, which[MOST_PLAIN_INPUTS];
    TS_CHECK(call->inputs <= MOST_PLAIN_INPUTS, "%s has %d inputs", call->op->name, call->inputs);
    for (int i = 0; i < call->inputs; i++) {
        /* cut off from what it was made of, which may be another input: the caller goes on from there */
        in[i] = ts_dtype_is_float(ts_dtype_of(call->in[i])) ? ts_stop_gradient(call->in[i]) : call->in[i];
        if (call->needs[i]) {
            which[count] = i;
            of[count++] = in[i];
        }
    }
    plain(out, in, call->inputs, call->attributes);
    for (int k = 0; k < call->outputs; k++) {
        if (call->d_out[k].id < 0)
            continue;
        TsDtype wide = ts_op_sum_dtype(ts_dtype_of(out[k]));
        TsTensor part = ts_sum(ts_mul(ts_cast(out[k], wide), ts_cast(call->d_out[k], wide)), -1, false);
        loss = loss.graph ? ts_add(loss, part) : part;
    }
    ts_graph_differentiate(d, loss, of, count);
    for (int i = 0; i < count; i++)
        call->d_in[which[i]] = d[i].id >= 0 ? d[i] : (TsTensor){graph, -1};
}

double ts_op_bytes(const TsNodeView *node)
{
    double bytes = 0;
    for (int i = 0; i < node->inputs; i++)
        bytes += (double)ts_shape_elems(node->in_shape[i]) * (double)ts_dtype_bytes(node->in_dtype[i]);
    for (int i = 0; i < node->outputs; i++)
        bytes += (double)ts_shape_elems(node->out_shape[i]) * (double)ts_dtype_bytes(node->out_dtype[i]);
    return bytes;
}

void ts_op_label_alike(TsPlaceRule *rule, const TsNodeView *node, int input)
{
    for (int d = 0; d < node->out_shape[0].dims; d++)
        rule->out_label[0][d] = rule->in_label[input][d] = (int8_t)(d + 1);
}

TsShapeText ts_op_position(const TsBlock *block, int64_t index)
{
    TsShape position = block->shape;
    for (int d = block->shape.dims - 1; d >= 0 && index >= 0; d--) {
        position.size[d] = index % block->shape.size[d] + block->first[d];
        index /= block->shape.size[d];
    }
    return ts_shape_text(position);
}

void ts_op_copy_block(void *out, TsShape out_shape, const void *in, TsShape in_shape, const int64_t *out_first,
                      const int64_t *in_first, TsShape block, TsDtype dtype, int threads)
{
    TsCopy copy = {.shape = block, .elem_bytes = ts_dtype_bytes(dtype)};
    int64_t out_at = 0, in_at = 0;
    ts_row_major_steps(copy.out_step, out_shape);
    ts_row_major_steps(copy.in_step, in_shape);
    for (int d = 0; d < block.dims; d++) {
        out_at += out_first[d] * copy.out_step[d];
        in_at += in_first[d] * copy.in_step[d];
    }
    copy.out = (char *)out + (size_t)out_at * copy.elem_bytes;
    copy.in = (const char *)in + (size_t)in_at * copy.elem_bytes;
    ts_kernel_copy(&copy, threads);
}
