/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources, tokenizers and windows, and what is said of input that cannot be.
 */
#include "data/windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "test.h"

static char directory[] = "/tmp/tessera-windows-XXXXXX";

/* A file of rank 0's, for all ranks; its path is valid until the next call. */
static const char *write_text(const char *name, const char *text)
{
    static char path[256];
    if (ts_group_rank(test_world) == 0 && strstr(directory, "XXXXXX"))
        CU_ASSERT_PTR_NOT_NULL(mkdtemp(directory));
    int32_t words[sizeof directory / 4 + 1] = {0};
    memcpy(words, directory, sizeof directory);
    ts_broadcast(
        test_world,
        (TsTransfer){.out = words, .in = words, .count_elems = sizeof words / 4, .dtype = TS_I32, .label = "test"}, 0);
    memcpy(directory, words, sizeof directory);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (text && ts_group_rank(test_world) == 0) {
        FILE *file = fopen(path, "w");
        CU_ASSERT_PTR_NOT_NULL(file);
        if (file) {
            fputs(text, file);
            fclose(file);
        }
    }
    ts_barrier(test_world, "test: the file is there");
    return path;
}

static void remove_text(const char *path)
{
    ts_barrier(test_world, "test: the file was used");
    if (ts_group_rank(test_world) == 0) {
        unlink(path);
        rmdir(directory);
        memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
    }
}

static void cuts_windows(void)
{
    const char *path = write_text("digits", "0123456789");
    TsSource *source;
    TsTokenizer *tokenizer;
    TsWindows *windows;
    int32_t tokens[4], labels[4];
    TEST_OK(ts_source_open_text(&source, test_world, path));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    TEST_OK(ts_windows_create(&windows, source, tokenizer, (TsWindowsOptions){.length_tokens = 4}));
    CU_ASSERT_EQUAL(ts_windows_count(windows), 3); /* 0123 -> 1234, 4567 -> 5678, 8 -> 9 */
    ts_windows_read(windows, tokens, labels, 1, 0, 4);
    CU_ASSERT(tokens[0] == '4' && tokens[3] == '7' && labels[0] == '5' && labels[3] == '8');
    ts_windows_read(windows, tokens, labels, 2, 0, 4);
    CU_ASSERT(tokens[0] == '8' && tokens[1] == '9' && tokens[2] == 0 && tokens[3] == 0);
    CU_ASSERT(labels[0] == '9' && labels[1] == TS_LABEL_IGNORED && labels[3] == TS_LABEL_IGNORED);
    ts_windows_read(windows, tokens, labels, 2, 3, 1); /* wholly beyond the text */
    CU_ASSERT(tokens[0] == 0 && labels[0] == TS_LABEL_IGNORED);
    ts_windows_free(&windows);

    TEST_OK(ts_windows_create(&windows, source, tokenizer, (TsWindowsOptions){.length_tokens = 9}));
    CU_ASSERT_EQUAL(ts_windows_count(windows), 1); /* the last label is the last byte */
    ts_windows_free(&windows);
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
    remove_text(path);
}

/* Windows longer than what is read at once. */
static void long_windows(void)
{
    enum { LENGTH = 10000 };
    TsSource *source;
    TsTokenizer *tokenizer;
    TsWindows *windows;
    int32_t *tokens = ts_calloc(2 * LENGTH, sizeof *tokens), *labels = tokens + LENGTH;
    char *text = ts_alloc(LENGTH + 1);
    TEST_OK(ts_source_open_text(&source, test_world, "tests/data/alice.txt"));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    TEST_OK(ts_windows_create(&windows, source, tokenizer, (TsWindowsOptions){.length_tokens = LENGTH, .begin = 0.1}));
    ts_windows_read(windows, tokens, labels, 1, 0, LENGTH);
    ts_source_read(source, text, ts_source_bytes(source) - ts_windows_bytes(windows) + LENGTH, LENGTH + 1);
    bool same = true;
    for (int i = 0; i < LENGTH; i++)
        same = same && tokens[i] == (unsigned char)text[i] && labels[i] == (unsigned char)text[i + 1];
    CU_ASSERT_TRUE(same);
    ts_free(tokens);
    ts_free(text);
    ts_windows_free(&windows);
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
}

/* The parts of a text share nothing and leave nothing out. */
static void splits(void)
{
    TsSource *source;
    TsTokenizer *tokenizer;
    TsWindows *train, *validation;
    TEST_OK(ts_source_open_text(&source, test_world, "tests/data/alice.txt"));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    for (double cut = 0.05; cut < 1; cut += 0.1) {
        TEST_OK(ts_windows_create(&train, source, tokenizer, (TsWindowsOptions){.length_tokens = 128, .end = cut}));
        TEST_OK(ts_windows_create(&validation, source, tokenizer,
                                  (TsWindowsOptions){.length_tokens = 128, .begin = cut, .end = 1}));
        CU_ASSERT_EQUAL(ts_windows_bytes(train) + ts_windows_bytes(validation), ts_source_bytes(source));
        CU_ASSERT_DOUBLE_EQUAL((double)ts_windows_bytes(train) / (double)ts_source_bytes(source), cut, 1e-4);
        int32_t token, label;
        ts_windows_read(validation, &token, &label, 0, 0, 1);
        char first;
        ts_source_read(source, &first, ts_windows_bytes(train), 1);
        CU_ASSERT_EQUAL(token, first);
        ts_windows_free(&train);
        ts_windows_free(&validation);
    }
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
}

