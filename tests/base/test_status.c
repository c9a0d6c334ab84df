/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"

static TsStatus give(bool well)
{
    return well ? TS_OK : ts_status_error(TS_CODE_NOT_FOUND, "no %s in line %d", "key", 3);
}

static TsStatus pass_up(bool well, int *reached)
{
    TS_TRY(give(well));
    *reached = 1;
    return TS_OK;
}

static void success(void)
{
    TsStatus status = TS_OK;
    CU_ASSERT_STRING_EQUAL(ts_status_message(status), "ok");
    CU_ASSERT_EQUAL(ts_status_code(status), TS_CODE_OK);
    CU_ASSERT_EQUAL(ts_status_exit_code(status), 0);
    status = ts_status_annotate(status, "context");
    CU_ASSERT_PTR_NULL(status);
    ts_status_free(&status);
}

static void errors(void)
{
    TsMemory before = ts_memory_usage();
    TsStatus status = give(false);
    CU_ASSERT_STRING_EQUAL(ts_status_message(status), "no key in line 3");
    CU_ASSERT_EQUAL(ts_status_code(status), TS_CODE_NOT_FOUND);
    status = ts_status_annotate(status, "line.yaml:%d", 7);
    status = ts_status_annotate(status, "reading");
    CU_ASSERT_STRING_EQUAL(ts_status_message(status), "reading: line.yaml:7: no key in line 3");
    CU_ASSERT_EQUAL(ts_status_code(status), TS_CODE_NOT_FOUND);
    ts_status_free(&status);
    CU_ASSERT_PTR_NULL(status);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, before.live_blocks);
}

static void tried(void)
{
    int reached = 0;
    TEST_ERROR(pass_up(false, &reached), "no key");
    CU_ASSERT_EQUAL(reached, 0);
    TEST_OK(pass_up(true, &reached));
    CU_ASSERT_EQUAL(reached, 1);
}

/* Each its own, and none that mpirun would take for success. */
static void exit_codes(void)
{
    bool seen[126] = {false};
    for (int code = TS_CODE_INVALID; code <= TS_CODE_INTERRUPTED; code++) {
        TsStatus status = ts_status_error((TsCode)code, "x");
        int exit_code = ts_status_exit_code(status);
        CU_ASSERT(exit_code >= 1 && exit_code <= 125 && !seen[exit_code % 126]);
        seen[exit_code % 126] = true;
        ts_status_free(&status);
    }
}

TEST_MAIN("status", {"success", success}, {"errors", errors}, {"tried", tried}, {"exit codes", exit_codes})
