/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape: how long an array is in each of its dims. A value. Row-major: the last dim is contiguous.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TS_MAX_DIMS = 6 };

typedef struct TsShape {
    int dims; /* 0 is a scalar */
    int64_t size[TS_MAX_DIMS];
} TsShape;

/* ts_shape(4, 3) is (4, 3); ts_scalar is (). */
#define ts_shape(...)                                                                                                  \
    ts_shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
TsShape ts_shape_of(int dims, const int64_t *size);
extern const TsShape ts_scalar;

/* The product of the sizes; 1 for a scalar. Aborts where it does not fit 63 bits. */
int64_t ts_shape_elems(TsShape shape);

bool ts_shape_equal(TsShape a, TsShape b);

/* "(8, 256, 384)": ts_shape_text(shape).text. */
typedef struct TsShapeText {
    char text[128];
} TsShapeText;
TsShapeText ts_shape_text(TsShape shape);
