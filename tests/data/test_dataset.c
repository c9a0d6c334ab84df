/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Datasets: the same examples however many ranks prepare them; parts that share no example and leave none out; what is
 * prepared is used again until its files change; rows that cannot be read.
 */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "data/split.h"
#include "test.h"

enum { ROWS = 20000 };

static char directory[64];

static char *path_of(const char *name)
{
    return ts_format("%s/%s", directory, name);
}

/* Rank 0 writes; nobody goes on before. */
static void put(const char *name, const char *text, size_t bytes)
{
    char *path = path_of(name);
    TsStatus status = ts_group_rank(test_world) == 0 ? ts_file_write(path, text, bytes) : TS_OK;
    TEST_OK(ts_comm_agree(test_world, status));
    ts_free(path);
}

static char *row_text(int64_t i)
{
    return ts_format("row %lld\xc3\xa9%.*s", (long long)i, (int)(i % 7), "zzzzzzz");
}

/* ROWS rows, with line feeds inside quotes here and there. */
static void put_table(const char *name, int64_t rows)
{
    TsText text = {0};
    ts_text_append(&text, "number,text,split\n");
    for (int64_t i = 0; i < rows; i++) {
        char *cell = row_text(i);
        ts_text_append(&text, i % 5 ? "%lld.5,%s,%s\n" : "%lld.5,\"%s\n\"\"\",%s\n", (long long)i, cell,
                       i % 10 == 3   ? "valid"
                       : i % 10 == 7 ? "test"
                       : i % 10 == 8 ? "none"
                                     : "train");
        ts_free(cell);
    }
    put(name, text.data, text.size_bytes);
    ts_text_free(&text);
}

typedef struct Opened {
    TsConfig *config;
    TsTokenizer *tokenizer;
    TsDataset *dataset;
} Opened;

/* Opens what `yaml` says, %s in it being the test's directory. */
static TsStatus open_data(Opened *opened, const char *yaml)
{
    static const TsColumnSpec specs[] = {{.role = "text", .kind = TS_CELL_TOKENS},
                                         {.role = "number", .kind = TS_CELL_NUMBERS}};
    TsText whole = {0};
    for (const char *at = yaml; *at; at++)
        if (*at == '%')
            ts_text_append(&whole, "%s", directory);
        else
            ts_text_append_bytes(&whole, at, 1);
    TsConfigText text = {"data.yaml", whole.data, whole.size_bytes};
    *opened = (Opened){0};
    TsStatus status =
        ts_config_load(&opened->config, &ts_data_table, (TsConfigSources){.texts = &text, .text_count = 1});
    ts_text_free(&whole);
    if (status)
        return status;
    const TsDataConfig *config = ts_config_value(opened->config);
    TS_TRY(ts_tokenizer_make(&opened->tokenizer, config->tokenizer));
    char *prepared = path_of("prepared");
    status = ts_dataset_open(&opened->dataset, (TsDatasetSetting){.group = test_world,
                                                                  .config = config,
                                                                  .tokenizer = opened->tokenizer,
                                                                  .specs = specs,
                                                                  .spec_count = 2,
                                                                  .prepared_dir = prepared});
    ts_free(prepared);
    return status;
}

static void close_data(Opened *opened)
{
    ts_dataset_close(&opened->dataset);
    ts_tokenizer_free(&opened->tokenizer);
    ts_config_free(&opened->config);
}

static void expect_rows(const Opened *opened)
{
    bool same = true;
    int text = ts_dataset_column(opened->dataset, "text"), number = ts_dataset_column(opened->dataset, "number");
    for (int64_t i = 0; i < ts_dataset_count(opened->dataset); i++) {
        char *row = row_text(i), *whole = i % 5 ? ts_strdup(row) : ts_format("%s\n\"", row);
        int32_t tokens[64];
        int64_t count = ts_dataset_tokens(opened->dataset, text, i, tokens, 64), numbers;
        const double *value = ts_dataset_numbers(opened->dataset, number, i, &numbers);
        size_t bytes;
        char *found = ts_tokenizer_decode(opened->tokenizer, &bytes, tokens, count);
        same = same && strcmp(found, whole) == 0 && numbers == 1 && value[0] == (double)i + 0.5 &&
               ts_dataset_text_bytes(opened->dataset, text, i) == (int64_t)strlen(whole);
        ts_free(found);
        ts_free(row);
        ts_free(whole);
    }
    CU_ASSERT_TRUE(same);
}

static void prepares_alike(void)
{
    Opened opened;
    put_table("t.csv", ROWS);
    TEST_OK(open_data(&opened, "{files: [%/t.csv]}"));
    if (opened.dataset) {
        CU_ASSERT_EQUAL(ts_dataset_count(opened.dataset), ROWS);
        expect_rows(&opened);
        TEST_ERROR(ts_dataset_error(opened.dataset, 1, "wrong"), "t.csv:4: wrong"); /* row 0 has two lines */
        TEST_ERROR(ts_dataset_error(opened.dataset, ROWS - 1, "wrong"), "t.csv:24001: wrong");
    }
    close_data(&opened);
    put_table("t.csv", 100); /* the same name, other rows */
    TEST_OK(open_data(&opened, "{files: [%/t.csv]}"));
    CU_ASSERT(opened.dataset && ts_dataset_count(opened.dataset) == 100);
    close_data(&opened);
}

