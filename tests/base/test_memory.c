/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/child.h"
#include "base/memory.h"

/* ---- children ---- */

/* Prints what ran short, and ends with the code of it. */
static void tell(void)
{
    TsStatus status = ts_memory_status();
    int exit_code = ts_status_exit_code(status);
    if (status)
        fprintf(stderr, "%s\n", ts_status_message(status));
    ts_status_free(&status);
    ts_memory_expect_none();
    fflush(NULL);
    _exit(exit_code);
}

static void allocate_five(void)
{
    for (int i = 0; i < 5; i++)
        ts_free(ts_alloc(100 + (size_t)i));
    tell();
}

/* Blocks of the reserve until it has no room. */
static void exhaust(void)
{
    ts_memory_fail_from(1);
    for (size_t taken = 0; taken <= TS_RESERVE_BYTES; taken += 1 << 20)
        memset(ts_alloc(1 << 20), 1, 1 << 20);
}

static void *allocate_many(void *unused)
{
    for (int i = 0; i < 1000; i++)
        ts_free(ts_alloc(8));
    return unused;
}

static void allocate_in_threads(void)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, allocate_many, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    tell();
}

static void keep_a_block(void)
{
    memset(ts_alloc(77), 1, 77);
    ts_memory_expect_none();
}

static void ask_for_too_much(void)
{
    ts_calloc(SIZE_MAX / 2, 3);
}

static void ask_for_half_of_all(void)
{
    ts_free(ts_alloc(SIZE_MAX / 2));
}

static const Child children[] = {{"five", allocate_five},
                                 {"threads", allocate_in_threads},
                                 {"keep", keep_a_block},
                                 {"too much", ask_for_too_much},
                                 {"half of all", ask_for_half_of_all},
                                 {"exhaust", exhaust},
                                 {NULL, NULL}};

/* ---- cases ---- */

static void alignment_and_zeros(void)
{
    for (size_t bytes = 0; bytes < 300; bytes += 7) {
        unsigned char *block = ts_calloc(bytes, 1);
        CU_ASSERT_EQUAL((uintptr_t)block % 64, 0);
        int sum = 0;
        for (size_t i = 0; i < bytes; i++)
            sum += block[i];
        CU_ASSERT_EQUAL(sum, 0);
        ts_free(block);
    }
    void *a = ts_alloc(0), *b = ts_alloc(0);
    CU_ASSERT_PTR_NOT_EQUAL(a, b);
    ts_free(a);
    ts_free(b);
    ts_free(NULL);
}

static void counts(void)
{
    TsMemory before = ts_memory_usage();
    char *a = ts_alloc(1000), *text = ts_strdup("twelve bytes");
    CU_ASSERT_EQUAL(ts_memory_usage().live_bytes, before.live_bytes + 1013);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, before.live_blocks + 2);
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, before.allocations + 2);
    CU_ASSERT(ts_memory_usage().peak_bytes >= before.live_bytes + 1013);
    memset(a, 'x', 1000);
    a = ts_realloc(a, 5000);
    CU_ASSERT_EQUAL(a[999], 'x');
    a = ts_realloc(a, 10);
    CU_ASSERT_EQUAL(a[9], 'x');
    CU_ASSERT_EQUAL(ts_memory_usage().live_bytes, before.live_bytes + 23);
    char *made = ts_format("%d of %s", 3, text);
    CU_ASSERT_STRING_EQUAL(made, "3 of twelve bytes");
    ts_free(made);
    ts_free(text);
    ts_free(a);
    CU_ASSERT_EQUAL(ts_memory_usage().live_bytes, before.live_bytes);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, before.live_blocks);
}

enum { LACK = 1 + TS_CODE_RESOURCES };

/* Each allocation in turn fails, and is told with the line that asked for it; the one after the last does not. */
static void the_nth_fails(void)
{
    char output[4096], setting[64], words[128];
    for (int n = 1; n <= 5; n++) {
        snprintf(setting, sizeof setting, "TESSERA_FAIL_ALLOC=%d", n);
        snprintf(words, sizeof words, "out of memory: allocation %d, of %d bytes, failed with 0 bytes in use (", n,
                 99 + n);
        CU_ASSERT_EQUAL(run_child("five", setting, output), LACK);
        CU_ASSERT_PTR_NOT_NULL(strstr(output, words));
        CU_ASSERT_PTR_NOT_NULL(strstr(output, "tests/base/test_memory.c:31)\n"));
    }
    CU_ASSERT_EQUAL(run_child("five", "TESSERA_FAIL_ALLOC=6", output), 0);
    CU_ASSERT_EQUAL(run_child("five", "TESSERA_FAIL_ALLOC=0", output), 0);
    CU_ASSERT_EQUAL(run_child("five", "TESSERA_FAIL_ALLOC=-3", output), 0);
}

/* Exactly one of 8000 in eight threads. */
static void the_nth_fails_in_threads(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("threads", "TESSERA_FAIL_ALLOC=8001", output), 0);
    CU_ASSERT_EQUAL(run_child("threads", "TESSERA_FAIL_ALLOC=4001", output), LACK);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "allocation 4001, of 8 bytes"));
}

/* It serves what fails, whole and zeroed, until all of it is given back; the first is told, once. */
static void the_reserve(void)
{
    TsMemory before = ts_memory_usage();
    for (int round = 0; round < 2; round++) {
        ts_memory_fail_from(1);
        unsigned char *block = ts_alloc(100), *zeros = ts_calloc(1000, 3), sum = 0;
        CU_ASSERT_PTR_NULL(ts_try_alloc(10));
        CU_ASSERT_PTR_NULL(ts_try_calloc(10, 1));
        ts_memory_fail_at(0);
        CU_ASSERT_EQUAL((uintptr_t)block % 64, 0);
        CU_ASSERT_EQUAL((uintptr_t)zeros % 64, 0);
        CU_ASSERT_EQUAL(ts_memory_usage().live_bytes, before.live_bytes + 3100);
        for (int i = 0; i < 3000; i++)
            sum |= zeros[i];
        CU_ASSERT_EQUAL(sum, 0);
        memset(zeros, 0xff, 3000); /* which the next round must not see */
        memset(block, 7, 100);
        block = ts_realloc(block, 200); /* out of the reserve */
        CU_ASSERT_EQUAL(block[99], 7);
        CU_ASSERT(ts_memory_short());
        TEST_ERROR(ts_memory_status(), ", of 100 bytes, failed");
        TEST_OK(ts_memory_status());
        ts_free(block);
        ts_free(zeros);
    }
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, before.live_blocks);
    char output[4096];
    CU_ASSERT_EQUAL(run_child("exhaust", NULL, output), 70);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "of 1048576 bytes, failed with "));
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "tests/base/test_memory.c:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "tessera: fatal: rank 0 on "));
}

static void impossible_sizes(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("too much", NULL, output), 70);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "elements of 3 bytes (out of memory)"));
    CU_ASSERT_EQUAL(run_child("half of all", NULL, output), 70);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "allocation 1, of 9223372036854775807 bytes, failed"));
}

static void what_is_not_given_back(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("keep", NULL, output), 70);
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "src/base/memory.c:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(output, "memory not given back: 1 blocks, 77 bytes"));
}

TEST_MAIN("memory", {"alignment and zeros", alignment_and_zeros}, {"counts", counts},
          {"the n-th allocation fails", the_nth_fails}, {"the same in threads", the_nth_fails_in_threads},
          {"the reserve", the_reserve}, {"impossible sizes", impossible_sizes},
          {"what is not given back", what_is_not_given_back})
