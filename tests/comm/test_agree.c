/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "test.h"

static void success_everywhere_is_success(void)
{
    TEST_OK(ts_comm_agree(test_world, TS_OK));
}

static void one_rank_fails_all(void)
{
    int last = ts_group_size(test_world) - 1;
    TsStatus mine = TS_OK;
    if (ts_group_rank(test_world) == last)
        mine = ts_status_error(TS_CODE_CORRUPT, "state.h5: segment %d does not match", 7);
    TsStatus agreed = ts_comm_agree(test_world, mine);
    char expected[80];
    snprintf(expected, sizeof expected, "%sstate.h5: segment 7 does not match",
             last == 0   ? ""
             : last == 1 ? "rank 1: "
             : last == 2 ? "rank 2: "
                         : "rank 3: ");
    CU_ASSERT_STRING_EQUAL(ts_status_message(agreed), expected);
    CU_ASSERT_EQUAL(ts_status_code(agreed), TS_CODE_CORRUPT);
    ts_status_free(&agreed);
}

static void the_same_error_everywhere_names_no_rank(void)
{
    TsStatus agreed = ts_comm_agree(test_world, ts_status_error(TS_CODE_NOT_FOUND, "a.yaml: no such file"));
    CU_ASSERT_STRING_EQUAL(ts_status_message(agreed), "a.yaml: no such file");
    CU_ASSERT_EQUAL(ts_status_code(agreed), TS_CODE_NOT_FOUND);
    ts_status_free(&agreed);
}

static void the_lowest_rank_speaks(void)
{
    int rank = ts_group_rank(test_world), size = ts_group_size(test_world);
    TsStatus mine = TS_OK;
    if (rank >= size / 2)
        mine = ts_status_error((TsCode)(1 + rank % 4), "failure of %d", rank);
    char expected[64];
    snprintf(expected, sizeof expected, "failure of %d", size / 2);
    TsStatus agreed = ts_comm_agree(test_world, mine);
    CU_ASSERT_PTR_NOT_NULL(strstr(ts_status_message(agreed), expected));
    CU_ASSERT_EQUAL((int)ts_status_code(agreed), 1 + size / 2 % 4);
    ts_status_free(&agreed);
}

/* A message may be long, and empty. */
static void messages_keep_their_length(void)
{
    static char text[20000];
    memset(text, 'x', sizeof text - 1);
    TsStatus mine = ts_group_rank(test_world) == 0 ? ts_status_error(TS_CODE_IO, "%s", text) : TS_OK;
    TsStatus agreed = ts_comm_agree(test_world, mine);
    size_t prefix = ts_group_size(test_world) > 1 ? strlen("rank 0: ") : 0;
    CU_ASSERT_EQUAL(strlen(ts_status_message(agreed)), prefix + sizeof text - 1);
    ts_status_free(&agreed);
    agreed = ts_comm_agree(test_world, ts_status_error(TS_CODE_IO, "%s", ""));
    CU_ASSERT_STRING_EQUAL(ts_status_message(agreed), "");
    ts_status_free(&agreed);
}

TEST_MAIN("agree", {"success everywhere is success", success_everywhere_is_success},
          {"one rank fails all", one_rank_fails_all},
          {"the same error everywhere names no rank", the_same_error_everywhere_names_no_rank},
          {"the lowest rank speaks", the_lowest_rank_speaks},
          {"messages keep their length", messages_keep_their_length})
