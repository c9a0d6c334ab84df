/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/reduce.h"

#include "base/check.h"

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
