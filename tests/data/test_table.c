/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables: HDF5 as h5py writes it, read as records; rows written as HDF5, TSV and JSON lines, and read again.
 */
#include "data/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/records.h"
#include "test.h"

static char directory[] = "/tmp/tessera-table.XXXXXX";
static const char golden[] = "tests/golden/table.h5";

/* All records as "a|b\n...", an error as "!MESSAGE\n"; owned by the caller. */
static char *read_all(const char *path, const char *const *columns, int count)
{
    TsRecords *records = NULL;
    TsText out = {0};
    ts_text_append(&out, "%s", "");
    TsStatus status = ts_records_open(&records, path, columns, count, (TsRecordsOptions){0});
    for (bool there = !status; there && !status;) {
        TsField fields[8] = {{0}};
        status = ts_records_next(records, fields, &there);
        for (int c = 0; c < count && there && !status; c++)
            ts_text_append(&out, "%.*s%s", (int)fields[c].bytes, fields[c].text, c + 1 < count ? "|" : "\n");
    }
    if (status)
        ts_text_append(&out, "!%s\n", ts_status_message(status));
    ts_status_free(&status);
    ts_records_close(&records);
    return out.data;
}

static void expect(const char *path, const char *const *columns, int count, const char *wanted)
{
    char *found = read_all(path, columns, count);
    if (strcmp(found, wanted) != 0)
        fprintf(stderr, "%s gives\n%s, expected\n%s", path, found, wanted);
    CU_ASSERT_STRING_EQUAL(found, wanted);
    ts_free(found);
}

static void reads_what_h5py_writes(void)
{
    static const char *const texts[] = {"text", "fixed"}, *const numbers[] = {"whole", "small", "flag"};
    static const char *const reals[] = {"real", "half"}, *const several[] = {"pair", "list", "group/deep"};
    expect(golden, texts, 2, "one|ab\nzw\xc3\xb6lf|abcd\n|\na\nb|x\n");
    expect(golden, numbers, 3, "1|1|1\n-2|2|0\n3|3|1\n9007199254740993|255|1\n");
    expect(golden, reals, 2, "0.10000000000000001|0.5\n-2.5|1\nnan|1.5\n1.0000000000000001e+300|-2\n");
    expect(golden, several, 3, "1;2|1.5|9\n3;4||8\n5;6|2;3;4|7\n7;8|0.25;-1|6\n");
}

static void says_what_is_wrong(void)
{
    static const char *const none[] = {"words"}, *const lengths[] = {"text", "short"}, *const cube[] = {"cube"};
    expect(golden, none, 1,
           "!tests/golden/table.h5: has no column \"words\"; it has cube, fixed, flag, group, half, list, pair, real, "
           "short, small, text, whole\n");
    expect(golden, lengths, 2, "!tests/golden/table.h5: the dataset short has 2 rows, others have 4\n");
    expect(
        golden, cube, 1,
        "!tests/golden/table.h5: the dataset cube: expected texts or numbers (rows), numbers (rows, width), or lists "
        "of numbers (rows)\n");
    char *path = ts_format("%s/not.h5", directory);
    TEST_OK(ts_file_write(path, "not HDF5", 8));
    char *found = read_all(path, none, 1);
    CU_ASSERT(strstr(found, "not.h5: cannot be opened as HDF5: ") != NULL);
    ts_free(found);
    ts_free(path);
}

/* A whole file cut at any byte is an error, never a crash, and never other values. */
static void bears_cut_files(void)
{
    static const char *const columns[] = {"text", "list"};
    char *bytes = NULL, *whole = read_all(golden, columns, 2), *path = ts_format("%s/cut.h5", directory);
    size_t size = 0;
    int refused = 0, tries = 0;
    TEST_OK(ts_file_read(&bytes, &size, golden, 1 << 20));
    for (size_t end = 1; end < size; end += 131, tries++) {
        TEST_OK(ts_file_write(path, bytes, end));
        char *found = read_all(path, columns, 2);
        CU_ASSERT(strchr(found, '!') != NULL || strcmp(found, whole) == 0);
        refused += strchr(found, '!') != NULL;
        ts_free(found);
    }
    CU_ASSERT(refused > tries / 2);
    ts_free(bytes);
    ts_free(whole);
    ts_free(path);
}

static TsTableRow row(const char *json)
{
    return (TsTableRow){json, strlen(json)};
}

static void writes_and_reads_again(void)
{
    const TsTableRow rows[] = {
        row("{\"n\":3,\"x\":0.5,\"s\":\"a\\tb\",\"v\":[1,2.5],\"p\":{\"yes\":0.25,\"no\":0.75},\"r\":[1]}\n"),
        row("{\"n\":4,\"x\":null,\"s\":\"\xc3\xa9\",\"v\":[3,null],\"p\":{\"yes\":1,\"no\":0},\"r\":[1,2]}\n")};
    static const char *const numbers[] = {"n", "x", "v", "p"}, *const texts[] = {"s", "r"}, *const two[] = {"n", "s"};
    char *path = ts_format("%s/t.h5", directory), *tsv = ts_format("%s/t.tsv", directory);
    char *lines = ts_format("%s/t.jsonl", directory);
    TEST_OK(ts_table_write(path, rows, 2));
    expect(path, numbers, 4, "3|0.5|1;2.5|0.25;0.75\n4|nan|3;nan|1;0\n");
    expect(path, texts, 2, "a\tb|[1]\n\xc3\xa9|[1,2]\n");
    TEST_OK(ts_table_write(tsv, rows, 2));
    expect(tsv, two, 2, "3|a b\n4|\xc3\xa9\n");
    TEST_OK(ts_table_write(lines, rows, 2));
    expect(lines, two, 2, "3|a\tb\n4|\xc3\xa9\n");
    TEST_OK(ts_table_write(path, rows, 0));
    TEST_OK(ts_table_write(tsv, rows, 0));
    TEST_ERROR(ts_table_write("/proc/none/t.h5", rows, 2), "/proc/none/t.h5");
    ts_free(path);
    ts_free(tsv);
    ts_free(lines);
}

static void begins(void)
{
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(directory));
}

static void ends(void)
{
    TEST_OK(ts_file_remove(directory));
}

TEST_MAIN("table", {"begins", begins}, {"reads what h5py writes", reads_what_h5py_writes},
          {"says what is wrong", says_what_is_wrong}, {"bears cut files", bears_cut_files},
          {"writes and reads again", writes_and_reads_again}, {"ends", ends})
