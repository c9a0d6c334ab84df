/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention in tiles of queries by keys (Dao et al. 2022): no matrix of all queries by all keys is ever stored, and the
 * backward pass computes the tiles again from the logsumexp. Products of tiles go through matmul.h.
 *
 * Query i stands at position query_first + i, key j at j. A query sees the keys up to its own position where `causal`,
 * and none further back than `window` where that is not 0. A query that sees no key gives 0 and a logsumexp of
 * -infinity.
 */
#pragma once

#include <stddef.h>

#include "tensor/kernels/isa.h"

typedef struct TsAttendShape {
    int64_t batch, queries, keys;
    int64_t heads, kv_heads, width; /* q (batch, queries, heads, width); k, v (batch, keys, kv_heads, width) */
    int64_t group;                  /* query heads a key head */
    double scale;
    bool causal;
    int64_t window, query_first;
} TsAttendShape;

typedef struct TsAttendIn {
    const void *q, *k, *v;
    /* Backward only. */
    const void *out, *d_out;
    const void *logsumexp, *d_logsumexp; /* (batch, queries, heads), f32 (f64 for f64); d NULL: zeros */
} TsAttendIn;

typedef struct TsAttendKernels {
    /* out as q, logsumexp (batch, queries, heads) f32 (f64 for f64). Scratch for `threads` threads. */
    void (*forward)(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, void *scratch,
                    int threads);
    size_t (*forward_scratch_bytes)(const TsAttendShape *shape, int threads);

    /* d_q as q; d_k, d_v as k. The same bits for any number of threads. */
    void (*backward)(void *d_q, void *d_k, void *d_v, const TsAttendIn *in, const TsAttendShape *shape, void *scratch,
                     int threads);
    size_t (*backward_scratch_bytes)(const TsAttendShape *shape, int threads);
} TsAttendKernels;

TS_KERNEL_TABLES(TsAttendKernels, ts_attend_kernels)
