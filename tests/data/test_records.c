/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers of records: what each format means, what is wrong said with file and line, ranges of bytes that share no
 * record and leave none out.
 */
#include "data/records.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "test.h"

static char directory[] = "/tmp/tessera-records.XXXXXX";

/* Writes a file of the test's directory; the path is good until the next call. */
static const char *put(const char *name, const char *text, size_t bytes)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    TEST_OK(ts_file_write(path, text, bytes));
    return path;
}

static const char *put_text(const char *name, const char *text)
{
    return put(name, text, strlen(text));
}

/* All records as "a|b\n...", an error as "!MESSAGE\n". */
static char *read_all(const char *path, const char *const *columns, int count, TsRecordsOptions options)
{
    TsRecords *records = NULL;
    TsText out = {0};
    ts_text_append(&out, "%s", "");
    TsStatus status = ts_records_open(&records, path, columns, count, options);
    for (bool there = !status; there;) {
        TsField fields[8] = {{0}};
        status = ts_records_next(records, fields, &there);
        if (status)
            ts_text_append(&out, "!%s\n", strrchr(ts_status_message(status), '/') + 1);
        else if (there)
            for (int c = 0; c < count; c++) {
                ts_text_append_bytes(&out, fields[c].text ? fields[c].text : "NULL",
                                     fields[c].text ? fields[c].bytes : 4);
                ts_text_append(&out, "%s", c + 1 < count ? "|" : "\n");
            }
        ts_status_free(&status);
    }
    if (status)
        ts_text_append(&out, "!!%s\n", ts_status_message(status));
    ts_status_free(&status);
    ts_records_close(&records);
    return out.data;
}

static void expect(const char *path, const char *const *columns, int count, TsRecordsOptions options,
                   const char *wanted)
{
    char *found = read_all(path, columns, count, options);
    if (strcmp(found, wanted) != 0)
        fprintf(stderr, "%s gives\n%s, expected\n%s", path, found, wanted);
    CU_ASSERT_STRING_EQUAL(found, wanted);
    ts_free(found);
}

static const char *const two[] = {"b", "a"};
static const TsRecordsOptions plain;

static void reads_tables(void)
{
    expect(put_text("t.tsv", "a\tb\tc\n1\t2\t3\r\n\nx y\t\"q\"\t\n"), two, 2, plain, "2|1\n\"q\"|x y\n");
    expect(put_text("t.csv", "a,b\n1,2\n\"x,\"\"y\"\"\nz\",\"\"\n5,6"), two, 2, plain, "2|1\n|x,\"y\"\nz\n6|5\n");
    expect(put_text("t.csv", "\xef\xbb\xbf"
                             "a,b\r\n1,\"2\"\r\n"),
           two, 2, plain, "2|1\n");
    static const char *const text[] = {"text"};
    expect(put_text("t.txt", "one\n two \n\nthree"), text, 1, plain, "one\n two \n\nthree\n");
    TsRecordsOptions named = {.header = two, .header_count = 2};
    expect(put_text("t.tsv", "1\t2\n"), two, 2, named, "1|2\n");
}

static void reads_json_and_fasta(void)
{
    expect(put_text("t.jsonl", "{\"a\": \"x\\n\\u00e9\", \"b\": 1.5}\n\n{\"b\": [\"p\", 2, true], \"a\": null}\n"), two,
           2, plain, "1.5|x\n\xc3\xa9\np;2;true|NULL\n");
    static const char *const fasta[] = {"id", "text", "description", "labels"};
    char labels[200];
    snprintf(labels, sizeof labels, "%s", put_text("l.fasta", ">q\nHH\n>p more\nCE\nC\n"));
    TsRecordsOptions with = {.labels = labels};
    expect(put_text("t.fasta", ">p x y\nMK\nV\n\n>q\nAA\n"), fasta, 4, with, "p|MKV|x y|CEC\nq|AA||HH\n");
    expect(put_text("t.fasta", ">z\nMK\n>q\nAA\n"), fasta, 4, with, "!l.fasta\nq|AA||HH\n");
}

