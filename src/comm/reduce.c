/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/reduce.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* One binary for every x86: the loader picks the loop for the processor it finds. (Not with sanitizers, whose run-time
 * is not up yet when the loader asks, nor with clang, whose clones other files do not find before its release 16.) */
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif

#define SUM_OF(a, b) ((a) + (b))
#define MAX_OF(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define MIN_OF(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))

/* The loop of one type and reduction. Elements do not depend on one another, also where out is a or b. */
#define PAIR_LOOP(name, type, OF)                                                                                      \
    VECTORISED static void name(void *out_elems, const void *a_elems, const void *b_elems, int64_t count_elems)        \
    {                                                                                                                  \
        type *out = out_elems;                                                                                         \
        const type *a = a_elems, *b = b_elems;                                                                         \
        _Pragma("omp simd") for (int64_t i = 0; i < count_elems; i++) out[i] = (type)OF(a[i], b[i]);                   \
    }

#define PAIR_LOOPS(suffix, type)                                                                                       \
    PAIR_LOOP(sum_##suffix, type, SUM_OF)                                                                              \
    PAIR_LOOP(max_##suffix, type, MAX_OF)                                                                              \
    PAIR_LOOP(min_##suffix, type, MIN_OF)

PAIR_LOOPS(f32, float)
PAIR_LOOPS(f64, double)
PAIR_LOOPS(i32, int32_t)
PAIR_LOOPS(i64, int64_t)

#define BF16_LOOP(name, OF)                                                                                            \
    VECTORISED static void name(void *out_elems, const void *a_elems, const void *b_elems, int64_t count_elems)        \
    {                                                                                                                  \
        TsBf16 *out = out_elems;                                                                                       \
        const TsBf16 *a = a_elems, *b = b_elems;                                                                       \
        _Pragma("omp simd") for (int64_t i = 0; i < count_elems; i++)                                                  \
        {                                                                                                              \
            float x = ts_bf16_to_f32(a[i]), y = ts_bf16_to_f32(b[i]);                                                  \
            out[i] = ts_bf16_from_f32(OF(x, y));                                                                       \
        }                                                                                                              \
    }

BF16_LOOP(sum_bf16, SUM_OF)
BF16_LOOP(max_bf16, MAX_OF)
BF16_LOOP(min_bf16, MIN_OF)

typedef void PairLoop(void *out, const void *a, const void *b, int64_t count_elems);

static PairLoop *const loops[TS_DTYPES][3] = {
    [TS_F32] = {[TS_SUM] = sum_f32, [TS_MAX] = max_f32, [TS_MIN] = min_f32},
    [TS_F64] = {[TS_SUM] = sum_f64, [TS_MAX] = max_f64, [TS_MIN] = min_f64},
    [TS_BF16] = {[TS_SUM] = sum_bf16, [TS_MAX] = max_bf16, [TS_MIN] = min_bf16},
    [TS_I32] = {[TS_SUM] = sum_i32, [TS_MAX] = max_i32, [TS_MIN] = min_i32},
    [TS_I64] = {[TS_SUM] = sum_i64, [TS_MAX] = max_i64, [TS_MIN] = min_i64},
};

bool ts_reduce_knows(TsDtype dtype)
{
    return loops[dtype][TS_SUM] != NULL;
}

void ts_reduce_pair(void *out, const void *a, const void *b, int64_t count_elems, TsDtype dtype, TsReduction reduction)
{
    if (count_elems == 0)
        return;
    if (b)
        loops[dtype][reduction](out, a, b, count_elems);
    else if (out != a)
        memmove(out, a, (size_t)count_elems * ts_dtype_bytes(dtype));
}

VECTORISED void ts_reduce_widen(float *out, const TsBf16 *in, int64_t count_elems)
{
#pragma omp simd
    for (int64_t i = 0; i < count_elems; i++)
        out[i] = ts_bf16_to_f32(in[i]);
}

VECTORISED void ts_reduce_narrow(TsBf16 *out, const float *in, int64_t count_elems)
{
#pragma omp simd
    for (int64_t i = 0; i < count_elems; i++)
        out[i] = ts_bf16_from_f32(in[i]);
}

void ts_reduce_fence(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

void ts_reduce_copy(void *out, const void *in, size_t size_bytes, bool streamed)
{
#if defined(__SSE2__)
    size_t head = (64 - ((uintptr_t)out & 63)) & 63; /* streams run over whole lines of `out` */
    if (streamed && size_bytes >= head + 64) {
        memcpy(out, in, head);
        char *to = (char *)out + head;
        const char *from = (const char *)in + head;
        size_t body = (size_bytes - head) & ~(size_t)63;
        for (size_t i = 0; i < body; i += 64)
            for (size_t j = 0; j < 64; j += 16)
                _mm_stream_si128((__m128i *)(void *)(to + i + j),
                                 _mm_loadu_si128((const __m128i *)(const void *)(from + i + j)));
        memcpy(to + body, from + body, size_bytes - head - body);
        return;
    }
#else
    (void)streamed;
#endif
    memcpy(out, in, size_bytes);
}

enum { TILE = 1024 }; /* elements: a few of them stay in the first-level cache */

/* One tile of bf16, from ins at `first`, summed in f32. */
static void bf16_tile(TsBf16 *out, const TsReduceMany *many, int64_t first, int64_t count)
{
    _Alignas(64) float sum[TILE], next[TILE];
    ts_reduce_widen(sum, (const TsBf16 *)many->ins[0] + first, count);
    for (int i = 1; i < many->in_count; i++) {
        ts_reduce_widen(next, (const TsBf16 *)many->ins[i] + first, count);
        ts_reduce_pair(sum, sum, next, count, TS_F32, many->reduction);
    }
    ts_reduce_narrow(out, sum, count);
}

/* One tile of any other type. `out` is written by the last step only: it may be one of ins. */
static void tile(void *out, const TsReduceMany *many, int64_t first, int64_t count)
{
    _Alignas(64) char sum[TILE * sizeof(double)];
    size_t offset = (size_t)first * ts_dtype_bytes(many->dtype);
    const void *before = (const char *)many->ins[0] + offset;
    for (int i = 1; i < many->in_count; i++) {
        void *to = i == many->in_count - 1 ? out : sum;
        ts_reduce_pair(to, before, (const char *)many->ins[i] + offset, count, many->dtype, many->reduction);
        before = to;
    }
    if (many->in_count == 1)
        ts_reduce_pair(out, before, NULL, count, many->dtype, many->reduction);
}

void ts_reduce_many(const TsReduceMany *many)
{
    _Alignas(64) char result[TILE * sizeof(double)];
    size_t element_bytes = ts_dtype_bytes(many->dtype);
    for (int64_t first = 0; first < many->count_elems; first += TILE) {
        int64_t left = many->count_elems - first, count = left < TILE ? left : TILE;
        size_t offset = (size_t)first * element_bytes, bytes = (size_t)count * element_bytes;
        int done = many->first_streamed > 0; /* outs[0] is in the caches: the others are copied from there */
        void *out = done ? (char *)many->outs[0] + offset : result;
        if (many->dtype == TS_BF16)
            bf16_tile(out, many, first, count);
        else
            tile(out, many, first, count);
        for (int i = done; i < many->out_count; i++)
            ts_reduce_copy((char *)many->outs[i] + offset, out, bytes, i >= many->first_streamed);
    }
}
