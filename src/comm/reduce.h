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

/* f32 from bf16 and back; the buffers do not overlap. */
void ts_reduce_widen(float *out, const TsBf16 *in, int64_t count_elems);
void ts_reduce_narrow(TsBf16 *out, const float *in, int64_t count_elems);

/* Whether elements of this type can be summed and compared; others can only be moved. */
bool ts_reduce_knows(TsDtype dtype);
