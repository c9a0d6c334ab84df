/* SPDX-License-Identifier: Apache-2.0 */
#include "data/table.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), wanted = strlen(ending);
    return length >= wanted && strcmp(text + length - wanted, ending) == 0;
}

static TsStatus write_lines(const char *path, const TsTableRow *rows, int64_t count)
{
    TsText text = {0};
    TsStatus status = TS_OK;
    for (int64_t i = 0; i < count; i++)
        ts_text_append_bytes(&text, rows[i].json, rows[i].bytes);
    if (path)
        status = ts_file_write(path, text.data ? text.data : "", text.size_bytes);
    else if (fwrite(text.data ? text.data : "", 1, text.size_bytes, stdout) != text.size_bytes || fflush(stdout))
        status = ts_status_error(TS_CODE_IO, "the rows could not be printed");
    ts_text_free(&text);
    return status;
}

static void append_cell(TsText *line, const json_t *value)
{
    if (json_is_string(value)) {
        size_t begin = line->size_bytes;
        ts_text_append_bytes(line, json_string_value(value), json_string_length(value));
        for (size_t i = begin; i < line->size_bytes; i++)
            if (line->data[i] == '\t' || line->data[i] == '\n' || line->data[i] == '\r')
                line->data[i] = ' ';
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    ts_text_append(line, "%s", text ? text : "");
    free(text); /* jansson's */
}

static TsStatus write_tsv(const char *path, json_t *const *rows, int64_t count)
{
    TsText text = {0};
    const char *name;
    json_t *value;
    for (int64_t i = -1; i < count && count > 0; i++) { /* the first line has the names */
        size_t begin = text.size_bytes;
        json_object_foreach(rows[i < 0 ? 0 : i], name, value)
        {
            if (text.size_bytes > begin)
                ts_text_append(&text, "\t");
            if (i < 0)
                ts_text_append(&text, "%s", name);
            else
                append_cell(&text, value);
        }
        ts_text_append(&text, "\n");
    }
    TsStatus status = ts_file_write(path, text.data ? text.data : "", text.size_bytes);
    ts_text_free(&text);
    return status;
}

static TsStatus write_beside(const char *path, json_t *const *rows, int64_t count)
{
    char *making = ts_format("%s.tmp.%d", path, (int)getpid());
    TsStatus status = ts_table_write_hdf5(making, rows, count);
    if (!status)
        status = ts_file_rename(making, path);
    if (status) {
        TsStatus unused = ts_file_remove(making);
        ts_status_free(&unused);
    }
    ts_free(making);
    return status;
}

TsStatus ts_table_write(const char *path, const TsTableRow *rows, int64_t count)
{
    if (!path || ends_with(path, ".jsonl") || ends_with(path, ".json"))
        return write_lines(path, rows, count);
    json_t **parsed = ts_calloc((size_t)count + 1, sizeof *parsed);
    TsStatus status = TS_OK;
    for (int64_t i = 0; i < count && !status; i++) {
        parsed[i] = json_loadb(rows[i].json, rows[i].bytes, 0, NULL);
        if (!json_is_object(parsed[i]))
            status = ts_status_error(TS_CODE_INVALID, "%s: row %lld has a text that is not UTF-8", path, (long long)i);
    }
    if (!status)
        status = ends_with(path, ".h5") || ends_with(path, ".hdf5") ? write_beside(path, parsed, count)
                                                                    : write_tsv(path, parsed, count);
    for (int64_t i = 0; i < count; i++)
        json_decref(parsed[i]);
    ts_free(parsed);
    return status;
}
