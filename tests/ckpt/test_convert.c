/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Dtypes that become one another: every f16 and bf16 there and back, rounding to even, what must not be.
 */
#include <math.h>

#include "ckpt/convert.h"
#include "test.h"

static void small_floats_come_back(void)
{
    int64_t wrong = 0;
    for (int dtype = 0; dtype < 2; dtype++)
        for (uint32_t bits = 0; bits < 1 << 16; bits++) {
            uint16_t in = (uint16_t)bits, out = 0;
            TsDtype small = dtype ? TS_BF16 : TS_F16;
            double wide;
            ts_convert(&wide, TS_F64, &in, small, 1);
            ts_convert(&out, small, &wide, TS_F64, 1);
            wrong += isnan(wide) ? !isnan(ts_convert_value(&out, small, 0)) : in != out;
        }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* Half way between two neighbours, and one bit of a double to either side. */
static void rounds_to_the_nearest(void)
{
    int64_t wrong = 0;
    for (int dtype = 0; dtype < 2; dtype++) {
        TsDtype small = dtype ? TS_BF16 : TS_F16;
        for (uint32_t bits = 0; bits < (dtype ? 0x7f7fu : 0x7bffu); bits += 7) {
            uint16_t low = (uint16_t)bits, high = (uint16_t)(bits + 1), out = 0;
            double a = ts_convert_value(&low, small, 0), b = ts_convert_value(&high, small, 0), half = (a + b) / 2;
            ts_convert_set(&out, small, 0, half);
            wrong += out != (low & 1 ? high : low);
            ts_convert_set(&out, small, 0, nextafter(half, 0));
            wrong += out != low;
            ts_convert_set(&out, small, 0, nextafter(half, INFINITY));
            wrong += out != high;
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    uint16_t out;
    ts_convert_set(&out, TS_F16, 0, 65519.999);
    CU_ASSERT_EQUAL(out, 0x7bff);
    ts_convert_set(&out, TS_F16, 0, -65520);
    CU_ASSERT_EQUAL(out, 0xfc00);
}

static void what_may_be(void)
{
    CU_ASSERT(ts_convert_allowed(TS_F16, TS_F64) && ts_convert_allowed(TS_F32, TS_I64) &&
              ts_convert_allowed(TS_I64, TS_I32));
    CU_ASSERT(ts_convert_allowed(TS_I32, TS_BOOL) && ts_convert_allowed(TS_BOOL, TS_BOOL));
    CU_ASSERT(!ts_convert_allowed(TS_I32, TS_I64) && !ts_convert_allowed(TS_I64, TS_F64) &&
              !ts_convert_allowed(TS_BOOL, TS_I32));
    int64_t large = 0;
    ts_convert(&large, TS_I64, &(int32_t){INT32_MIN}, TS_I32, 1);
    CU_ASSERT_EQUAL(large, INT32_MIN);
}

TEST_MAIN("convert", {"small floats come back", small_floats_come_back},
          {"rounds to the nearest", rounds_to_the_nearest}, {"what may be", what_may_be})
