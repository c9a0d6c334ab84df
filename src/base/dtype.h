/* SPDX-License-Identifier: Apache-2.0
 *
 * Dtype: what an element is. Fixed widths, little-endian in files. TS_F16 occurs in files only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum TsDtype { TS_F32, TS_F64, TS_BF16, TS_I32, TS_I64, TS_BOOL, TS_F16, TS_DTYPES } TsDtype;

typedef uint16_t TsBf16; /* the upper half of an f32 */

/* Bytes of one element. */
static inline size_t ts_dtype_bytes(TsDtype dtype)
{
    static const uint8_t bytes[TS_DTYPES] = {
        [TS_F32] = 4, [TS_F64] = 8, [TS_BF16] = 2, [TS_I32] = 4, [TS_I64] = 8, [TS_BOOL] = 1, [TS_F16] = 2};
    return bytes[dtype];
}

/* "f32", "f64", "bf16", "i32", "i64", "bool", "f16". */
static inline const char *ts_dtype_name(TsDtype dtype)
{
    static const char *const names[TS_DTYPES] = {
        [TS_F32] = "f32", [TS_F64] = "f64",   [TS_BF16] = "bf16", [TS_I32] = "i32",
        [TS_I64] = "i64", [TS_BOOL] = "bool", [TS_F16] = "f16"};
    return names[dtype];
}

static inline bool ts_dtype_is_float(TsDtype dtype)
{
    return dtype == TS_F32 || dtype == TS_F64 || dtype == TS_BF16 || dtype == TS_F16;
}

/* Exact. */
static inline float ts_bf16_to_f32(TsBf16 value)
{
    uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* To the nearest, ties to even; a NaN stays a NaN. */
static inline TsBf16 ts_bf16_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (TsBf16)(bits >> 16 | 0x0040u);
    return (TsBf16)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
