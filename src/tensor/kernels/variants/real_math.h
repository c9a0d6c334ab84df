/* SPDX-License-Identifier: Apache-2.0
 *
 * exp, log, tanh and erf that the compiler turns into vector code: no branch, no table, no call. In f64 they are
 * libm's.
 *
 * Largest errors in units in the last place, over all f32 (tests/tensor/test_real_math.c): exp 2, log 2, tanh 3.
 * Subnormal results and infinities are right; a NaN stays one.
 */
#pragma once

#include "tensor/kernels/variants/variant.h"

#ifdef TS_VARIANT_F64

#define real_exp  exp
#define real_log  log
#define real_tanh tanh
#define real_erf  erf
#define real_sqrt sqrt

#else

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

/* Odd polynomial near 0 (Cephes tanhf), 1 - 2 / (e^2x + 1) beyond. */
static inline float real_tanh(float x)
{
    float a = fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = multiply_add(p, z, 2.06390887954e-2f);
    p = multiply_add(p, z, -5.37397155531e-2f);
    p = multiply_add(p, z, 1.33314422036e-1f);
    p = multiply_add(p, z, -3.33332819422e-1f);
    float near = multiply_add(p * z, x, x);
    float far = 1.0f - 2.0f / (real_exp(2.0f * a) + 1.0f);
    return a < 0.625f ? near : copysignf(far, x);
}

/* Two minimax polynomials, the outer one in the exponent (N. Juffa). */
static inline float real_erf(float x)
{
    float t = fabsf(x), s = x * x;
    float r = multiply_add(-1.72853470e-5f, t, 3.83197126e-4f);
    float u = multiply_add(-3.88396438e-3f, t, 2.42546219e-2f);
    r = multiply_add(r, s, u);
    r = multiply_add(r, t, -1.06777877e-1f);
    r = multiply_add(r, t, -6.34846687e-1f);
    r = multiply_add(r, t, -1.28717512e-1f);
    r = multiply_add(r, t, -t);
    float far = copysignf(1.0f - real_exp(r), x);
    float p = -5.96761703e-4f;
    p = multiply_add(p, s, 4.99119423e-3f);
    p = multiply_add(p, s, -2.67681349e-2f);
    p = multiply_add(p, s, 1.12819925e-1f);
    p = multiply_add(p, s, -3.76125336e-1f);
    p = multiply_add(p, s, 1.28379166e-1f);
    return t > 0.927734375f ? far : multiply_add(p, x, x);
}

#endif

static inline Real real_sigmoid(Real x)
{
    return 1 / (1 + real_exp(-x));
}
