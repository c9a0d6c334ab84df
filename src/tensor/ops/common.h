/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of ops share: checks of operands, steps through dims, and the gradient of broadcasting. Private to
 * src/tensor/ops.
 */
#pragma once

#include <string.h>

#include "base/check.h"
#include "tensor/op.h"
#include "tensor/ops.h"

/* An error unless all inputs are floats of one dtype: "f32 does not go with bf16". */
TS_MUST_USE TsStatus ts_op_same_float(const TsInference *inference);

/* An error unless input `index` is a scalar of `dtype`. `what` is what the operand is called. */
TS_MUST_USE TsStatus ts_op_scalar(const char *what, const TsInference *inference, int index, TsDtype dtype);

/* The dtype in which sums over whole tensors and losses are given: f64 for f64, else f32. */
static inline TsDtype ts_op_sum_dtype(TsDtype dtype)
{
    return dtype == TS_F64 ? TS_F64 : TS_F32;
}

/* The product of the sizes of dims [first, last). */
static inline int64_t ts_op_elems_between(TsShape shape, int first, int last)
{
    int64_t elems = 1;
    for (int d = first; d < last; d++)
        elems *= shape.size[d];
    return elems;
}

/* `d` summed down to the shape that an operand had before it was broadcast. */
TsTensor ts_op_unbroadcast(TsTensor d, TsShape shape);

/* A gradient rule for what is not to be differentiated though it could be: an error that says so. */
void ts_op_refuse_gradient(TsGradientCall *call);

/* A gradient rule for an op that could be made of others: `plain` gives what its row gives, by nodes that have rules
 * (ts_graph_differentiate among them), and those are differentiated. For second derivatives: slow, and right. */
typedef void TsPlainly(TsTensor *out, const TsTensor *in, int inputs, const void *attributes);
void ts_op_gradient_plainly(TsGradientCall *call, TsPlainly *plain);

/* What x, of that shape, was expanded from; x itself where it was not. ops/expand.c */
TsTensor ts_op_expanded_from(TsTensor x, TsShape shape);

/* x, of bf16 and made by ts_op_dot or ts_op_sum, in f32 as it was summed up. ops/dot.c, ops/reduce.c */
TsTensor ts_op_dot_wide(TsTensor x);
TsTensor ts_op_sum_wide(TsTensor x);

/* Bytes that all inputs and outputs have together. */
double ts_op_bytes(const TsNodeView *node);

/* Labels 1, 2, ... for the dims of the first output and for input `input` of the same dims. */
void ts_op_label_alike(TsPlaceRule *rule, const TsNodeView *node, int input);

/* Where element `index` of a block stands in the whole array: "(3, 17)". */
TsShapeText ts_op_position(const TsBlock *block, int64_t index);

/* Copies a block of shape `block` from in[in_first ...] to out[out_first ...]; the firsts are indices in each dim. */
void ts_op_copy_block(void *out, TsShape out_shape, const void *in, TsShape in_shape, const int64_t *out_first,
                      const int64_t *in_first, TsShape block, TsDtype dtype, int threads);