/* As FLIP's files are: words of descriptions, labels, and what of them counts. */
static void reads_flip(void)
{
    static const char *const words[] = {"SET", "text", "labels", "VALIDATION"};
    char labels[200], mask[200];
    snprintf(labels, sizeof labels, "%s",
             put_text("l.fasta", ">q SET=test VALIDATION=False\nHH\n>p SET=train VALIDATION=True\nCEC\n"));
    snprintf(mask, sizeof mask, "%s", put_text("m.fasta", ">p\n101\n>q\n00\n"));
    TsRecordsOptions with = {.labels = labels}, masked = {.labels = labels, .mask = mask};
    expect(put_text("t.fasta", ">p\nMKV\n>q SET=own\nAA\n"), words, 4, with, "train|MKV|CEC|True\nown|AA|HH|False\n");
    expect(put_text("t.fasta", ">p\nMKV\n>q SET=own\nAA\n"), words, 4, masked, "train|MKV|C-C|True\nown|AA|--|False\n");
    expect(put_text("t.fasta", ">p\nMKV\n"), (const char *const[]){"TARGET"}, 1, with,
           "!t.fasta:1: p has no column \"TARGET\": FASTA has id, description, text, labels, and what stands behind "
           "NAME= in a description\n");
    put_text("m.fasta", ">p\n10\n");
    expect(put_text("t.fasta", ">p\nMKV\n"), words, 4, masked, "!m.fasta, found 2\n");
}

static void says_what_is_wrong(void)
{
    expect(put_text("t.tsv", "a\tb\n1\n1\t2\n1\t2\t3\n"), two, 2, plain,
           "!t.tsv:2: 1 field, but the header has 2\n2|1\n!t.tsv:4: 3 fields, but the header has 2\n");
    expect(put_text("t.csv", "a,b\n1,x\"y\n\"p\"q,2\n3,4\n5,\"6\n"), two, 2, plain,
           "!t.csv:2: field 2: a quote inside a field that does not begin with one\n"
           "!t.csv:3: field 1: a comma or the end of the line is expected behind quotes\n4|3\n"
           "!t.csv:5: the file ends inside quotes\n");
    expect(put_text("t.jsonl", "{\"a\": 1}\n[1]\n{\"a\": {}, \"b\": 1}\nno\n"), two, 2, plain,
           "!t.jsonl:1: has no \"b\"\n"
           "!t.jsonl:2: is not a JSON object: expected {\"column\": value, ...}\n"
           "!t.jsonl:3: \"a\" is an object: expected a text, a number or a list of them\n"
           "!t.jsonl:4: is not JSON: '[' or '{' expected near 'no' at byte 2\n");
    expect(put("t.tsv", "a\tb\n\xff\t1\n", 8), two, 2, plain,
           "!t.tsv:2: column a is not UTF-8 (encoding: any takes it as it is)\n");
    expect(put("t.tsv", "a\tb\n\xff\t1\n", 8), two, 2, (TsRecordsOptions){.takes_any_bytes = true}, "1|\xff\n");
    TsRecords *records = NULL;
    TEST_ERROR(ts_records_open(&records, put_text("t.tsv", "a\tc\n1\t2\n"), two, 2, plain),
               "has no column \"b\"; it has a, c");
    TEST_ERROR(ts_records_open(&records, put_text("t.tsv", ""), two, 2, plain), "is empty");
    TEST_ERROR(ts_records_open(&records, put_text("t.data", "x"), two, 2, plain), "give the format");
    TEST_ERROR(ts_records_open(&records, directory, two, 2, (TsRecordsOptions){.format = TS_FORMAT_TSV}),
               "is a directory");
    TEST_ERROR(ts_records_open(&records, "/nowhere.tsv", two, 2, plain), "cannot be read");
    static const char *const fasta[] = {"text"};
    expect(put_text("t.fasta", "MKV\n>p\nAA\n"), fasta, 1, plain,
           "!t.fasta:1: expected a line that begins with >\nAA\n");
}

