/* SPDX-License-Identifier: Apache-2.0
 *
 * exp, log, tanh and the normal distribution that the compiler turns into vector code: no branch, no table, no call. In
 * f64 they are libm's.
 *
 * Largest errors in units in the last place, over all f32 (tests/tensor/test_real_math.c): exp 2, log 2, tanh 3.
 * Subnormal results and infinities are right; a NaN stays one.
 */
#pragma once

#include "tensor/kernels/variants/variant.h"

#ifdef TS_VARIANT_F64

#define real_abs  fabs
#define real_exp  exp
#define real_log  log
#define real_tanh tanh
#define real_sqrt sqrt

#define real_exp_below exp

static inline double real_normal_cdf(double x)
{
    return 0.5 * erfc(-0.70710678118654752440 * x);
}

#else

#define real_abs  fabsf
#define real_sqrt sqrtf

static inline float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* a * b + c, fused where the instruction set has it. */
static inline float multiply_add(float a, float b, float c)
{
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* x = n ln 2 + r; e^r by its Taylor sum with minimax coefficients (Cephes expf); 2^n in two factors, so that subnormal
 * results and the largest are reached. */
static inline float real_exp(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float shifted = multiply_add(x, 1.44269504088896341f, magic);
    float n = shifted - magic;
    int32_t exponent = (int32_t)(to_bits(shifted) - to_bits(magic));
    float r = multiply_add(n, -0.693359375f, x);
    r = multiply_add(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = multiply_add(p, r, 1.3981999507e-3f);
    p = multiply_add(p, r, 8.3334519073e-3f);
    p = multiply_add(p, r, 4.1665795894e-2f);
    p = multiply_add(p, r, 1.6666665459e-1f);
    p = multiply_add(p, r, 5.0000001201e-1f);
    p = multiply_add(p, r * r, r) + 1.0f;
    int32_t half = exponent >> 1;
    return p * from_bits((uint32_t)(half + 127) << 23) * from_bits((uint32_t)(exponent - half + 127) << 23);
}

/* e^x where x is not above 0, or hardly: without what large results need, and 0 in place of subnormal ones. The
 * polynomial is a minimax one; adding the constant rounds to an integer and leaves 2^n's exponent in the low bits. */
static inline float real_exp_below(float x)
{
    const float magic = 12582912.0f + 127.0f; /* 1.5 * 2^23, and the bias of exponents */
    float shifted = multiply_add(x, 1.44269504088896341f, magic);
    float r = multiply_add(shifted - magic, -0.693147180559945309f, x);
    float p = 1.3843606771e-3f;
    p = multiply_add(p, r, 8.3741957493e-3f);
    p = multiply_add(p, r, 4.1668004732e-2f);
    p = multiply_add(p, r, 1.6666430799e-1f);
    p = multiply_add(p, r, 4.9999994192e-1f);
    p = multiply_add(p, r, 1.0000000323f);
    p = multiply_add(p, r, 1.0f) * from_bits(to_bits(shifted) << 23);
    return x < -87.3365479f ? 0.0f : p;
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); log(m) by Cephes logf. */
static inline float real_log(float x)
{
    bool subnormal = x < 1.17549435e-38f;
    float scaled = subnormal ? x * 8388608.0f : x;
    uint32_t bits = to_bits(scaled);
    int32_t e = (int32_t)((bits - 0x3f3504f3u) & 0xff800000u) >> 23; /* relative to sqrt(1/2) */
    float m = from_bits(bits - ((uint32_t)e << 23));
    float n = (float)(subnormal ? e - 23 : e);
    float f = m - 1.0f, z = f * f;
    float p = 7.0376836292e-2f;
    p = multiply_add(p, f, -1.1514610310e-1f);
    p = multiply_add(p, f, 1.1676998740e-1f);
    p = multiply_add(p, f, -1.2420140846e-1f);
    p = multiply_add(p, f, 1.4249322787e-1f);
    p = multiply_add(p, f, -1.6668057665e-1f);
    p = multiply_add(p, f, 2.0000714765e-1f);
    p = multiply_add(p, f, -2.4999993993e-1f);
    p = multiply_add(p, f, 3.3333331174e-1f);
    float tail = multiply_add(n, -2.12194440e-4f, p * f * z);
    tail = multiply_add(z, -0.5f, tail);
    float result = multiply_add(n, 0.693359375f, f + tail);
    result = x > 3.40282347e38f ? x : result; /* infinity */
    result = x == 0.0f ? -INFINITY : result;
    return x >= 0.0f ? result : NAN;
}

/* Odd polynomial near 0 (Cephes tanhf), (1 - e^-2x) / (1 + e^-2x) beyond. */
static inline float real_tanh(float x)
{
    float a = fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = multiply_add(p, z, 2.06390887954e-2f);
    p = multiply_add(p, z, -5.37397155531e-2f);
    p = multiply_add(p, z, 1.33314422036e-1f);
    p = multiply_add(p, z, -3.33332819422e-1f);
    float near = multiply_add(p * z, x, x);
    float e = real_exp_below(-2.0f * a), far = (1.0f - e) / (1.0f + e);
    return a < 0.625f ? near : copysignf(far, x);
}

/* The part of a normal distribution below x: for x < 0 the exponential of a minimax polynomial, which has the smallest
 * absolute error in (-5.5, 0) and goes on falling beyond; for x > 0 what is left of 1. */
static inline float real_normal_cdf(float x)
{
    float t = fabsf(x);
    float r = -8.616993135e-7f;
    r = multiply_add(r, t, 1.446486384e-5f);
    r = multiply_add(r, t, -7.140823093e-5f);
    r = multiply_add(r, t, -2.229357827e-4f);
    r = multiply_add(r, t, 5.044884547e-3f);
    r = multiply_add(r, t, -3.647568779e-2f);
    r = multiply_add(r, t, -3.182754051e-1f);
    r = multiply_add(r, t, -7.978873269e-1f);
    r = multiply_add(r, t, -0.693147180559945309f);
    float below = real_exp_below(r);
    return x > 0.0f ? 1.0f - below : below;
}

#endif

/* 1 / (1 + e^-x), and in the same way 1 - that, each without cancellation. */
static inline Real real_sigmoid(Real x)
{
    Real e = real_exp_below(-real_abs(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}
