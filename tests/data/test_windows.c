/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources, tokenizers and windows, and what is said of input that cannot be.
 */
#include "data/text_tokens.h"
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

/* A part of a text and its windows. */
typedef struct Part {
    TsTextTokens *text;
    TsWindows *windows;
} Part;

/* Opens them; prepared data lie in `directory`. */
static TsStatus open_part(Part *part, const TsSource *source, const TsTokenizer *tokenizer, int64_t length,
                          double begin, double end)
{
    *part = (Part){0};
    TS_TRY(ts_text_tokens_open(&part->text, (TsTextSetting){.group = test_world,
                                                            .source = source,
                                                            .tokenizer = tokenizer,
                                                            .begin = begin,
                                                            .end = end,
                                                            .prepared_dir = directory}));
    return ts_windows_create(&part->windows, ts_text_tokens_stream(part->text),
                             (TsWindowsOptions){.length_tokens = length});
}

static void close_part(Part *part)
{
    ts_windows_free(&part->windows);
    ts_text_tokens_close(&part->text);
}

static void cuts_windows(void)
{
    const char *path = write_text("digits", "0123456789");
    TsSource *source;
    TsTokenizer *tokenizer;
    Part part;
    int32_t tokens[4], labels[4];
    TEST_OK(ts_source_open_text(&source, test_world, path));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    TEST_OK(open_part(&part, source, tokenizer, 4, 0, 0));
    TsWindows *windows = part.windows;
    CU_ASSERT_EQUAL(ts_windows_count(windows), 3); /* 0123 -> 1234, 4567 -> 5678, 8 -> 9 */
    ts_windows_read(windows, tokens, labels, 1, 0, 4);
    CU_ASSERT(tokens[0] == '4' && tokens[3] == '7' && labels[0] == '5' && labels[3] == '8');
    ts_windows_read(windows, tokens, labels, 2, 0, 4);
    CU_ASSERT(tokens[0] == '8' && tokens[1] == '9' && tokens[2] == 0 && tokens[3] == 0);
    CU_ASSERT(labels[0] == '9' && labels[1] == TS_LABEL_IGNORED && labels[3] == TS_LABEL_IGNORED);
    ts_windows_read(windows, tokens, labels, 2, 3, 1); /* wholly beyond the text */
    CU_ASSERT(tokens[0] == 0 && labels[0] == TS_LABEL_IGNORED);
    close_part(&part);

    TEST_OK(open_part(&part, source, tokenizer, 9, 0, 0));
    CU_ASSERT_EQUAL(ts_windows_count(part.windows), 1); /* the last label is the last byte */
    close_part(&part);
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
    Part part;
    int32_t *tokens = ts_calloc(2 * LENGTH, sizeof *tokens), *labels = tokens + LENGTH;
    char *text = ts_alloc(LENGTH + 1);
    TEST_OK(ts_source_open_text(&source, test_world, "tests/data/alice.txt"));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    TEST_OK(open_part(&part, source, tokenizer, LENGTH, 0.1, 0));
    ts_windows_read(part.windows, tokens, labels, 1, 0, LENGTH);
    ts_source_read(source, text, ts_source_bytes(source) - (size_t)ts_text_tokens_bytes(part.text) + LENGTH,
                   LENGTH + 1);
    bool same = true;
    for (int i = 0; i < LENGTH; i++)
        same = same && tokens[i] == (unsigned char)text[i] && labels[i] == (unsigned char)text[i + 1];
    CU_ASSERT_TRUE(same);
    ts_free(tokens);
    ts_free(text);
    close_part(&part);
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
}

/* The parts of a text share nothing and leave nothing out. */
static void splits(void)
{
    TsSource *source;
    TsTokenizer *tokenizer;
    Part train, validation;
    TEST_OK(ts_source_open_text(&source, test_world, "tests/data/alice.txt"));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    for (double cut = 0.05; cut < 1; cut += 0.1) {
        TEST_OK(open_part(&train, source, tokenizer, 128, 0, cut));
        TEST_OK(open_part(&validation, source, tokenizer, 128, cut, 1));
        int64_t bytes = ts_text_tokens_bytes(train.text), all = (int64_t)ts_source_bytes(source);
        CU_ASSERT_EQUAL(bytes + ts_text_tokens_bytes(validation.text), all);
        CU_ASSERT_DOUBLE_EQUAL((double)bytes / (double)all, cut, 1e-4);
        int32_t token, label;
        ts_windows_read(validation.windows, &token, &label, 0, 0, 1);
        char first;
        ts_source_read(source, &first, (size_t)bytes, 1);
        CU_ASSERT_EQUAL(token, first);
        close_part(&train);
        close_part(&validation);
    }
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
}

