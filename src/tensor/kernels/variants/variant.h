/* SPDX-License-Identifier: Apache-2.0
 *
 * Included first by the sources of this folder, each of which the build compiles once a variant: TS_VARIANT is its name
 * (f32_v4, bf16_base, f64_base, ...), one of TS_VARIANT_F32, _BF16, _F64 its element type.
 *
 * Stored is what lies in memory, Real what is computed in: sums of bf16 are f32.
 */
#pragma once

#include <math.h>

#include "base/dtype.h"

#if defined(TS_VARIANT_F64)
typedef double Stored;
typedef double Real;
#elif defined(TS_VARIANT_BF16)
typedef TsBf16 Stored;
typedef float Real;
#else
typedef float Stored;
typedef float Real;
#endif

static inline Real load(Stored value)
{
#ifdef TS_VARIANT_BF16
    return ts_bf16_to_f32(value);
#else
    return value;
#endif
}

static inline Stored store(Real value)
{
#ifdef TS_VARIANT_BF16
    /* as ts_bf16_from_f32, without a branch */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x0040u;
    return (Stored)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
#else
    return value;
#endif
}

#define TS_PASTE_(name, variant) name##_##variant
#define TS_PASTE(name, variant)  TS_PASTE_(name, variant)

/* The name of a family's table in this variant. */
#define TS_TABLE(name) TS_PASTE(name, TS_VARIANT)

/* How many threads `elems` of light work are worth. */
static inline int threads_worth(int threads, int64_t elems)
{
    int64_t worth = elems / 16384;
    return worth < threads ? (worth < 1 ? 1 : (int)worth) : threads;
}

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
