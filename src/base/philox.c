/* SPDX-License-Identifier: Apache-2.0 */
#include "base/philox.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#if defined(__clang__)       /* gcc does not contract under -std=c17 */
#pragma STDC FP_CONTRACT OFF /* the same bits with and without fused multiply-add */
#endif

static const uint32_t multiplier_0 = 0xd2511f53u, multiplier_1 = 0xcd9e8d57u; /* of the paper, table 2 */
static const uint32_t weyl_0 = 0x9e3779b9u, weyl_1 = 0xbb67ae85u;             /* golden ratio, sqrt(3) - 1 */

enum { ROUNDS = 10 };

void ts_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t product_0 = (uint64_t)multiplier_0 * c0, product_1 = (uint64_t)multiplier_1 * c2;
        c0 = (uint32_t)(product_1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(product_0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)product_1;
        c3 = (uint32_t)product_0;
        k0 += weyl_0;
        k1 += weyl_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

TsStream ts_stream(uint64_t seed, const char *name, int64_t step)
{
    TS_CHECK(step >= 0 && step < (int64_t)1 << 48, "step %lld of the stream %s", (long long)step, name);
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a; Philox below mixes what it leaves */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    uint32_t mixed[4];
    ts_philox4x32(mixed, (const uint32_t[4]){(uint32_t)hash, (uint32_t)(hash >> 32), (uint32_t)strlen(name), 0},
                  (const uint32_t[2]){(uint32_t)seed, (uint32_t)(seed >> 32)});
    return (TsStream){.key = {mixed[0], mixed[1]}, .step = (uint64_t)step};
}

/* Block `block` of the stream. `attempt` tells apart the draws for one element that is drawn again. */
static void draw(uint32_t out[4], TsStream stream, uint64_t block, uint32_t attempt)
{
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream.step,
                                 (uint32_t)(stream.step >> 32) | attempt << 16};
    ts_philox4x32(out, counter, stream.key);
}

/* ---- from bits to numbers ---- */

/* 23 bits and a half: exact in an f32, strictly between 0 and 1. */
static inline float uniform_f32(uint32_t bits)
{
    return ((float)(int32_t)(bits >> 9) + 0.5f) * 0x1p-23f;
}

/* 52 bits and a half. */
static inline double uniform_f64(uint32_t high, uint32_t low)
{
    return ((double)(((uint64_t)high << 32 | low) >> 12) + 0.5) * 0x1p-52;
}