/* All tokens of a part, as its windows have them: those of the first, and all labels. */
static int32_t *tokens_of(const Part *part, int64_t *count)
{
    int64_t length = ts_windows_length(part->windows), windows = ts_windows_count(part->windows);
    int32_t *all = ts_alloc((size_t)(windows * length + 1) * sizeof *all),
            *row = ts_alloc((size_t)length * sizeof *row);
    for (int64_t w = 0; w < windows; w++) {
        ts_windows_read(part->windows, row, all + 1 + w * length, w, 0, length);
        if (w == 0)
            all[0] = row[0];
    }
    *count = ts_text_tokens_stream(part->text).tokens;
    ts_free(row);
    return all;
}

static TsTokenizer *pretrained(const char *path)
{
    TsTokenizer *tokenizer;
    struct {
        const char *path;
    } keys = {path};
    for (int64_t i = 0; i < ts_tokenizers.count; i++)
        if (strcmp(ts_tokenizers.items[i].name, "pretrained") == 0)
            TEST_OK(ts_tokenizer_make(&tokenizer, (TsChoice){&ts_tokenizers.items[i], &keys}));
    return tokenizer;
}

/* Tokens of more than a byte: the parts' tokens are those of their bytes, on any number of ranks, and are prepared once
 * for a tokenizer. */
static void tokens_of_a_text(void)
{
    static const char *const paths[] = {"tests/golden/tokenizers/gpt2", "tests/golden/tokenizers/bert-uncased"};
    const char *shown = write_text("kept", "the directory is made");
    TsSource *source;
    TEST_OK(ts_source_open_text(&source, test_world, "tests/data/alice.txt"));
    size_t bytes = ts_source_bytes(source), cut = (size_t)(0.7 * (double)bytes);
    char *text = ts_alloc(bytes);
    ts_source_read(source, text, 0, bytes);
    for (int t = 0; t < 2; t++) {
        TsTokenizer *tokenizer = pretrained(paths[t]);
        Part part[2], again;
        for (int p = 0; p < 2; p++) {
            int64_t expected, found;
            TEST_OK(open_part(&part[p], source, tokenizer, 33, p ? 0.7 : 0, p ? 1 : 0.7));
            int32_t *tokens =
                ts_tokenizer_encode_all(tokenizer, &expected, text + (p ? cut : 0), p ? bytes - cut : cut);
            int32_t *read = tokens_of(&part[p], &found);
            CU_ASSERT_EQUAL(found, expected);
            CU_ASSERT(found == expected && memcmp(tokens, read, (size_t)found * sizeof *read) == 0);
            CU_ASSERT(expected < (int64_t)(p ? bytes - cut : cut)); /* it is not bytes */
            ts_free(tokens);
            ts_free(read);
        }
        TEST_OK(open_part(&again, source, tokenizer, 33, 0, 0.7)); /* prepared already: the same files */
        CU_ASSERT_EQUAL(ts_text_tokens_stream(again.text).tokens, ts_text_tokens_stream(part[0].text).tokens);
        close_part(&again);
        close_part(&part[0]);
        close_part(&part[1]);
        ts_tokenizer_free(&tokenizer);
    }
    ts_free(text);
    ts_source_free(&source);
    ts_barrier(test_world, "test: read");
    if (ts_group_rank(test_world) == 0) {
        int count = 0;
        char *listing = ts_format("ls -d %s/text_* | wc -l", directory),
             *remove = ts_format("rm -r %s/text_*", directory);
        FILE *pipe = popen(listing, "r");
        CU_ASSERT(pipe && fscanf(pipe, "%d", &count) == 1);
        if (pipe)
            pclose(pipe);
        CU_ASSERT_EQUAL(count, 4); /* two parts, with each tokenizer */
        CU_ASSERT_EQUAL(system(remove), 0);
        ts_free(listing);
        ts_free(remove);
    }
    remove_text(shown);
}

/* A text of several sections, which ranks share: characters, each a token, stand where they stood. */
static void sections_of_a_text(void)
{
    enum { BYTES = (5 << 20) / 2, LINE = 61 };
    char *text = ts_alloc(BYTES + 1);
    for (int i = 0; i < BYTES; i++) /* the last MiB is one line */
        text[i] = i % LINE == LINE - 1 && i < BYTES / 2 ? '\n' : (char)('a' + (i / LINE * 7 + i) % 26);
    text[BYTES] = 0;
    const char *path = write_text("long", text);
    TsSource *source;
    TsTokenizer *tokenizer;
    Part part;
    TEST_OK(ts_source_open_text(&source, test_world, path));
    TEST_OK(ts_tokenizer_create(&tokenizer, "characters"));
    TEST_OK(open_part(&part, source, tokenizer, 4096, 0, 1));
    int64_t found;
    int32_t *tokens = tokens_of(&part, &found);
    CU_ASSERT_EQUAL(found, BYTES);
    bool same = found == BYTES;
    for (int i = 0; i < BYTES && same; i++)
        same = tokens[i] == (text[i] == '\n' ? 0 : text[i] - ' ' + 2); /* line feed, tab, blank, ... */
    CU_ASSERT_TRUE(same);
    ts_free(tokens);
    ts_free(text);
    close_part(&part);
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
    ts_barrier(test_world, "test: read");
    if (ts_group_rank(test_world) == 0) {
        char *remove = ts_format("rm -r %s/text_*", directory);
        CU_ASSERT_EQUAL(system(remove), 0);
        ts_free(remove);
    }
    remove_text(path);
}

