/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing and comparing element by element, of any dtype, with broadcasting.
 */
#pragma once

#include "base/dtype.h"
#include "tensor/shape.h"

typedef enum TsComparison { TS_COMPARE_EQUAL, TS_COMPARE_LESS, TS_COMPARE_GREATER } TsComparison;

/* One operand: element (i0, i1, ...) of the output goes with data[i . step]; a step of 0 repeats. */
typedef struct TsSelectOperand {
    const void *data;
    int64_t step[TS_MAX_DIMS]; /* by the dims of the output */
} TsSelectOperand;

/* out[i] = condition[i] ? a[i] : b[i]; out has no gaps, elem_bytes is 1, 2, 4 or 8. out may be a or b where that is not
 * repeated. */
void ts_kernel_where(void *out, TsSelectOperand condition, TsSelectOperand a, TsSelectOperand b, TsShape shape,
                     size_t elem_bytes, int threads);

/* out[i] = a[i] ? b[i]; a and b of dtype; nothing compares with a NaN. */
void ts_kernel_compare(bool *out, TsSelectOperand a, TsSelectOperand b, TsComparison comparison, TsDtype dtype,
                       TsShape shape, int threads);
