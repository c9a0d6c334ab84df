/* SPDX-License-Identifier: Apache-2.0
 *
 * What a dot is made of, for the op that does more to its result (fused.c). Private to src/tensor.
 */
#pragma once

#include "tensor/matmul.h"
#include "tensor/op.h"

/* a (M, K) or (K, M), b (K, N) or (N, K), each letter a group of dims. */
typedef struct TsDotAttributes {
    int32_t contract; /* dims of group K; may be 0 */
    int32_t transpose_a, transpose_b;
    int32_t wide; /* of bf16: the result is f32 */
} TsDotAttributes;

/* The product of matrices that a call stands for. */
TsMatmul ts_op_dot_product(const TsCall *call);
