/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 */
#include "data/cursor.h"

#include <string.h>

#include "base/memory.h"
#include "test.h"

/* Each epoch hands out every example once, whatever their number. */
static void every_example_once(void)
{
    static const int64_t counts[] = {1, 2, 3, 7, 64, 100, 1000, 4097};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int64_t count = counts[c];
        char *seen = ts_alloc((size_t)count);
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            memset(seen, 0, (size_t)count);
            bool in_range = true, once = true;
            for (int64_t place = epoch * count; place < (epoch + 1) * count; place++) {
                int64_t example = ts_cursor_example(TS_ORDER_SHUFFLED, 3, count, place);
                in_range = in_range && example >= 0 && example < count;
                once = once && in_range && !seen[example]++;
            }
            CU_ASSERT_TRUE(in_range);
            CU_ASSERT_TRUE(once);
        }
        ts_free(seen);
    }
}

/* Epochs and seeds have orders of their own, which are not the order of the data. */
static void orders_differ(void)
{
    enum { COUNT = 1000 };
    int in_place = 0, same_epoch = 0, same_seed = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        int64_t example = ts_cursor_example(TS_ORDER_SHUFFLED, 3, COUNT, i);
        in_place += example == i;
        same_epoch += example == ts_cursor_example(TS_ORDER_SHUFFLED, 3, COUNT, COUNT + i);
        same_seed += example == ts_cursor_example(TS_ORDER_SHUFFLED, 4, COUNT, i);
    }
    CU_ASSERT(in_place < 20); /* one is expected of a random order */
    CU_ASSERT(same_epoch < 20);
    CU_ASSERT(same_seed < 20);
}

static void sequential_ends(void)
{
    for (int64_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(ts_cursor_example(TS_ORDER_SEQUENTIAL, 3, 5, i), i);
    CU_ASSERT_EQUAL(ts_cursor_example(TS_ORDER_SEQUENTIAL, 3, 5, 5), -1);
    CU_ASSERT_EQUAL(ts_cursor_example(TS_ORDER_SEQUENTIAL, 3, 5, 99), -1);
}

TEST_MAIN("cursor", {"every example once an epoch", every_example_once}, {"orders differ", orders_differ},
          {"in order, once", sequential_ends})
