/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/convert.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

/* f16: sign 1, exponent 5, mantissa 10, bias 15. */
static double from_f16(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double size;
    if (exponent == 31)
        size = mantissa ? NAN : INFINITY;
    else if (exponent == 0)
        size = ldexp(mantissa, -24);
    else
        size = ldexp(1024 + mantissa, exponent - 25);
    return bits >> 15 ? -size : size;
}

/* Rounds once, to even at half; what is too large becomes infinity. */
static uint16_t to_f16(double value)
{
    enum { INFINITE = 31 << 10, NOT_A_NUMBER = INFINITE | 1 << 9 };
    uint16_t sign = signbit(value) ? 1 << 15 : 0;
    double size = fabs(value);
    if (isnan(value))
        return sign | NOT_A_NUMBER;
    if (size >= 65520) /* half way between the largest and what would come next */
        return sign | INFINITE;
    int exponent = size > 0 ? ilogb(size) : -15;
    exponent = exponent < -14 ? -14 : exponent;
    int units = (int)nearbyint(ldexp(size, 10 - exponent)); /* of the last bit; 1024 of them and more where normal */
    return (uint16_t)(sign | (units < 1024 ? units : ((exponent + 14) << 10) + units));
}

bool ts_convert_allowed(TsDtype to, TsDtype from)
{
    if (to == from || ts_dtype_is_float(to))
        return true;
    return (to == TS_I64 && (from == TS_I32 || from == TS_BOOL)) || (to == TS_I32 && from == TS_BOOL);
}

double ts_convert_value(const void *data, TsDtype dtype, int64_t index)
{
    switch (dtype) {
    case TS_F32:
        return ((const float *)data)[index];
    case TS_F64:
        return ((const double *)data)[index];
    case TS_BF16:
        return ts_bf16_to_f32(((const TsBf16 *)data)[index]);
    case TS_I32:
        return ((const int32_t *)data)[index];
    case TS_I64:
        return (double)((const int64_t *)data)[index];
    case TS_BOOL:
        return ((const uint8_t *)data)[index] != 0;
    case TS_F16:
        return from_f16(((const uint16_t *)data)[index]);
    case TS_DTYPES:
        break;
    }
    TS_CHECK(false, "dtype %d", (int)dtype);
    return 0;
}

/* To odd: what is between two floats becomes the one whose last bit is set, so that rounding to bf16 after it is as
 * rounding once. */
static float to_odd_f32(double value)
{
    float near = (float)value;
    uint32_t bits;
    if (near == value || !isfinite(near))
        return near;
    memcpy(&bits, &near, sizeof bits);
    if (!(bits & 1))
        near = nextafterf(near, value > near ? INFINITY : -INFINITY);
    return near;
}

void ts_convert_set(void *data, TsDtype dtype, int64_t index, double value)
{
    if (dtype == TS_F32)
        ((float *)data)[index] = (float)value;
    else if (dtype == TS_F64)
        ((double *)data)[index] = value;
    else if (dtype == TS_BF16)
        ((TsBf16 *)data)[index] = ts_bf16_from_f32(to_odd_f32(value));
    else if (dtype == TS_F16)
        ((uint16_t *)data)[index] = to_f16(value);
    else
        TS_CHECK(false, "%s is not set by value", ts_dtype_name(dtype));
}

void ts_convert(void *out, TsDtype to, const void *in, TsDtype from, int64_t count)
{
    TS_CHECK(ts_convert_allowed(to, from), "%s to %s", ts_dtype_name(from), ts_dtype_name(to));
    if (to == from)
        memcpy(out, in, (size_t)count * ts_dtype_bytes(to));
    else if (to == TS_I64)
        for (int64_t i = 0; i < count; i++)
            ((int64_t *)out)[i] = (int64_t)ts_convert_value(in, from, i); /* exact: i32 and bool */
    else if (to == TS_I32)
        for (int64_t i = 0; i < count; i++)
            ((int32_t *)out)[i] = (int32_t)ts_convert_value(in, from, i);
    else
        for (int64_t i = 0; i < count; i++)
            ts_convert_set(out, to, i, ts_convert_value(in, from, i));
}
