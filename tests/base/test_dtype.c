/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/dtype.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void rounding(void)
{
    static const struct {
        uint32_t f32;
        TsBf16 bf16;
    } known[] = {
        {0x3f800000, 0x3f80},                                             /* 1 */
        {0x3f807fff, 0x3f80},                                             /* just below the middle: down */
        {0x3f808000, 0x3f80},                                             /* the middle: to the even one below */
        {0x3f808001, 0x3f81},                                             /* just above: up */
        {0x3f818000, 0x3f82},                                             /* the middle: to the even one above */
        {0xbf818000, 0xbf82},                                             /* the same below zero */
        {0x7f7fffff, 0x7f80},                                             /* the largest f32 rounds to infinity */
        {0x7f800000, 0x7f80},                                             /* infinity */
        {0xff800000, 0xff80}, {0x00000000, 0x0000}, {0x80000000, 0x8000}, /* -0 */
        {0x00000001, 0x0000},                                             /* the smallest f32 */
        {0x00018000, 0x0002},                                             /* a subnormal middle */
        {0x007fffff, 0x0080},                                             /* into the normal numbers */
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CU_ASSERT_EQUAL(ts_bf16_from_f32(from_bits(known[i].f32)), known[i].bf16);
}

/* Every bf16 is an f32, and comes back. A NaN stays a NaN, also one whose upper half alone would be infinity. */
static void all_of_them(void)
{
    int64_t wrong = 0;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = ts_bf16_to_f32((TsBf16)bits);
        TsBf16 back = ts_bf16_from_f32(value);
        wrong += isnan(value) ? !isnan(ts_bf16_to_f32(back)) : back != bits;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(isnan(ts_bf16_to_f32(ts_bf16_from_f32(from_bits(0x7f800001)))));
    CU_ASSERT(isnan(ts_bf16_to_f32(ts_bf16_from_f32(from_bits(0xffffffff)))));
}

static void tables(void)
{
    static const char *const names[] = {"f32", "f64", "bf16", "i32", "i64", "bool", "f16"};
    static const size_t bytes[] = {4, 8, 2, 4, 8, 1, 2};
    static const bool floats[] = {true, true, true, false, false, false, true};
    for (TsDtype dtype = 0; dtype < TS_DTYPES; dtype++) {
        CU_ASSERT_STRING_EQUAL(ts_dtype_name(dtype), names[dtype]);
        CU_ASSERT_EQUAL(ts_dtype_bytes(dtype), bytes[dtype]);
        CU_ASSERT_EQUAL(ts_dtype_is_float(dtype), floats[dtype]);
    }
}

TEST_MAIN("dtype", {"rounding", rounding}, {"all of them", all_of_them}, {"tables", tables})