static void tokenizes_bytes(void)
{
    TsTokenizer *tokenizer;
    TEST_ERROR(ts_tokenizer_create(&tokenizer, "letters"), "unknown tokenizer \"letters\": there is \"bytes\"");
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    CU_ASSERT_EQUAL(ts_tokenizer_vocab(tokenizer), 256);
    static const char text[] = "na\xc3\xafve \xff\x01";
    int32_t tokens[16] = {0};
    CU_ASSERT_EQUAL(ts_tokenizer_encode(tokenizer, tokens, 16, text, sizeof text - 1), (int64_t)sizeof text - 1);
    CU_ASSERT_EQUAL(tokens[2], 0xc3);
    size_t bytes;
    char *back = ts_tokenizer_decode(tokenizer, &bytes, tokens, sizeof text - 1);
    CU_ASSERT_EQUAL(bytes, sizeof text - 1);
    CU_ASSERT_STRING_EQUAL(back, text);
    ts_free(back);
    back = ts_tokenizer_decode(tokenizer, NULL, (int32_t[]){'a', 256, -100, 'b'}, 4);
    CU_ASSERT_STRING_EQUAL(back, "a\xef\xbf\xbd\xef\xbf\xbd"
                                 "b");
    ts_free(back);
    int32_t two[2] = {0};
    CU_ASSERT_EQUAL(ts_tokenizer_encode(tokenizer, two, 1, "xyz", 3), 3); /* no more is written than fits */
    CU_ASSERT(two[0] == 'x' && two[1] == 0);
    ts_tokenizer_free(&tokenizer);
}

static void names_bad_files(void)
{
    TsSource *source;
    TEST_ERROR(ts_source_open_text(&source, test_world, "tests/data/missing.txt"),
               "tests/data/missing.txt: cannot be read: No such file");
    TEST_ERROR(ts_source_open_text(&source, test_world, "tests/data"), "tests/data: is a directory");
    TEST_ERROR(ts_source_open_text(&source, test_world, "/dev/null"), "/dev/null: is not a regular file");
    const char *path = write_text("empty", "");
    TEST_ERROR(ts_source_open_text(&source, test_world, path), "empty: is empty");
    remove_text(path);
}

static void names_bad_windows(void)
{
    const char *path = write_text("short", "0123456789");
    TsSource *source;
    TsTokenizer *tokenizer;
    TsWindows *windows;
    TEST_OK(ts_source_open_text(&source, test_world, path));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    TEST_ERROR(ts_windows_create(&windows, source, tokenizer, (TsWindowsOptions){.length_tokens = 10}),
               "has 10 tokens: a window of 10 and its label need 11");
    TEST_ERROR(ts_windows_create(&windows, source, tokenizer, (TsWindowsOptions){.length_tokens = 4, .begin = 0.9}),
               "the part from 0.9 to 1 has 1 tokens");
    TEST_ERROR(ts_windows_create(&windows, source, tokenizer, (TsWindowsOptions){.length_tokens = 0}), "at least 1");
    TEST_ERROR(ts_windows_create(&windows, source, tokenizer,
                                 (TsWindowsOptions){.length_tokens = 1, .begin = 0.5, .end = 0.2}),
               "begin < end");
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
    remove_text(path);
}

/* A file that is not the same on all ranks is an error on all of them. */
static void differs_between_ranks(void)
{
    if (ts_group_size(test_world) == 1)
        return;
    const char *path = write_text("own", "0123456789");
    TsSource *source;
    const char *mine = ts_group_rank(test_world) == 0 ? path : "tests/data/alice.txt";
    TEST_ERROR(ts_source_open_text(&source, test_world, mine), "but rank 0 sees 10: is it one file?");
    mine = ts_group_rank(test_world) == 0 ? path : "tests/data/missing.txt";
    TEST_ERROR(ts_source_open_text(&source, test_world, mine), "missing.txt: cannot be read");
    remove_text(path);
}

TEST_MAIN("windows", {"cuts a text into windows", cuts_windows}, {"long windows", long_windows},
          {"splits by fraction", splits}, {"bytes as tokens", tokenizes_bytes}, {"names bad files", names_bad_files},
          {"names bad windows", names_bad_windows}, {"files that differ between ranks", differs_between_ranks})
