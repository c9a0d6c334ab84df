/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/shape.h"

#include <string.h>

#include "test.h"

static void counts_elements(void)
{
    CU_ASSERT_EQUAL(ts_shape_elems(ts_scalar), 1);
    CU_ASSERT_EQUAL(ts_shape_elems(ts_shape(3, 5, 7)), 105);
    CU_ASSERT_EQUAL(ts_shape_elems(ts_shape(3, 0, 7)), 0);
    CU_ASSERT_EQUAL(ts_shape_elems(ts_shape((int64_t)1 << 31, (int64_t)1 << 31)), (int64_t)1 << 62);
}

static void compares_only_its_dims(void)
{
    TsShape a = ts_shape(2, 3), b = ts_shape(2, 3, 4);
    CU_ASSERT_FALSE(ts_shape_equal(a, b));
    b.dims = 2;
    CU_ASSERT_TRUE(ts_shape_equal(a, b));
    b.size[1] = 4;
    CU_ASSERT_FALSE(ts_shape_equal(a, b));
    CU_ASSERT_TRUE(ts_shape_equal(ts_scalar, ts_scalar));
}

static void prints(void)
{
    CU_ASSERT_STRING_EQUAL(ts_shape_text(ts_scalar).text, "()");
    CU_ASSERT_STRING_EQUAL(ts_shape_text(ts_shape(8, 256, 384)).text, "(8, 256, 384)");
    int64_t most = INT64_MAX;
    CU_ASSERT_EQUAL(strlen(ts_shape_text(ts_shape(most, most, most, most, most, most)).text), 6 * 19 + 5 * 2 + 2);
}

TEST_MAIN("shape", {"counts elements", counts_elements}, {"compares only its dims", compares_only_its_dims},
          {"prints", prints})
