/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/kernels/cast.h"

#include "base/check.h"

static int32_t to_i32(double value)
{
    return value >= 2147483647.0 ? INT32_MAX : value <= -2147483648.0 ? INT32_MIN : value == value ? (int32_t)value : 0;
}

static int64_t to_i64(double value)
{
    return value >= 9223372036854775807.0    ? INT64_MAX
           : value <= -9223372036854775808.0 ? INT64_MIN
           : value == value                  ? (int64_t)value
                                             : 0;
}

/* Integers that come from integers wrap as C's do. */
#define KEEP(value)      (value)
#define FROM_BF16(value) ts_bf16_to_f32(value)
#define TO_BF16(value)   ts_bf16_from_f32((float)(value))
#define TO_BOOL(value)   ((value) != 0)

#define LOOP(Out, In, READ, WRITE)                                                                                     \
    do {                                                                                                               \
        for (int64_t i = first; i < last; i++)                                                                         \
            ((Out *)out)[i] = (Out)WRITE(READ(((const In *)x)[i]));                                                    \
    } while (0)

#define FROM(name, In, READ, I32, I64)                                                                                 \
    static void name(void *out, TsDtype out_dtype, const void *x, int64_t first, int64_t last)                         \
    {                                                                                                                  \
        if (out_dtype == TS_F32)                                                                                       \
            LOOP(float, In, READ, KEEP);                                                                               \
        else if (out_dtype == TS_F64)                                                                                  \
            LOOP(double, In, READ, KEEP);                                                                              \
        else if (out_dtype == TS_BF16)                                                                                 \
            LOOP(TsBf16, In, READ, TO_BF16);                                                                           \
        else if (out_dtype == TS_I32)                                                                                  \
            LOOP(int32_t, In, READ, I32);                                                                              \
        else if (out_dtype == TS_I64)                                                                                  \
            LOOP(int64_t, In, READ, I64);                                                                              \
        else                                                                                                           \
            LOOP(bool, In, READ, TO_BOOL);                                                                             \
    }

FROM(from_f32, float, KEEP, to_i32, to_i64)
FROM(from_f64, double, KEEP, to_i32, to_i64)
FROM(from_bf16, TsBf16, FROM_BF16, to_i32, to_i64)
FROM(from_i32, int32_t, KEEP, KEEP, KEEP)
FROM(from_i64, int64_t, KEEP, KEEP, KEEP)
FROM(from_bool, bool, KEEP, KEEP, KEEP)

void ts_kernel_cast(void *out, TsDtype out_dtype, const void *x, TsDtype x_dtype, int64_t count, int threads)
{
    static void (*const from[TS_DTYPES])(void *, TsDtype, const void *, int64_t, int64_t) = {
        [TS_F32] = from_f32, [TS_F64] = from_f64, [TS_BF16] = from_bf16,
        [TS_I32] = from_i32, [TS_I64] = from_i64, [TS_BOOL] = from_bool,
    };
    enum { GRAIN = 16384 };
    TS_CHECK(from[x_dtype] && out_dtype != TS_F16, "no cast from %s to %s", ts_dtype_name(x_dtype),
             ts_dtype_name(out_dtype));
    int64_t grains = (count + GRAIN - 1) / GRAIN;
    threads = grains < threads ? (int)grains : threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t grain = 0; grain < grains; grain++) {
        int64_t first = grain * GRAIN;
        from[x_dtype](out, out_dtype, x, first, first + GRAIN < count ? first + GRAIN : count);
    }
}
