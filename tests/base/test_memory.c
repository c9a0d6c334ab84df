/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/child.h"
#include "base/memory.h"

/* ---- children ---- */

static void allocate_five(void)
{
    for (int i = 0; i < 5; i++)
        ts_free(ts_alloc(100 + (size_t)i));
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

static const Child children[] = {
    {"five", allocate_five},        {"threads", allocate_in_threads},     {"keep", keep_a_block},
    {"too much", ask_for_too_much}, {"half of all", ask_for_half_of_all}, {NULL, NULL}};

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

/* Each allocation in turn fails, with the line that asked for it; the one after the last does not. */
static void the_nth_fails(void)
{
    char output[4096], setting[64], words[96];
    for (int n = 1; n <= 5; n++) {
        snprintf(setting, sizeof setting, "TESSERA_FAIL_ALLOC=%d", n);
        snprintf(words, sizeof words, "allocation %d, of %d bytes, failed with 0 bytes in use (out of memory)", n,
                 99 + n);
        CU_ASSERT_EQUAL(run_child("five", setting, output), 70);
        CU_ASSERT_PTR_NOT_NULL(strstr(output, words));
        CU_ASSERT_PTR_NOT_NULL(strstr(output, "tests/base/test_memory.c:17: "));
        CU_ASSERT_PTR_NOT_NULL(strstr(output, "tessera: fatal: rank 0 on "));
    }
    CU_ASSERT_EQUAL(run_child("five", "TESSERA_FAIL_ALLOC=6", output), 0);
    CU_ASSERT_EQUAL(run_child("five", "TESSERA_FAIL_ALLOC=0", output), 0);
    CU_ASSERT_EQUAL(run_child("five", "TESSERA_FAIL_ALLOC=-3", output), 0);
}

/* Exactly one of 8000 in eight threads, and the process ends once. */
static void the_nth_fails_in_threads(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("threads", "TESSERA_FAIL_ALLOC=8001", output), 0);
    CU_ASSERT_EQUAL(run_child("threads", "TESSERA_FAIL_ALLOC=4001", output), 70);
    const char *first = strstr(output, "allocation 4001, of 8 bytes");
    CU_ASSERT_PTR_NOT_NULL(first);
    CU_ASSERT(first && !strstr(first, "\ntessera: fatal"));
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
          {"impossible sizes", impossible_sizes}, {"what is not given back", what_is_not_given_back})
