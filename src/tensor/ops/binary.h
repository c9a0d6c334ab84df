/* SPDX-License-Identifier: Apache-2.0
 *
 * How other ops build the elementwise nodes that users of ops.h do not see: comparisons and activations' gradients.
 * Private to src/tensor/ops.
 */
#pragma once

#include "tensor/ops/common.h"

/* `op` is one of the rows of elementwise.c, `kernel` its TsBinary. */
TsTensor ts_op_binary(const TsOp *op, int kernel, TsTensor a, TsTensor b);
