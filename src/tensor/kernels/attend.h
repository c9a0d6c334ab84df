/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention in tiles of queries by keys (Dao et al. 2022): no matrix of all queries by all keys is ever stored, and the
 * backward pass computes the tiles again from the logsumexp.
 *
 * Query i stands at position query_first + i, key j at j. A query sees the keys up to its own position where `causal`,
 * and of those up to it the last `window` alone where that is not 0; of those, the ones that keys_seen and segments
 * leave. A query that sees no key gives 0 and a logsumexp of -infinity.
 */
#pragma once

#include <stddef.h>

#include "base/philox.h"
#include "tensor/kernels/isa.h"

typedef struct TsAttendShape {
    int64_t batch, queries, keys;
    int64_t heads, kv_heads, width; /* q (batch, queries, heads, width); k, v (batch, keys, kv_heads, width) */
    int64_t group;                  /* query heads a key head */
    double scale;
    bool causal;
    int64_t window, query_first;
    double drop_rate;
    TsStream stream;                              /* of the weights that are dropped, by their index in the whole */
    int64_t batch_first, head_first, whole_heads; /* (batch, heads, queries, keys): where this block stands in it */
} TsAttendShape;

typedef struct TsAttendIn {
    const void *q, *k, *v;
    /* NULL where they are not there. */
    const bool *keys_seen;                        /* (batch, keys) */
    const int32_t *query_segments, *key_segments; /* (batch, queries), (batch, keys): only equals see each other */
    const void *slopes,
        *bias; /* f32 (f64 for f64): (heads), of the distance, taken off; (heads, queries, keys), added */
    /* Backward only. */
    const void *out, *d_out;
    const void *logsumexp, *d_logsumexp; /* (batch, queries, heads), f32 (f64 for f64); d NULL: zeros */
} TsAttendIn;

typedef struct TsAttendKernels {
    /* out as q, logsumexp (batch, queries, heads) f32 (f64 for f64). Scratch for `threads` threads. */
    void (*forward)(void *out, void *logsumexp, const TsAttendIn *in, const TsAttendShape *shape, void *scratch,
                    int threads);
    size_t (*forward_scratch_bytes)(const TsAttendShape *shape, int threads);

    /* d_q as q; d_k, d_v as k; d_bias as bias, or NULL. The same bits for any number of threads. */
    void (*backward)(void *d_q, void *d_k, void *d_v, void *d_bias, const TsAttendIn *in, const TsAttendShape *shape,
                     void *scratch, int threads);
    size_t (*backward_scratch_bytes)(const TsAttendShape *shape, int threads);
} TsAttendKernels;

TS_KERNEL_TABLES(TsAttendKernels, ts_attend_kernels)
