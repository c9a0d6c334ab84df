/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of bench/ops share: made-up values, checks of results, and the limits that kernels stand beside.
 */
#pragma once

#include "base/check.h"
#include "base/dtype.h"
#include "base/memory.h"
#include "measure.h"
#include "target.h"

extern int threads; /* of every kernel and of every limit */

/* Element i of a made-up array, in [-2, 2); the same on every call. */
static inline float made_up(int64_t index, uint32_t array)
{
    uint64_t x = ((uint64_t)index + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)(array + 1) * 0xc2b2ae3d27d4eb4fu;
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    return (float)(x >> 40) * (4.0f / 16777216.0f) - 2.0f;
}

/* made_up in f32 or bf16, touched first by the threads that will read it; owned by the caller, ts_free. */
void *made_up_array(int64_t count_elems, uint32_t array, TsDtype dtype);

static inline double element_of(const void *array, int64_t index, TsDtype dtype)
{
    return dtype == TS_BF16 ? (double)ts_bf16_to_f32(((const TsBf16 *)array)[index])
                            : (double)((const float *)array)[index];
}

/* Ends the program where `got` is further from `wanted` than `tolerance` times (1 + |wanted|). */
void expect_near(const char *what, int64_t index, double got, double wanted, double tolerance);

/* memory_bound.c: each prints its rows and its target. */
void bench_norm(void);
void bench_gelu(void);
void bench_residual(void);
void bench_cross_entropy(void);
void bench_adamw(void);

/* products.c */
void bench_matmul(void);
void bench_attention(void);
void bench_attention_memory(void);

/* compile.c */
void bench_compile(void);
