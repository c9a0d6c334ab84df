/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/select.h"

#include <string.h>

#include "base/check.h"

/* Where row `row` of the output, its dims but the last, begins in an operand. */
static int64_t row_at(const TsSelectOperand *operand, TsShape shape, int64_t row)
{
    int64_t at = 0;
    for (int d = shape.dims - 2; d >= 0; d--) {
        at += row % shape.size[d] * operand->step[d];
        row /= shape.size[d];
    }
    return at;
}

/* Rows and columns of the output: a scalar has one of each. */
static int64_t columns_of(TsShape shape)
{
    return shape.dims ? shape.size[shape.dims - 1] : 1;
}

#define CHOOSE(type)                                                                                                   \
    for (int64_t c = 0; c < columns; c++)                                                                              \
        ((type *)out)[to + c] = ((const bool *)condition.data)[at + c * step]                                          \
                                    ? ((const type *)a.data)[at_a + c * step_a]                                        \
                                    : ((const type *)b.data)[at_b + c * step_b];                                       \
    break;

void ts_kernel_where(void *out, TsSelectOperand condition, TsSelectOperand a, TsSelectOperand b, TsShape shape,
                     size_t elem_bytes, int threads)
{
    int64_t elems = ts_shape_elems(shape), columns = columns_of(shape), rows = columns ? elems / columns : 0;
    int last = shape.dims > 0 ? shape.dims - 1 : 0;
    int64_t step = condition.step[last], step_a = a.step[last], step_b = b.step[last];
    threads = elems < 32768 ? 1 : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        int64_t to = row * columns, at = row_at(&condition, shape, row);
        int64_t at_a = row_at(&a, shape, row), at_b = row_at(&b, shape, row);
        bool takes_a = ((const bool *)condition.data)[at];
        if (step == 0 && (takes_a ? step_a : step_b) == 1) { /* the whole row, as it lies */
            const char *from = takes_a ? (const char *)a.data + (size_t)at_a * elem_bytes
                                       : (const char *)b.data + (size_t)at_b * elem_bytes;
            char *row_out = (char *)out + (size_t)to * elem_bytes;
            if (row_out != from)
                memcpy(row_out, from, (size_t)columns * elem_bytes);
            continue;
        }
        switch (elem_bytes) {
        case 1:
            CHOOSE(uint8_t)
        case 2:
            CHOOSE(uint16_t)
        case 4:
            CHOOSE(uint32_t)
        default:
            CHOOSE(uint64_t)
        }
    }
}

#define COMPARE(type)                                                                                                  \
    for (int64_t c = 0; c < columns; c++) {                                                                            \
        type x = ((const type *)a.data)[at_a + c * step_a], y = ((const type *)b.data)[at_b + c * step_b];             \
        to[c] = comparison == TS_COMPARE_EQUAL ? x == y : comparison == TS_COMPARE_LESS ? x < y : x > y;               \
    }                                                                                                                  \
    break;

/* bf16 is compared as f32. */
static void compare_bf16_row(bool *to, const TsBf16 *a, int64_t step_a, const TsBf16 *b, int64_t step_b,
                             int64_t columns, TsComparison comparison)
{
    for (int64_t c = 0; c < columns; c++) {
        float x = ts_bf16_to_f32(a[c * step_a]), y = ts_bf16_to_f32(b[c * step_b]);
        to[c] = comparison == TS_COMPARE_EQUAL ? x == y : comparison == TS_COMPARE_LESS ? x < y : x > y;
    }
}

void ts_kernel_compare(bool *out, TsSelectOperand a, TsSelectOperand b, TsComparison comparison, TsDtype dtype,
                       TsShape shape, int threads)
{
    int64_t elems = ts_shape_elems(shape), columns = columns_of(shape), rows = columns ? elems / columns : 0;
    int last = shape.dims > 0 ? shape.dims - 1 : 0;
    int64_t step_a = a.step[last], step_b = b.step[last];
    TS_CHECK(dtype != TS_F16, "f16 is not compared");
    threads = elems < 32768 ? 1 : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        bool *to = out + row * columns;
        int64_t at_a = row_at(&a, shape, row), at_b = row_at(&b, shape, row);
        switch (dtype) {
        case TS_F32:
            COMPARE(float)
        case TS_F64:
            COMPARE(double)
        case TS_I32:
            COMPARE(int32_t)
        case TS_I64:
            COMPARE(int64_t)
        case TS_BF16:
            compare_bf16_row(to, (const TsBf16 *)a.data + at_a, step_a, (const TsBf16 *)b.data + at_b, step_b, columns,
                             comparison);
            break;
        default:
            COMPARE(bool)
        }
    }
}