/* Three documents, abc, de and f, the first with a prompt of two. */
static void read_documents(const void *self, TsStreamPiece piece, int64_t first, int64_t count)
{
    (void)self;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = first + i;
        piece.tokens[i] = (int32_t)('a' + at);
        piece.given[i] = at < 2;
        piece.documents[i] = at < 3 ? 0 : at < 5 ? 1 : 2;
    }
}

static double document_bytes(const void *self, int64_t first, int64_t count)
{
    (void)self;
    return (double)(100 * first + count);
}

static void packs_documents(void)
{
    TsTokenStream stream = {.tokens = 6, .name = "three", .read = read_documents, .bytes = document_bytes};
    enum { T = 4, IGNORED = TS_LABEL_IGNORED };
    static const int32_t joined[2][T] = {{IGNORED, 'c', 'd', 'e'}, {'f', IGNORED, IGNORED, IGNORED}};
    static const int32_t apart[2][T] = {{IGNORED, 'c', IGNORED, 'e'}, {IGNORED, IGNORED, IGNORED, IGNORED}};
    static const int32_t segments[2][T] = {{0, 0, 0, 1}, {1, 2, -1, -1}};
    static const int32_t positions[2][T] = {{0, 1, 2, 0}, {0, 0, 0, 1}};
    for (int a = 0; a < 2; a++) {
        TsWindows *windows;
        TEST_OK(
            ts_windows_create(&windows, stream, (TsWindowsOptions){.length_tokens = T, .apart = a, .may_be_short = 1}));
        TsRows rows = ts_windows_rows(windows);
        CU_ASSERT_EQUAL(rows.count, 2);
        CU_ASSERT_EQUAL(rows.column_count, a ? 6 : 4);
        for (int w = 0; w < 3; w++) {
            int32_t cells[4][T];
            float weight, bytes;
            rows.fill(rows.self, (void *[]){cells[0], cells[1], &weight, &bytes, cells[2], cells[3]}, T, w < 2 ? w : -1,
                      0);
            CU_ASSERT_EQUAL(weight, w < 2);
            CU_ASSERT_EQUAL(bytes, w == 0 ? 104 : w == 1 ? 501 : 0);
            for (int i = 0; i < T; i++) {
                CU_ASSERT_EQUAL(cells[0][i], w < 2 && T * w + i < 6 ? 'a' + T * w + i : 0);
                CU_ASSERT_EQUAL(cells[1][i], w == 2 ? IGNORED : a ? apart[w][i] : joined[w][i]);
                CU_ASSERT(!a || w == 2 || (cells[2][i] == segments[w][i] && cells[3][i] == positions[w][i]));
            }
        }
        ts_windows_free(&windows);
    }
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
    Part part;
    TEST_OK(ts_source_open_text(&source, test_world, path));
    TEST_OK(ts_tokenizer_create(&tokenizer, "bytes"));
    TEST_ERROR(open_part(&part, source, tokenizer, 10, 0, 0), "has 10 tokens: a window of 10 and its label need 11");
    close_part(&part);
    TEST_ERROR(open_part(&part, source, tokenizer, 4, 0.9, 0), "the part from 0.9 to 1 has 1 tokens");
    close_part(&part);
    TEST_ERROR(open_part(&part, source, tokenizer, 0, 0, 0), "at least 1");
    close_part(&part);
    TEST_ERROR(open_part(&part, source, tokenizer, 1, 0.5, 0.2), "begin < end");
    TEST_ERROR(open_part(&part, source, tokenizer, 1, 0, 0.05), "the part from 0 to 0.05 has no byte");
    ts_tokenizer_free(&tokenizer);
    ts_source_free(&source);
    remove_text(path);
}

/* Other bytes than UTF-8, where characters are wanted: the line is named, on whatever rank it was met. */
static void names_bad_text(void)
{
    const char *path = write_text("broken", "good\nalso good\nbad \xff here\ngood again\n");
    TsSource *source;
    TsTokenizer *tokenizer;
    Part part;
    TEST_OK(ts_source_open_text(&source, test_world, path));
    TEST_OK(ts_tokenizer_create(&tokenizer, "characters"));
    TEST_ERROR(open_part(&part, source, tokenizer, 4, 0, 0), "broken:3: expected UTF-8");
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
          {"splits by fraction", splits}, {"tokens of a text", tokens_of_a_text},
          {"sections of a text", sections_of_a_text}, {"packs documents", packs_documents},
          {"names bad text", names_bad_text}, {"bytes as tokens", tokenizes_bytes},
          {"names bad files", names_bad_files}, {"names bad windows", names_bad_windows},
          {"files that differ between ranks", differs_between_ranks})
