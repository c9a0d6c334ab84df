/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"

/* The known answers for philox4x32-10 that the Random123 distribution publishes (tests/kat_vectors). */
static void known_answers(void)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        ts_philox4x32(out, known[i].counter, known[i].key);
        CU_ASSERT_EQUAL(memcmp(out, known[i].out, sizeof out), 0);
    }
}

/* Any block of a stream is the same as its elements one by one: all starts, and lengths around the vector width. */
static void blocks_equal_elements(void)
{
    enum { LONGEST = 300 };
    static const int64_t starts[] = {
        0, 1, 2, 3, 4, 63, 64, 65, 1000003, ((int64_t)1 << 34) - 7, ((int64_t)1 << 40) + 5};
    float *normal = ts_alloc(LONGEST * sizeof *normal), *uniform = ts_alloc(LONGEST * sizeof *uniform);
    uint32_t *bits = ts_alloc(LONGEST * sizeof *bits);
    int64_t differences = 0;
    TsStream stream = ts_stream(7, "init/up/kernel", 12);
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++)
        for (int64_t count = 0; count <= LONGEST; count += count < 70 ? 1 : 77) {
            ts_stream_fill_normal_f32(stream, normal, starts[s], count);
            ts_stream_fill_uniform_f32(stream, uniform, starts[s], count);
            ts_stream_fill_bits(stream, bits, starts[s], count);
            for (int64_t i = 0; i < count; i++) {
                float n = ts_stream_normal_f32(stream, starts[s] + i), u = ts_stream_uniform_f32(stream, starts[s] + i);
                differences += memcmp(&n, &normal[i], sizeof n) != 0;
                differences += memcmp(&u, &uniform[i], sizeof u) != 0;
                differences += (float)(bits[i] >> 9) * 0x1p-23f + 0x1p-24f != u;
            }
        }
    CU_ASSERT_EQUAL(differences, 0);
    ts_free(normal);
    ts_free(uniform);
    ts_free(bits);
}

/* Seed, name, step and index each make another number; a name is more than its letters. */
static void streams_differ(void)
{
    const TsStream all[] = {ts_stream(1, "a", 0), ts_stream(2, "a", 0),  ts_stream(1, "b", 0),
                            ts_stream(1, "a", 1), ts_stream(1, "aa", 0), ts_stream(1, "a", (int64_t)1 << 33)};
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_NOT_EQUAL(ts_stream_uniform_f64(all[i], 0), ts_stream_uniform_f64(all[i], 1));
        CU_ASSERT_NOT_EQUAL(ts_stream_uniform_f64(all[i], 0), ts_stream_uniform_f64(all[i], (int64_t)1 << 35));
        for (int j = 0; j < i; j++)
            CU_ASSERT_NOT_EQUAL(ts_stream_uniform_f64(all[i], 3), ts_stream_uniform_f64(all[j], 3));
    }
}

typedef struct Moments {
    double mean, variance, kurtosis, lag; /* of neighbours: their correlation */
} Moments;

static Moments moments(const float *x, int64_t count)
{
    Moments m = {0};
    for (int64_t i = 0; i < count; i++)
        m.mean += x[i] / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double d = x[i] - m.mean;
        m.variance += d * d / (double)count;
        m.kurtosis += d * d * d * d / (double)count;
        m.lag += i ? d * (x[i - 1] - m.mean) / (double)count : 0;
    }
    m.kurtosis /= m.variance * m.variance;
    m.lag /= m.variance;
    return m;
}

