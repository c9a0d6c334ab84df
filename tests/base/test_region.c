/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/child.h"
#include "base/memory.h"
#include "base/pages.h"
#include "base/region.h"

enum { LARGE = TS_REGION_LEAST_BYTES };

static bool in_region(const void *block)
{
    TsRegion region = ts_region();
    return region.fd >= 0 && (uintptr_t)block - (uintptr_t)region.base < region.size_bytes;
}

/* Bytes of memory that the region has now. */
static int64_t held_bytes(void)
{
    struct stat file = {0};
    fstat(ts_region().fd, &file);
    return file.st_blocks * 512;
}

static bool all_equal(const char *block, size_t size_bytes, char value)
{
    for (size_t i = 0; i < size_bytes; i++)
        if (block[i] != value)
            return false;
    return true;
}

/* ---- children: they end with 70 where a check fails */

#define EXPECT(condition)                                                                                              \
    if (!(condition))                                                                                                  \
    _exit(70)

static void without_region(void)
{
    EXPECT(ts_region().fd == -1);
    char *block = ts_calloc(1, 2 * LARGE);
    EXPECT(!in_region(block) && all_equal(block, 2 * LARGE, 0));
    ts_free(block);
    ts_memory_expect_none();
}

static void with_short_files(void)
{
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    EXPECT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    without_region();
}

static void with_few_addresses(void)
{
    struct rlimit limit = {.rlim_cur = (rlim_t)1 << 30, .rlim_max = (rlim_t)1 << 30};
    EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
    without_region();
}

/* A block that was taken before is private: it stays so, and is as good as any. */
static void asked_for_late(void)
{
    enum { BYTES = TS_PAGES_LEAST_BYTES + 12345 };
    char *before = ts_calloc(1, BYTES), *resized = ts_alloc(LARGE);
    EXPECT(!in_region(before) && (uintptr_t)before % 64 == 0 && all_equal(before, BYTES, 0));
    memset(before, 'a', BYTES);
    memset(resized, 'b', LARGE);
    resized = ts_realloc(resized, BYTES);
    EXPECT(all_equal(resized, LARGE, 'b') && in_region(resized) == (ts_region().fd >= 0));
    ts_free(resized);
    EXPECT(all_equal(before, BYTES, 'a'));
    ts_free(before);
    ts_memory_expect_none();
}

