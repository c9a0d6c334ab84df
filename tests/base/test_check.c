/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/check.h"
#include "base/child.h"
#include "base/log.h"

static void fail_a_check(void)
{
    int ranks = 3;
    ts_log_set_rank(5);
    printf("said before\n"); /* in a buffer still */
    TS_CHECK(ranks == 4, "expected 4 ranks, found %d", ranks);
}

static void pass_a_check(void)
{
    int calls = 0;
    TS_CHECK(++calls == 1, "evaluated %d times", calls);
    TS_ASSERT(calls == 1);
    _exit(calls);
}

static void say_much(void)
{
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    TS_CHECK(false, "%s", text);
}

static void fail_while_ending(int exit_code)
{
    TS_CHECK(exit_code == 0, "again");
}

static void fail_twice(void)
{
    ts_fatal_set_abort(fail_while_ending);
    TS_CHECK(false, "first");
}

static void end_with_41(int exit_code)
{
    fprintf(stderr, "ended with %d\n", exit_code);
    _exit(41);
}

static void abort_through_hook(void)
{
    ts_fatal_set_abort(end_with_41);
    ts_abort_job(1000);
}

static void abort_256(void)
{
    ts_abort_job(256);
}

static void abort_0(void)
{
    ts_abort_job(0);
}

static const Child children[] = {
    {"fail", fail_a_check},       {"pass", pass_a_check}, {"much", say_much}, {"twice", fail_twice},
    {"hook", abort_through_hook}, {"256", abort_256},     {"0", abort_0},     {NULL, NULL}};

static void message_and_code(void)
{
    char output[4096], words[512];
    CU_ASSERT_EQUAL(run_child("fail", NULL, output), TS_EXIT_FATAL);
    snprintf(words, sizeof words, "tessera: fatal: rank 5 on %s: ", ts_log_host());
    CU_ASSERT_EQUAL(strncmp(output, words, strlen(words)), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "tests/base/test_check.c:16: expected 4 ranks, found 3 (ranks == 4)\n"));
    CU_ASSERT_EQUAL(run_child("pass", NULL, output), 1);
    CU_ASSERT_STRING_EQUAL(output, "");
    CU_ASSERT_EQUAL(run_child("much", NULL, output), TS_EXIT_FATAL);
    CU_ASSERT(strlen(output) > 1000);
}

static void ends_the_job(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("hook", NULL, output), 41);
    CU_ASSERT_STRING_EQUAL(output, "ended with 125\n");
    CU_ASSERT_EQUAL(run_child("256", NULL, output), 125);
    CU_ASSERT_EQUAL(run_child("0", NULL, output), 1);
    CU_ASSERT_EQUAL(run_child("twice", NULL, output), TS_EXIT_FATAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "first"));
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "again"));
}

TEST_MAIN("check", {"message and code", message_and_code}, {"ends the job", ends_the_job})