/* Within five standard errors of a million. */
static void distributions(void)
{
    enum { COUNT = 1 << 20 };
    float *x = ts_alloc(COUNT * sizeof *x);
    TsStream stream = ts_stream(1234, "noise", 3);
    ts_stream_fill_uniform_f32(stream, x, 0, COUNT);
    float least = 1, most = 0;
    for (int i = 0; i < COUNT; i++) {
        least = fminf(least, x[i]);
        most = fmaxf(most, x[i]);
    }
    CU_ASSERT(least > 0 && least < 1e-5f && most < 1 && most > 1 - 1e-5f);
    Moments uniform = moments(x, COUNT);
    CU_ASSERT_DOUBLE_EQUAL(uniform.mean, 0.5, 0.0015);
    CU_ASSERT_DOUBLE_EQUAL(uniform.variance, 1.0 / 12, 0.0004);
    CU_ASSERT_DOUBLE_EQUAL(uniform.lag, 0, 0.005);
    ts_stream_fill_normal_f32(stream, x, 0, COUNT);
    Moments normal = moments(x, COUNT);
    CU_ASSERT_DOUBLE_EQUAL(normal.mean, 0, 0.005);
    CU_ASSERT_DOUBLE_EQUAL(normal.variance, 1, 0.007);
    CU_ASSERT_DOUBLE_EQUAL(normal.kurtosis, 3, 0.025);
    CU_ASSERT_DOUBLE_EQUAL(normal.lag, 0, 0.005);
    int64_t beyond_2 = 0, beyond_4 = 0;
    for (int i = 0; i < COUNT; i++) {
        beyond_2 += fabsf(x[i]) > 2;
        beyond_4 += fabsf(x[i]) > 4;
    }
    CU_ASSERT_DOUBLE_EQUAL((double)beyond_2 / COUNT, 0.0455, 0.0011);
    CU_ASSERT(beyond_4 > 20 && beyond_4 < 130); /* 66 expected */
    ts_free(x);
}

/* Box and Muller by libm, in f64, from the same bits. */
static void normals_are_exact(void)
{
    TsStream stream = ts_stream(5, "exact", 0);
    double worst = 0;
    for (int64_t i = 0; i < 40000; i += 2) {
        uint32_t words[2];
        ts_stream_fill_bits(stream, words, i, 2);
        double radius = sqrt(-2 * log(((double)words[0] + 0.5) * 0x1p-32)), angle = words[1] * (2 * M_PI * 0x1p-32);
        worst = fmax(worst, fabs(radius * cos(angle) - ts_stream_normal_f32(stream, i)));
        worst = fmax(worst, fabs(radius * sin(angle) - ts_stream_normal_f32(stream, i + 1)));
    }
    CU_ASSERT(worst < 2e-4); /* 32 bits near 1 do not fit an f32: there the radius is near 0, and coarse */
    for (int64_t i = 0; i < 1000; i++) {
        CU_ASSERT(isfinite(ts_stream_normal_f64(stream, i)));
        CU_ASSERT(ts_stream_uniform_f64(stream, i) > 0 && ts_stream_uniform_f64(stream, i) < 1);
    }
}

/* Every bound, also one that 2^64 is far from a multiple of, is hit evenly. */
static void bounded(void)
{
    TsStream stream = ts_stream(5, "below", 0);
    int64_t counts[6] = {0};
    for (int64_t i = 0; i < 60000; i++) {
        int64_t value = ts_stream_below(stream, i, 6);
        CU_ASSERT(value >= 0 && value < 6);
        counts[value >= 0 && value < 6 ? value : 0]++;
    }
    for (int i = 0; i < 6; i++)
        CU_ASSERT_DOUBLE_EQUAL((double)counts[i], 10000, 460);
    int64_t thirds = 0; /* of 2^64 = 5 * wide + 2^60: without drawing again, multiples of 3 come 3/8 of the time */
    for (int64_t i = 0; i < 30000; i++)
        thirds += ts_stream_below(stream, i, (int64_t)3 << 60) % 3 == 0;
    CU_ASSERT_DOUBLE_EQUAL((double)thirds, 10000, 410);
    CU_ASSERT_EQUAL(ts_stream_below(stream, 0, 1), 0);
}

TEST_MAIN("philox", {"known answers", known_answers}, {"blocks equal elements", blocks_equal_elements},
          {"streams differ", streams_differ}, {"distributions", distributions},
          {"normals are exact", normals_are_exact}, {"bounded", bounded})
