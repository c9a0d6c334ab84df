/* SPDX-License-Identifier: Apache-2.0
 *
 * Every op of the program, in the order of its file's name.
 */
#include "tensor/op.h"

#include <stddef.h>

const TsOp *const ts_op_table[] = {NULL};
