/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused ops: what the fuse pass makes of neighbouring nodes. They stand in no table, are placed by nobody and have no
 * gradient: they come to be when all that is done.
 */
#pragma once

#include "tensor/kernels/fused.h"
#include "tensor/ops/dot.h"

typedef struct TsFusedAttributes {
    TsFused program;
    TsShape shape;                    /* of what its steps give; global */
    TsShape sum_shape[TS_FUSED_SUMS]; /* of its sums; global */
    TsDotAttributes dot;              /* of ts_op_dot_fused: its inputs 0 and 1 are multiplied, and the product is the
                                         program's input 0, which has no input 1 */
} TsFusedAttributes;

/* By number of outputs, less one. Output 0 of ts_op_dot_fused has the dtype of the product. */
extern const TsOp ts_op_fused[TS_MAX_OUTPUTS], ts_op_dot_fused[TS_MAX_OUTPUTS];

static inline bool ts_op_is_fused(const TsOp *op)
{
    return (op >= ts_op_fused && op < ts_op_fused + TS_MAX_OUTPUTS) ||
           (op >= ts_op_dot_fused && op < ts_op_dot_fused + TS_MAX_OUTPUTS);
}

/* "dot add gelu normalize", the steps of a fused node. */
typedef struct TsFusedText {
    char text[160];
} TsFusedText;
TsFusedText ts_fused_text(const TsOp *op, const TsFusedAttributes *attributes);
