/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of the files in this folder, for the table. The comment says which file holds them.
 */
#pragma once

#include "tensor/op.h"

/* elementwise.c */
extern const TsOp ts_op_add, ts_op_sub, ts_op_mul, ts_op_div, ts_op_maximum, ts_op_minimum, ts_op_equal, ts_op_above;

/* activation.c */
extern const TsOp ts_op_scale, ts_op_shift, ts_op_exp, ts_op_log, ts_op_sqrt, ts_op_tanh, ts_op_sigmoid, ts_op_relu,
    ts_op_silu, ts_op_gelu, ts_op_gelu_tanh;
extern const TsOp ts_op_d_sqrt, ts_op_d_tanh, ts_op_d_sigmoid, ts_op_d_relu, ts_op_d_silu, ts_op_d_gelu,
    ts_op_d_gelu_tanh;

/* adamw.c, attend.c */
extern const TsOp ts_op_attend, ts_op_d_attend, ts_op_d_attend_bias;
extern const TsOp ts_op_adamw;

/* optimizer.c */
extern const TsOp ts_op_sgd, ts_op_momentum, ts_op_adam, ts_op_lion, ts_op_adam_update, ts_op_velocity, ts_op_descend,
    ts_op_average;

/* cast.c, cross_entropy.c */
extern const TsOp ts_op_cast;
extern const TsOp ts_op_cross_entropy, ts_op_d_cross_entropy, ts_op_cross_entropy_sums, ts_op_d_cross_entropy_sums;
extern const TsOp ts_op_cross_entropy_rows;

/* route.c, expert_dot.c */
extern const TsOp ts_op_assign, ts_op_dispatch, ts_op_collect, ts_op_weigh;
extern const TsOp ts_op_expert_dot, ts_op_d_expert_kernel;

/* reduce.c */
extern const TsOp ts_op_sum, ts_op_max, ts_op_sum_squares_parts, ts_op_sum_squares, ts_op_argmax;

/* softmax.c */
extern const TsOp ts_op_softmax, ts_op_log_softmax, ts_op_logsumexp, ts_op_d_softmax, ts_op_d_log_softmax;

/* where.c, gather.c, order.c, rotary.c */
extern const TsOp ts_op_where, ts_op_compare;
extern const TsOp ts_op_gather, ts_op_scatter_add;
extern const TsOp ts_op_top, ts_op_running_sum;
extern const TsOp ts_op_rotary;

/* normalize.c, take.c */
extern const TsOp ts_op_normalize, ts_op_d_normalize, ts_op_d_normalize_affine;
extern const TsOp ts_op_take, ts_op_d_take, ts_op_d_take_added;

/* reshape.c, slice.c, transpose.c, update.c */
extern const TsOp ts_op_reshape;
extern const TsOp ts_op_slice, ts_op_pad, ts_op_concatenate;
extern const TsOp ts_op_transpose;
extern const TsOp ts_op_update, ts_op_slice_at;

/* random.c */
extern const TsOp ts_op_drop, ts_op_uniform, ts_op_normal, ts_op_gumbel;

/* dot.c, batch_dot.c, conv1d.c */
extern const TsOp ts_op_dot;
extern const TsOp ts_op_batch_dot;
extern const TsOp ts_op_conv1d, ts_op_d_conv1d_kernel;

/* clip_factor.c */
extern const TsOp ts_op_clip_factor;