static inline float f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ln x for normal x in (0, 1]: mantissa in [sqrt(1/2), sqrt(2)), then the polynomial of Cephes' logf. */
static inline float natural_log(float x)
{
    uint32_t shifted = bits_of_f32(x) - 0x3f3504f3u; /* sqrt(1/2) */
    float exponent = (float)((int32_t)shifted >> 23);
    float m = f32_of_bits((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f, square = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float small = p * m * square - 2.12194440e-4f * exponent - 0.5f * square;
    return m + small + 0.693359375f * exponent;
}

/* cos and sin of `bits` / 2^32 turns: the top bits name the quarter, the rest an angle in [-pi/4, pi/4), for which the
 * polynomials are those of Cephes' sinf and cosf. */
static inline void cos_sin(float *cosine, float *sine, uint32_t bits)
{
    uint32_t turned = bits + 0x20000000u, quarter = turned >> 30;
    float angle = (float)((int32_t)(turned & 0x3fffffffu) - 0x20000000) * (1.57079632679f * 0x1p-30f);
    float square = angle * angle;
    float s = ((-1.9515295891e-4f * square + 8.3321608736e-3f) * square - 1.6666654611e-1f) * square * angle + angle;
    float c =
        ((2.443315711809948e-5f * square - 1.388731625493765e-3f) * square + 4.166664568298827e-2f) * square * square -
        0.5f * square + 1.0f;
    uint32_t swap = 0u - (quarter & 1u);
    uint32_t s_bits = bits_of_f32(s), c_bits = bits_of_f32(c);
    uint32_t sign_c = (quarter + 1) >> 1 << 31, sign_s = quarter >> 1 << 31;
    *cosine = f32_of_bits(((c_bits & ~swap) | (s_bits & swap)) ^ sign_c);
    *sine = f32_of_bits(((s_bits & ~swap) | (c_bits & swap)) ^ sign_s);
}

/* Two normals of two words: Box and Muller, "A note on the generation of random normal deviates" (1958). */
static inline void normal_pair(float *first, float *second, uint32_t radius_bits, uint32_t angle_bits)
{
    /* in (0, 1]: the signed conversion is what vector units have; 1 gives a radius of 0 */
    float u = (float)(int32_t)(radius_bits ^ 0x80000000u) * 0x1p-32f + (0.5f + 0x1p-33f);
    float tiny =
        (float)(int32_t)(radius_bits & 0x00ffffffu) * 0x1p-32f + 0x1p-33f; /* exact where u has lost its bits */
    u = radius_bits < 0x01000000u ? tiny : u;
    float radius = sqrtf(fabsf(-2.0f * natural_log(u))), cosine, sine;
    cos_sin(&cosine, &sine, angle_bits);
    *first = radius * cosine;
    *second = radius * sine;
}

/* ---- many at a time ---- */

typedef enum Kind { BITS, UNIFORM, NORMAL } Kind;

enum { WIDTH = 64, LANES = 4 * WIDTH }; /* blocks, and elements, at a time: loops that stay loops, and fit in L1 */

/* Blocks first_block .. + WIDTH into out: word j of block b at out[4 * b + j]. `kind` is a constant where this is
 * inlined. */
static inline __attribute__((always_inline)) void draw_wide(uint32_t *restrict out, TsStream stream,
                                                            uint64_t first_block, Kind kind)
{
    uint32_t c0[WIDTH], c1[WIDTH], c2[WIDTH], c3[WIDTH], k0 = stream.key[0], k1 = stream.key[1];
    for (int i = 0; i < WIDTH; i++) {
        uint64_t block = first_block + (uint64_t)i;
        c0[i] = (uint32_t)block;
        c1[i] = (uint32_t)(block >> 32);
        c2[i] = (uint32_t)stream.step;
        c3[i] = (uint32_t)(stream.step >> 32);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < WIDTH; i++) {
            uint64_t product_0 = (uint64_t)multiplier_0 * c0[i], product_1 = (uint64_t)multiplier_1 * c2[i];
            c0[i] = (uint32_t)(product_1 >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(product_0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)product_1;
            c3[i] = (uint32_t)product_0;
        }
        k0 += weyl_0;
        k1 += weyl_1;
    }
    for (int i = 0; i < WIDTH && kind != BITS; i++) {
        float a, b, c, d;
        if (kind == NORMAL) {
            normal_pair(&a, &b, c0[i], c1[i]);
            normal_pair(&c, &d, c2[i], c3[i]);
        } else {
            a = uniform_f32(c0[i]);
            b = uniform_f32(c1[i]);
            c = uniform_f32(c2[i]);
            d = uniform_f32(c3[i]);
        }
        c0[i] = bits_of_f32(a);
        c1[i] = bits_of_f32(b);
        c2[i] = bits_of_f32(c);
        c3[i] = bits_of_f32(d);
    }
    for (int i = 0; i < WIDTH; i++) {
        out[4 * i] = c0[i];
        out[4 * i + 1] = c1[i];
        out[4 * i + 2] = c2[i];
        out[4 * i + 3] = c3[i];
    }
}

static inline __attribute__((always_inline)) void fill_wide(uint32_t *out, TsStream stream, uint64_t first_block,
                                                            int64_t groups, Kind kind)
{
    for (int64_t g = 0; g < groups; g++)
        draw_wide(out + g * LANES, stream, first_block + (uint64_t)g * WIDTH, kind);
}

/* `groups` times LANES elements, of which the first is the first of block `first_block`. */
typedef void Fill(uint32_t *out, TsStream stream, uint64_t first_block, int64_t groups, Kind kind);

static Fill *fill_here;
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

#define FILL(name)                                                                                                     \
    static void name(uint32_t *out, TsStream stream, uint64_t first_block, int64_t groups, Kind kind)                  \
    {                                                                                                                  \
        if (kind == BITS)                                                                                              \
            fill_wide(out, stream, first_block, groups, BITS);                                                         \
        else if (kind == UNIFORM)                                                                                      \
            fill_wide(out, stream, first_block, groups, UNIFORM);                                                      \
        else                                                                                                           \
            fill_wide(out, stream, first_block, groups, NORMAL);                                                       \
    }

FILL(fill_portable)

#if defined(__x86_64__)
__attribute__((target("avx2"))) FILL(fill_avx2) __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
FILL(fill_avx512)
#endif

    /* TESSERA_ISA=base or v3 asks for less than there is, as of the kernels. */
    static void choose_fill(void)
{
    fill_here = fill_portable;
#if defined(__x86_64__)
    const char *asked = getenv("TESSERA_ISA");
    bool base = asked && !strcmp(asked, "base"), v3 = asked && !strcmp(asked, "v3");
    if (__builtin_cpu_supports("avx2") && !base)
        fill_here = fill_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && !base && !v3)
        fill_here = fill_avx512;
#endif
}

/* The four elements of one block. */
static void fill_block(uint32_t out[4], TsStream stream, uint64_t block, Kind kind)
{
    uint32_t words[4];
    float pair[4];
    draw(words, stream, block, 0);
    if (kind == NORMAL) {
        normal_pair(&pair[0], &pair[1], words[0], words[1]);
        normal_pair(&pair[2], &pair[3], words[2], words[3]);
    }
    for (int i = 0; i < 4; i++)
        out[i] = kind == BITS ? words[i] : bits_of_f32(kind == NORMAL ? pair[i] : uniform_f32(words[i]));
}

static void fill(TsStream stream, void *out, int64_t first, int64_t count, Kind kind)
{
    TS_CHECK(first >= 0 && count >= 0, "elements %lld and %lld more", (long long)first, (long long)count);
    uint32_t *words = out;
    uint64_t index = (uint64_t)first;
    while (count > 0) {
        int64_t skipped = (int64_t)(index % 4), taken;
        if (skipped == 0 && count >= LANES) {
            taken = count / LANES * LANES;
            pthread_once(&choose_once, choose_fill);
            fill_here(words, stream, index / 4, taken / LANES, kind);
        } else {
            uint32_t block[4];
            taken = count < 4 - skipped ? count : 4 - skipped;
            fill_block(block, stream, index / 4, kind);
            memcpy(words, block + skipped, (size_t)taken * sizeof *words);
        }
        words += taken;
        index += (uint64_t)taken;
        count -= taken;
    }
}

void ts_stream_fill_bits(TsStream stream, uint32_t *out, int64_t first, int64_t count)
{
    fill(stream, out, first, count, BITS);
}

void ts_stream_fill_uniform_f32(TsStream stream, float *out, int64_t first, int64_t count)
{
    fill(stream, out, first, count, UNIFORM);
}

void ts_stream_fill_normal_f32(TsStream stream, float *out, int64_t first, int64_t count)
{
    fill(stream, out, first, count, NORMAL);
}

/* ---- one at a time ---- */

float ts_stream_uniform_f32(TsStream stream, int64_t index)
{
    uint32_t words[4];
    draw(words, stream, (uint64_t)index / 4, 0);
    return uniform_f32(words[index % 4]);
}

double ts_stream_uniform_f64(TsStream stream, int64_t index)
{
    uint32_t words[4];
    draw(words, stream, (uint64_t)index / 2, 0);
    return uniform_f64(words[index % 2 * 2], words[index % 2 * 2 + 1]);
}

float ts_stream_normal_f32(TsStream stream, int64_t index)
{
    uint32_t words[4];
    float pair[2];
    draw(words, stream, (uint64_t)index / 4, 0);
    normal_pair(&pair[0], &pair[1], words[index % 4 / 2 * 2], words[index % 4 / 2 * 2 + 1]);
    return pair[index % 2];
}

double ts_stream_normal_f64(TsStream stream, int64_t index)
{
    uint32_t words[4];
    draw(words, stream, (uint64_t)index / 2, 0);
    double radius = sqrt(-2.0 * log(uniform_f64(words[0], words[1])));
    double angle = 6.283185307179586477 * uniform_f64(words[2], words[3]);
    return radius * (index % 2 ? sin(angle) : cos(angle));
}

/* Lemire, "Fast random integer generation in an interval" (2019): the high half of a product, drawn again where the low
 * half shows that some results would be more likely than others. */
int64_t ts_stream_below(TsStream stream, int64_t index, int64_t bound)
{
    TS_CHECK(bound > 0 && index >= 0, "a number below %lld at %lld", (long long)bound, (long long)index);
    uint64_t limit = (uint64_t)bound, rejected = (0 - limit) % limit;
    for (uint32_t attempt = 0;; attempt++) {
        uint32_t words[4];
        draw(words, stream, (uint64_t)index, attempt);
        for (int i = 0; i < 4; i += 2) {
            uint64_t bits = (uint64_t)words[i] << 32 | words[i + 1];
            __extension__ unsigned __int128 product = (unsigned __int128)bits * limit;
            if ((uint64_t)product >= rejected)
                return (int64_t)(product >> 64);
        }
    }
}
