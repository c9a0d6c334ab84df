/* SPDX-License-Identifier: Apache-2.0
 *
 * A test program: a table of cases run by CUnit on every rank, and one verdict for all.
 *
 * The first line of a test file names its rank counts, / * ranks: 1 2 4 * /. Every rank runs the same cases in the same
 * order; use CU_ASSERT, never the _FATAL forms, which would leave the other ranks waiting in a collective.
 *
 *     static void adds(void) { CU_ASSERT_EQUAL(1 + 1, 2); }
 *     TEST_MAIN("arithmetic", {"adds", adds})
 */
#pragma once

#include <CUnit/Basic.h>
#include <stdio.h>

#include "comm/runtime.h"
#include "tensor/matmul.h"

/* The Group of all ranks, for the cases. */
static TsGroup *test_world;

/* Asserts success; prints the message of an error, and frees it. */
#define TEST_OK(expression)                                                                                            \
    do {                                                                                                               \
        TsStatus test_status = (expression);                                                                           \
        if (test_status)                                                                                               \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, ts_status_message(test_status));                        \
        CU_ASSERT_PTR_NULL(test_status);                                                                               \
        ts_status_free(&test_status);                                                                                  \
    } while (0)

/* Asserts that `expression` is an error whose message contains `words`, and frees it. */
#define TEST_ERROR(expression, words)                                                                                  \
    do {                                                                                                               \
        TsStatus test_status = (expression);                                                                           \
        bool test_said = test_status && strstr(ts_status_message(test_status), words);                                 \
        if (!test_said)                                                                                                \
            fprintf(stderr, "%s:%d: expected an error with \"%s\", got: %s\n", __FILE__, __LINE__, words,              \
                    ts_status_message(test_status));                                                                   \
        CU_ASSERT_TRUE(test_said);                                                                                     \
        ts_status_free(&test_status);                                                                                  \
    } while (0)

static inline int test_run(const char *suite_name, const CU_TestInfo *cases)
{
    test_world = ts_runtime_start((TsRuntimeOptions){.watchdog_s = 100});
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    for (const CU_TestInfo *test = cases; test->pName; test++)
        CU_add_test(suite, test->pName, test->pTestFunc);
    CU_basic_set_mode(ts_group_rank(test_world) == 0 ? CU_BRM_NORMAL : CU_BRM_SILENT);
    CU_basic_run_tests();
    int failures = (int)CU_get_number_of_failures();
    if (failures && ts_group_rank(test_world) != 0) /* rank 0 printed its own */
        for (CU_pFailureRecord record = CU_get_failure_list(); record; record = record->pNext)
            fprintf(stderr, "rank %d: %s:%u: %s\n", ts_group_rank(test_world), record->strFileName,
                    record->uiLineNumber, record->strCondition);
    CU_cleanup_registry();
    return ts_runtime_end(failures ? 1 : 0);
}

#define TEST_MAIN(suite_name, ...)                                                                                     \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        (void)argc;                                                                                                    \
        ts_matmul_settle(argv);                                                                                        \
        const CU_TestInfo cases[] = {__VA_ARGS__, CU_TEST_INFO_NULL};                                                  \
        return test_run(suite_name, cases);                                                                            \
    }
