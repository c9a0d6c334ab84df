/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "base/names.h"

#include "base/memory.h"
#include "test.h"

static void finds_what_was_added(void)
{
    enum { MANY = 5000 };
    TsNames names = {.count = 0};
    char *text[MANY];
    CU_ASSERT_EQUAL(ts_names_find(&names, "anything"), -1);
    for (int i = 0; i < MANY; i++) {
        text[i] = ts_format("layer_%02d/kernel", i * 7);
        CU_ASSERT_EQUAL(ts_names_find(&names, text[i]), -1);
        ts_names_add(&names, text[i], i);
    }
    CU_ASSERT_EQUAL(names.count, MANY);
    for (int i = 0; i < MANY; i++) {
        char *same = ts_strdup(text[i]);
        CU_ASSERT_EQUAL(ts_names_find(&names, same), i);
        ts_free(same);
    }
    CU_ASSERT_EQUAL(ts_names_find(&names, "layer_01/kernel"), -1);
    CU_ASSERT_EQUAL(ts_names_find(&names, ""), -1);
    ts_names_free(&names);
    CU_ASSERT_EQUAL(ts_names_find(&names, text[0]), -1);
    for (int i = 0; i < MANY; i++)
        ts_free(text[i]);
}

TEST_MAIN("names", {"finds what was added", finds_what_was_added})
