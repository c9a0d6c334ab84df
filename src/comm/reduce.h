/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduce: the arithmetic of collectives on memory of this rank. No messages, no allocation, one thread.
 *
 * A NaN on either side gives NaN. Included by src/comm only.
 */
#pragma once

#include "comm/collectives.h"

/* out[i] = a[i] (+) b[i], or a[i] alone where b is NULL. `out` may be `a` or `b`; bf16 is added in f32 and rounded. */
void ts_reduce_pair(void *out, const void *a, const void *b, int64_t count_elems, TsDtype dtype, TsReduction reduction);

/* outs[0] = outs[1] = … = ins[0] (+) ins[1] (+) …, from left to right, in one pass over memory. bf16 is summed in f32
 * and rounded once. Any of outs may be any of ins. The outs from `first_streamed` on are written past the caches: what
 * was written there is visible to others after ts_reduce_fence. */
typedef struct TsReduceMany {
    void *const *outs;      /* (out_count) at least one */
    const void *const *ins; /* (in_count) at least one */
    int out_count, in_count, first_streamed;
    int64_t count_elems;
    TsDtype dtype;
    TsReduction reduction;
} TsReduceMany;
void ts_reduce_many(const TsReduceMany *many);

/* Copies; `streamed`: past the caches. The buffers do not overlap. */
void ts_reduce_copy(void *out, const void *in, size_t size_bytes, bool streamed);

/* Orders streamed writes before whatever this thread stores next. */
void ts_reduce_fence(void);

/* f32 from bf16 and back; the buffers do not overlap. */
void ts_reduce_widen(float *out, const TsBf16 *in, int64_t count_elems);
void ts_reduce_narrow(TsBf16 *out, const float *in, int64_t count_elems);

/* Whether elements of this type can be summed and compared; others can only be moved. */
bool ts_reduce_knows(TsDtype dtype);