static int64_t resident_bytes(void)
{
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    EXPECT(file && fscanf(file, "%*d %lld", &pages) == 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Private memory comes with its use and goes with its block. */
static void never_asked_for(void)
{
    enum { BYTES = 16 * TS_PAGES_LEAST_BYTES };
    int64_t before = resident_bytes();
    char *block = ts_alloc(BYTES);
    EXPECT(resident_bytes() < before + BYTES / 4);
    memset(block, 1, BYTES);
    EXPECT(resident_bytes() >= before + BYTES / 4 * 3);
    ts_free(block);
    EXPECT(resident_bytes() < before + BYTES / 4);
    block = ts_calloc(1, BYTES);
    EXPECT(all_equal(block, BYTES, 0));
    ts_free(block);
    ts_memory_expect_none();
}

/* What a forked process writes and frees stays its own. */
static void forked(void)
{
    (void)ts_region();
    char *kept = ts_alloc(LARGE), *freed = ts_alloc(LARGE);
    memset(kept, 'a', LARGE);
    memset(freed, 'b', LARGE);
    pid_t pid = fork();
    if (pid == 0) {
        EXPECT(all_equal(kept, LARGE, 'a') && all_equal(freed, LARGE, 'b'));
        memset(kept, 'x', LARGE);
        ts_free(freed);
        char *block = ts_alloc(LARGE);
        EXPECT(ts_region().fd == -1);
        memset(block, 'y', LARGE);
        ts_free(block);
        _exit(0);
    }
    int status = 1;
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    EXPECT(all_equal(kept, LARGE, 'a') && all_equal(freed, LARGE, 'b'));
    ts_free(kept);
    ts_free(freed);
    ts_memory_expect_none();
}

static const Child children[] = {{"without", without_region},
                                 {"short files", with_short_files},
                                 {"few addresses", with_few_addresses},
                                 {"forked", forked},
                                 {"late", asked_for_late},
                                 {"never", never_asked_for},
                                 {NULL, NULL}};

/* ---- cases */

static void large_blocks_lie_in_it(void)
{
    (void)ts_region();
    char *small = ts_alloc(LARGE - 1), *large = ts_alloc(LARGE);
    CU_ASSERT_FALSE(in_region(small));
    CU_ASSERT_EQUAL(in_region(large), ts_region().fd >= 0);
    CU_ASSERT_EQUAL((uintptr_t)large % 64, 0);
    memset(small, 's', LARGE - 1);
    small = ts_realloc(small, 3 * LARGE); /* into it and out of it */
    CU_ASSERT(all_equal(small, LARGE - 1, 's'));
    CU_ASSERT_EQUAL(in_region(small), ts_region().fd >= 0);
    small = ts_realloc(small, 100);
    CU_ASSERT(all_equal(small, 100, 's'));
    CU_ASSERT_FALSE(in_region(small));
    ts_free(small);
    ts_free(large);
}

/* Memory goes with its block, and comes back zeroed. */
static void memory_is_given_back(void)
{
    if (ts_region().fd < 0)
        return;
    int64_t before = held_bytes();
    char *block = ts_alloc(40 * LARGE);
    CU_ASSERT(held_bytes() < before + 4 * LARGE); /* the header's page */
    memset(block, 1, 40 * LARGE);
    CU_ASSERT(held_bytes() >= before + 40 * LARGE);
    ts_free(block);
    CU_ASSERT(held_bytes() <= before);
    char *again = ts_calloc(40, LARGE);
    CU_ASSERT_PTR_EQUAL(again, block);
    CU_ASSERT(all_equal(again, 40 * LARGE, 0));
    ts_free(again);
}

/* Blocks of every size in every order: none lies over another, and what is left is one range again. */
static void ranges_are_joined(void)
{
    enum { BLOCKS = 60 };
    char *block[BLOCKS] = {0}, *first = ts_alloc(LARGE);
    size_t bytes[BLOCKS] = {0};
    ts_free(first);
    uint32_t drawn = 1;
    for (int turn = 0; turn < 600; turn++) {
        drawn = drawn * 1664525 + 1013904223;
        int i = (int)(drawn >> 8) % BLOCKS;
        if (block[i]) {
            CU_ASSERT(block[i][0] == (char)i && block[i][bytes[i] - 1] == (char)i);
            ts_free(block[i]);
            block[i] = NULL;
        } else {
            bytes[i] = LARGE + (drawn >> 12) % (3 * LARGE);
            block[i] = ts_alloc(bytes[i]);
            block[i][0] = block[i][bytes[i] - 1] = (char)i;
        }
    }
    for (int i = 0; i < BLOCKS; i++)
        ts_free(block[i]);
    if (ts_region().fd < 0)
        return;
    TsRange *all = ts_region_take(ts_region().size_bytes);
    CU_ASSERT_PTR_NOT_NULL(all);
    CU_ASSERT_PTR_NULL(ts_region_take(1)); /* it is full */
    char *of_heap = ts_alloc(LARGE);
    CU_ASSERT_FALSE(in_region(of_heap));
    ts_free(of_heap);
    if (all)
        ts_region_give(all);
    CU_ASSERT_PTR_NULL(ts_region_take(ts_region().size_bytes + 1));
    CU_ASSERT_PTR_NULL(ts_region_take(SIZE_MAX));
}

static void where_it_cannot_be(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("without", "TESSERA_REGION=0", output), 0);
    CU_ASSERT_EQUAL(run_child("short files", NULL, output), 0);
#ifndef __SANITIZE_ADDRESS__
    CU_ASSERT_EQUAL(run_child("few addresses", NULL, output), 0);
#endif
}

static void a_forked_process_has_its_own(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("forked", NULL, output), 0);
}

static void large_blocks_are_private_without_it(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(run_child("late", NULL, output), 0);
#ifndef __SANITIZE_ADDRESS__
    CU_ASSERT_EQUAL(run_child("never", NULL, output), 0);
#endif
}

TEST_MAIN("region", {"large blocks lie in it", large_blocks_lie_in_it}, {"memory is given back", memory_is_given_back},
          {"ranges are joined", ranges_are_joined},
          {"large blocks are private without it", large_blocks_are_private_without_it},
          {"where it cannot be", where_it_cannot_be}, {"a forked process has its own", a_forked_process_has_its_own})