/* Every example belongs to as many parts as `parts` says, never to two. */
static void expect_parts(const char *yaml, int64_t train, int64_t validation, int64_t test)
{
    Opened opened;
    const int64_t expected[] = {train, validation, test};
    int seen[1000] = {0};
    TEST_OK(open_data(&opened, yaml));
    for (int part = 0; part < TS_PARTS && opened.dataset; part++) {
        TsSplit split;
        TEST_OK(ts_split_open(&split, opened.dataset, ts_config_value(opened.config), (TsPart)part));
        CU_ASSERT_EQUAL(split.count, expected[part]);
        for (int64_t i = 0; i < split.count; i++)
            seen[ts_split_example(&split, i)]++;
        ts_split_close(&split);
    }
    int64_t all = 0, twice = 0;
    for (int i = 0; i < 1000; i++) {
        all += seen[i] > 0;
        twice += seen[i] > 1;
    }
    CU_ASSERT_EQUAL(all, train + validation + test);
    CU_ASSERT_EQUAL(twice, 0);
    close_data(&opened);
}

static void parts_share_nothing(void)
{
    put_table("s.csv", 100);
    put_table("v.csv", 30);
    expect_parts("{files: [%/s.csv], split: {type: fraction, validation: 0.25, test: 0.1}}", 65, 25, 10);
    expect_parts("{files: [%/s.csv], split: {type: k_fold, folds: 3, fold: 0}}", 67, 33, 0);
    expect_parts("{files: [%/s.csv], split: {type: k_fold, folds: 3, fold: 2}}", 66, 34, 0);
    expect_parts("{files: [%/s.csv], split: {type: column, validation: [valid]}}", 70, 10, 10);
    put("h.csv", "number,text,set,held\n1,a,train,\n2,b,train,True\n3,c,test,True\n4,d,train,False\n5,e,other,\n", 88);
    expect_parts(
        "{files: [%/h.csv], split: {type: column, column: set, validation: ['True'], validation_column: held}}", 2, 1,
        1);
    expect_parts("{files: [%/s.csv], split: {type: files, validation: [%/v.csv]}}", 100, 30, 0);
}

static void folds_cover(void)
{
    int seen[100] = {0};
    for (int fold = 0; fold < 7; fold++) {
        Opened opened;
        TsSplit split;
        char *yaml = ts_format("{files: [%%/s.csv], split: {type: k_fold, folds: 7, fold: %d}}", fold);
        TEST_OK(open_data(&opened, yaml));
        TEST_OK(ts_split_open(&split, opened.dataset, ts_config_value(opened.config), TS_PART_VALIDATION));
        for (int64_t i = 0; i < split.count; i++)
            seen[ts_split_example(&split, i)]++;
        ts_split_close(&split);
        close_data(&opened);
        ts_free(yaml);
    }
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(seen[i], 1);
}

static void bears_bad_rows(void)
{
    static const char text[] = "number,text\n1,one\nx,two\n3,\"three\n4,\"\n5,\n6\n7,seven\nnan,eight\n";
    Opened opened;
    put("bad.csv", text, sizeof text - 1);
    TEST_ERROR(open_data(&opened, "{files: [%/bad.csv]}"),
               "bad.csv:3: column number: expected a finite number, found \"x\"");
    close_data(&opened);
    TEST_OK(open_data(&opened, "{files: [%/bad.csv], bad_rows: skip}"));
    if (opened.dataset) {
        CU_ASSERT_EQUAL(ts_dataset_count(opened.dataset), 3); /* 1, 3 and 7 */
        CU_ASSERT_EQUAL(ts_dataset_skipped(opened.dataset), 4);
    }
    close_data(&opened);
    TEST_ERROR(open_data(&opened, "{files: [%/bad.csv], columns: {text: words}}"),
               "has no column \"words\"; it has number, text");
    close_data(&opened);
    TEST_ERROR(open_data(&opened, "{files: [%/none.csv]}"), "none.csv: cannot be read");
    close_data(&opened);
    put("header.csv", "number,text\n", 12);
    TEST_ERROR(open_data(&opened, "{files: [%/header.csv]}"), "has no example");
    close_data(&opened);
    put("one.csv", "number,text\n1,a\n", 16);
    TEST_OK(open_data(&opened, "{files: [%/one.csv]}"));
    if (opened.dataset) {
        TsSplit split;
        TEST_OK(ts_split_open(&split, opened.dataset, ts_config_value(opened.config), TS_PART_TRAIN));
        CU_ASSERT_EQUAL(split.count, 1);
        ts_split_close(&split);
    }
    close_data(&opened);
}

static void begins(void)
{
    int64_t mine = ts_group_rank(test_world) == 0 ? (int64_t)(uintptr_t)&mine ^ rand() : 0, name = 0;
    char made[] = "/tmp/tessera-dataset.XXXXXX";
    if (ts_group_rank(test_world) == 0 && mkdtemp(made))
        memcpy(&mine, made + sizeof made - 7, 6);
    mine &= 0xffffffffffff;
    ts_broadcast(test_world,
                 (TsTransfer){.out = &name, .in = &mine, .count_elems = 1, .dtype = TS_I64, .label = "test: name"}, 0);
    memcpy(made + sizeof made - 7, &name, 6);
    snprintf(directory, sizeof directory, "%s", made);
}

static void ends(void)
{
    ts_barrier(test_world, "test: end");
    if (ts_group_rank(test_world) == 0)
        TEST_OK(ts_file_remove(directory));
}

TEST_MAIN("dataset", {"begins", begins}, {"prepares alike on any ranks", prepares_alike},
          {"parts share nothing", parts_share_nothing}, {"folds cover", folds_cover},
          {"bears bad rows", bears_bad_rows}, {"ends", ends})