static void reads_gzip(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/t.csv.gz", directory);
    gzFile file = gzopen(path, "wb");
    gzprintf(file, "a,b\n1,2\n");
    gzclose(file);
    expect(path, two, 2, plain, "2|1\n");
    char *bytes = NULL;
    size_t size = 0;
    TEST_OK(ts_file_read(&bytes, &size, path, 1000));
    TsRecords *records = NULL;
    TsStatus status = ts_records_open(&records, put("cut.csv.gz", bytes, size - 12), two, 2, plain);
    bool there = true;
    TsField fields[2];
    while (!status && there)
        status = ts_records_next(records, fields, &there);
    TEST_ERROR(status, "cannot be read beyond");
    ts_records_close(&records);
    ts_free(bytes);
}

/* However a file is cut, the ranges give its records once, in order. */
static void ranges_share_nothing(void)
{
    static const struct {
        const char *name, *text;
    } files[] = {{"t.tsv", "a\tb\n1\t2\n3\t4\n\n5\t6"},
                 {"t.csv", "a,b\n\"1\n,\"\"x\",2\n3,\"4\n\n\"\n\"5\",6\n"},
                 {"t.jsonl", "{\"a\": 1, \"b\": 2}\n{\"a\": 3, \"b\": 4}\n"}};
    for (int f = 0; f < 3; f++) {
        const char *path = put_text(files[f].name, files[f].text);
        char *whole = read_all(path, two, 2, plain);
        for (size_t at = 1; at < strlen(files[f].text); at++) {
            int64_t quotes = 0, lines = 0;
            for (size_t i = 0; i < at; i++) {
                quotes += files[f].text[i] == '"';
                lines += files[f].text[i] == '\n';
            }
            bool inside = f == 1 && quotes % 2;
            char *first = read_all(path, two, 2, (TsRecordsOptions){.end_byte = (int64_t)at});
            char *second = read_all(
                path, two, 2,
                (TsRecordsOptions){.first_byte = (int64_t)at, .first_line = 1 + lines, .starts_inside_quote = inside});
            char *both = ts_format("%s%s", first, second);
            if (strcmp(both, whole) != 0)
                fprintf(stderr, "%s cut at %zu gives\n%s--\n%s", path, at, first, second);
            CU_ASSERT_STRING_EQUAL(both, whole);
            ts_free(first);
            ts_free(second);
            ts_free(both);
        }
        ts_free(whole);
    }
}

static void reads_long_lines(void)
{
    enum { BYTES = 10 << 20 };
    char *text = ts_alloc(BYTES + 8);
    memcpy(text, "a\tb\n1\t", 6);
    memset(text + 6, 'x', BYTES);
    text[BYTES + 6] = '\n';
    TsRecords *records = NULL;
    bool there = false;
    TsField fields[2] = {{0}};
    TEST_OK(ts_records_open(&records, put("t.tsv", text, BYTES + 7), two, 2, plain));
    TEST_OK(ts_records_next(records, fields, &there));
    CU_ASSERT(there && fields[0].bytes == BYTES && fields[0].text[BYTES - 1] == 'x');
    ts_records_close(&records);
    ts_free(text);
}

static void ends(void)
{
    TEST_OK(ts_file_remove(directory));
}

int main(void)
{
    const CU_TestInfo cases[] = {{"reads tables", reads_tables},
                                 {"reads JSON lines and FASTA", reads_json_and_fasta},
                                 {"reads FLIP's FASTA", reads_flip},
                                 {"says what is wrong", says_what_is_wrong},
                                 {"reads gzip", reads_gzip},
                                 {"ranges share nothing", ranges_share_nothing},
                                 {"reads long lines", reads_long_lines},
                                 {"removes its files", ends},
                                 CU_TEST_INFO_NULL};
    if (!mkdtemp(directory))
        return 1;
    return test_run("records", cases);
}
