/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <string.h>

#include "base/memory.h"
#include "base/pool.h"
#include "base/text.h"

static void grows(void)
{
    TsText text = {0};
    for (int i = 0; i < 1000; i++)
        ts_text_append(&text, "%d,", i);
    CU_ASSERT_EQUAL(text.size_bytes, 10 * 2 + 90 * 3 + 900 * 4);
    CU_ASSERT_EQUAL(strlen(text.data), text.size_bytes);
    CU_ASSERT_EQUAL(strncmp(text.data, "0,1,2,", 6), 0);
    ts_text_cut(&text, 5);
    CU_ASSERT_STRING_EQUAL(text.data, "0,1,2");
    ts_text_append_bytes(&text, "a\0b", 3);
    CU_ASSERT_EQUAL(text.size_bytes, 8);
    CU_ASSERT_EQUAL(memcmp(text.data, "0,1,2a\0b", 9), 0);
    ts_text_free(&text);
    CU_ASSERT_PTR_NULL(text.data);
    ts_text_append(&text, "%s", "");
    CU_ASSERT_STRING_EQUAL(text.data, "");
    ts_text_free(&text);
}

static void shown(void)
{
    TsText text = {0};
    ts_text_append_shown(&text, "a\nb\033");
    CU_ASSERT_STRING_EQUAL(text.data, "\"a?b?\"");
    ts_text_free(&text);
    char input[100];
    memset(input, 'x', 99);
    input[99] = '\0';
    memcpy(input + 59, "\xc3\xa9", 2); /* would be cut in two */
    ts_text_append_shown(&text, input);
    CU_ASSERT_EQUAL(text.size_bytes, 1 + 59 + 4);
    CU_ASSERT_STRING_EQUAL(text.data + 58, "xx...\"");
    ts_text_free(&text);
}

static void nearest(void)
{
    static const char *const words[] = {"model", "data", "expert", "seq", "stage"};
    CU_ASSERT_STRING_EQUAL(ts_text_nearest("modle", words, 5), "model");
    CU_ASSERT_STRING_EQUAL(ts_text_nearest("mode", words, 5), "model");
    CU_ASSERT_STRING_EQUAL(ts_text_nearest("dtaa", words, 5), "data");
    CU_ASSERT_STRING_EQUAL(ts_text_nearest("experts", words, 5), "expert");
    CU_ASSERT_STRING_EQUAL(ts_text_nearest("esq", words, 5), "seq");
    CU_ASSERT_PTR_NULL(ts_text_nearest("zebra", words, 5));
    CU_ASSERT_PTR_NULL(ts_text_nearest("x", words, 5));
    CU_ASSERT_PTR_NULL(ts_text_nearest("", words, 5));
    CU_ASSERT_PTR_NULL(ts_text_nearest("model", words, 0));
    char longer[5000];
    memset(longer, 'm', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    CU_ASSERT_PTR_NULL(ts_text_nearest(longer, words, 5));
}

/* Pieces are apart, zero, aligned, and all given back; a large one does not waste the block being filled. */
static void pool(void)
{
    TsMemory before = ts_memory_usage();
    TsPool *made = ts_pool_create();
    enum { PIECES = 3000 };
    char **pieces = ts_calloc(PIECES, sizeof *pieces);
    int64_t wrong = 0;
    for (size_t i = 0; i < PIECES; i++) {
        size_t bytes = i % 100 == 7 ? 20000 : i % 61;
        pieces[i] = ts_pool_calloc(made, bytes, 1);
        wrong += (uintptr_t)pieces[i] % 16 != 0;
        for (size_t j = 0; j < bytes; j++)
            wrong += pieces[i][j] != 0;
        memset(pieces[i], (int)(i % 127) + 1, bytes);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t j = 0; j < (i % 100 == 7 ? 20000 : i % 61); j++)
            wrong += pieces[i][j] != (int)(i % 127) + 1;
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_STRING_EQUAL(ts_pool_copy(made, "abcdef", 3), "abc");
    CU_ASSERT(ts_memory_usage().live_bytes - before.live_bytes < 30 * 20100 + PIECES * 55);
    ts_free(pieces);
    ts_pool_free(&made);
    CU_ASSERT_PTR_NULL(made);
    ts_pool_free(&made);
    CU_ASSERT_EQUAL(ts_memory_usage().live_blocks, before.live_blocks);
}

TEST_MAIN("text", {"grows", grows}, {"shown", shown}, {"nearest", nearest}, {"pool", pool})
