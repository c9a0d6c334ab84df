/* SPDX-License-Identifier: Apache-2.0
 *
 * A source of data: files *.pairs, or `format: pairs`, of two lines an example: its text, and its label.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/tessera.h>

static const char *const names[] = {"text", "label"};

typedef struct Pairs {
    FILE *file;
    char *path, *lines[2];
    size_t rooms[2];
    int place[64]; /* which of the lines each column is */
    int columns;
    int64_t line;
} Pairs;

static void close_pairs(void *self)
{
    Pairs *pairs = self;
    if (pairs->file)
        fclose(pairs->file);
    free(pairs->lines[0]);
    free(pairs->lines[1]);
    free(pairs->path);
    free(pairs);
}

static TsStatus open_pairs(void **self, const char *path, const char *const *columns, int column_count)
{
    Pairs *pairs = calloc(1, sizeof *pairs);
    if (!pairs || column_count > 64)
        return free(pairs), ts_status_error(TS_CODE_RESOURCES, "%s: no memory for %d columns", path, column_count);
    *self = pairs;
    pairs->path = strdup(path);
    pairs->columns = column_count;
    for (int c = 0; c < column_count; c++) {
        pairs->place[c] = strcmp(columns[c], names[0]) == 0 ? 0 : strcmp(columns[c], names[1]) == 0 ? 1 : -1;
        if (pairs->place[c] < 0)
            return ts_status_error(TS_CODE_INVALID, "%s: has no column \"%s\"; it has text, label", path, columns[c]);
    }
    pairs->file = fopen(path, "r");
    return pairs->file ? TS_OK : ts_status_error(TS_CODE_NOT_FOUND, "%s: cannot be opened", path);
}

/* Reads a line without its end; -1: there is none. */
static ssize_t read_line(Pairs *pairs, int which)
{
    ssize_t bytes = getline(&pairs->lines[which], &pairs->rooms[which], pairs->file);
    if (bytes > 0 && pairs->lines[which][bytes - 1] == '\n')
        pairs->lines[which][--bytes] = '\0';
    pairs->line += bytes >= 0;
    return bytes;
}

static TsStatus next_pair(void *self, TsField *fields, int64_t *line, bool *there)
{
    Pairs *pairs = self;
    ssize_t bytes[2];
    *line = pairs->line + 1;
    bytes[0] = read_line(pairs, 0);
    *there = bytes[0] >= 0;
    if (!*there)
        return TS_OK;
    bytes[1] = read_line(pairs, 1);
    if (bytes[1] < 0)
        return ts_status_error(TS_CODE_INVALID, "%s:%lld: a text without a label", pairs->path, (long long)*line);
    for (int c = 0; c < pairs->columns; c++)
        fields[c] = (TsField){pairs->lines[pairs->place[c]], (size_t)bytes[pairs->place[c]]};
    return TS_OK;
}

TS_PLUGIN
{
    static const TsRecordSource source = {
        .name = "pairs", .ending = ".pairs", .open = open_pairs, .next = next_pair, .close = close_pairs};
    return ts_record_source_add(&source);
}
