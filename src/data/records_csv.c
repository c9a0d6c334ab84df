/* SPDX-License-Identifier: Apache-2.0
 *
 * CSV as RFC 4180 has it: a field in quotes may hold commas, line feeds, and quotes written twice.
 */
#include "data/records_format.h"

static void append(TsRecords *records, int byte)
{
    ts_text_append_bytes(&records->cells, &(char){(char)byte}, 1);
}

/* Reads the rest of a field in quotes; *byte is what comes behind it. */
static TsStatus read_quoted(TsRecords *records, int *byte)
{
    for (;;) {
        *byte = ts_records_byte(records);
        if (*byte < 0)
            return ts_records_error(records, "the file ends inside quotes");
        if (*byte != '"') {
            append(records, *byte);
        } else if (ts_stream_peek(records->stream) == '"') {
            append(records, ts_records_byte(records));
        } else {
            *byte = ts_records_byte(records);
            if (*byte == '\r' && ts_stream_peek(records->stream) == '\n')
                *byte = ts_records_byte(records);
            return TS_OK;
        }
        if (records->cells.size_bytes > TS_MAX_RECORD_BYTES)
            return ts_records_error(records, "a record of more than %d bytes", TS_MAX_RECORD_BYTES);
    }
}

/* Reads a field without quotes from *byte on; *byte is what ended it. */
static TsStatus read_bare(TsRecords *records, int *byte)
{
    for (; *byte >= 0 && *byte != ',' && *byte != '\n'; *byte = ts_records_byte(records)) {
        if (*byte == '"')
            return ts_records_error(records, "field %d: a quote inside a field that does not begin with one",
                                    records->cell_count);
        if (*byte != '\r' || ts_stream_peek(records->stream) != '\n')
            append(records, *byte);
        if (records->cells.size_bytes > TS_MAX_RECORD_BYTES)
            return ts_records_error(records, "a record of more than %d bytes", TS_MAX_RECORD_BYTES);
    }
    return TS_OK;
}

static TsStatus read_record(TsRecords *records, int *byte)
{
    for (;;) {
        ts_records_begin_cell(records);
        bool quoted = *byte == '"';
        TS_TRY(quoted ? read_quoted(records, byte) : read_bare(records, byte));
        if (*byte < 0 || *byte == '\n')
            return TS_OK;
        if (*byte != ',')
            return ts_records_error(records, "field %d: a comma or the end of the line is expected behind quotes",
                                    records->cell_count);
        *byte = ts_records_byte(records);
    }
}

TsStatus ts_records_next_csv(TsRecords *records, bool *there)
{
    int byte = ts_records_byte(records);
    *there = byte >= 0;
    if (!*there)
        return TS_OK;
    TsStatus status = read_record(records, &byte);
    while (status && byte >= 0 && byte != '\n') /* goes on with the next line */
        byte = ts_records_byte(records);
    return status;
}
