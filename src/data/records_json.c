/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON lines: an object a line. What is asked for becomes text.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/records_format.h"

/* Appends a value's text to the current cell. */
static TsStatus append_value(TsRecords *records, const char *name, const json_t *value, int depth)
{
    if (json_is_string(value)) {
        ts_text_append_bytes(&records->cells, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        ts_text_append(&records->cells, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        ts_text_append(&records->cells, "%.17g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        ts_text_append(&records->cells, "%s", json_is_true(value) ? "true" : "false");
    } else if (json_is_array(value) && depth == 0) {
        char separator = records->options.separator ? records->options.separator : ';';
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                ts_text_append_bytes(&records->cells, &separator, 1);
            TS_TRY(append_value(records, name, json_array_get(value, i), depth + 1));
        }
    } else {
        return ts_records_error(records, "\"%s\" is %s: expected a text, a number or a list of them", name,
                                json_is_object(value)  ? "an object"
                                : json_is_array(value) ? "a list of lists"
                                                       : "a list with null in it");
    }
    return TS_OK;
}

static TsStatus take_fields(TsRecords *records, const json_t *object)
{
    for (int c = 0; c < records->column_count; c++) {
        const json_t *value = json_object_get(object, records->columns[c]);
        records->place[c] = -1;
        if (!value)
            return ts_records_error(records, "has no \"%s\"", records->columns[c]);
        if (json_is_null(value))
            continue;
        records->place[c] = records->cell_count;
        ts_records_begin_cell(records);
        TS_TRY(append_value(records, records->columns[c], value, 0));
    }
    return TS_OK;
}

TsStatus ts_records_next_json(TsRecords *records, TsField *fields, bool *there)
{
    ts_records_begin_cell(records);
    do {
        ts_text_cut(&records->cells, records->cells.data ? 0 : records->cells.size_bytes);
        records->record_line = records->line;
        *there = !ts_records_left_range(records) && ts_records_read_line(records);
    } while (*there && records->cells.size_bytes == 0);
    if (!*there)
        return TS_OK;
    if (records->cells.size_bytes >= TS_MAX_RECORD_BYTES)
        return ts_records_error(records, "a line of more than %d bytes", TS_MAX_RECORD_BYTES);
    json_error_t error;
    json_t *object = json_loadb(records->cells.data, records->cells.size_bytes, JSON_ALLOW_NUL, &error);
    if (!object)
        return ts_records_error(records, "is not JSON: %s at byte %d", error.text, error.position);
    records->cell_count = 0;
    ts_text_cut(&records->cells, 0);
    TsStatus status = json_is_object(object)
                          ? take_fields(records, object)
                          : ts_records_error(records, "is not a JSON object: expected {\"column\": value, ...}");
    json_decref(object);
    for (int c = 0; c < records->column_count && !status; c++) {
        int index = records->place[c];
        fields[c] = (TsField){0};
        if (index < 0)
            continue;
        size_t first = records->cell_first[index];
        size_t end = index + 1 < records->cell_count ? records->cell_first[index + 1] - 1 : records->cells.size_bytes;
        fields[c] = (TsField){records->cells.data + first, end - first};
    }
    return status;
}
