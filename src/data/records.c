/* SPDX-License-Identifier: Apache-2.0 */
#include "data/records.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "data/records_format.h"

enum { MOST_SOURCES = 32 };
static const TsRecordSource *sources[MOST_SOURCES];
static int source_count;
const char *ts_format_words[TS_FORMAT_SOURCE + MOST_SOURCES + 1] = {"auto",  "tsv",  "csv", "jsonl",
                                                                    "fasta", "text", "hdf5"};

TsStatus ts_record_source_add(const TsRecordSource *source)
{
    for (int i = 0; ts_format_words[i]; i++)
        if (strcmp(ts_format_words[i], source->name) == 0)
            return ts_status_error(TS_CODE_INVALID, "there is a format %s already", source->name);
    if (source_count == MOST_SOURCES)
        return ts_status_error(TS_CODE_INVALID, "no room for the format %s: there are %d", source->name, MOST_SOURCES);
    ts_format_words[TS_FORMAT_SOURCE + source_count] = source->name;
    sources[source_count++] = source;
    return TS_OK;
}

const TsRecordSource *ts_record_source(TsFormat format)
{
    return format >= TS_FORMAT_SOURCE ? sources[format - TS_FORMAT_SOURCE] : NULL;
}

static bool ends_with(const char *path, size_t length, const char *ending)
{
    size_t bytes = strlen(ending);
    return length > bytes && strncasecmp(path + length - bytes, ending, bytes) == 0;
}

TsFormat ts_format_of_name(const char *path)
{
    static const struct {
        const char *ending;
        TsFormat format;
    } endings[] = {{".tsv", TS_FORMAT_TSV},     {".tab", TS_FORMAT_TSV},      {".csv", TS_FORMAT_CSV},
                   {".jsonl", TS_FORMAT_JSONL}, {".ndjson", TS_FORMAT_JSONL}, {".json", TS_FORMAT_JSONL},
                   {".fasta", TS_FORMAT_FASTA}, {".fa", TS_FORMAT_FASTA},     {".faa", TS_FORMAT_FASTA},
                   {".fna", TS_FORMAT_FASTA},   {".txt", TS_FORMAT_TEXT},     {".h5", TS_FORMAT_HDF5},
                   {".hdf5", TS_FORMAT_HDF5}};
    size_t length = strlen(path);
    for (int i = 0; i < source_count; i++)
        if (ends_with(path, length, sources[i]->ending))
            return (TsFormat)(TS_FORMAT_SOURCE + i);
    if (length > 3 && strcasecmp(path + length - 3, ".gz") == 0)
        length -= 3;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(path, length, endings[i].ending))
            return endings[i].format;
    return TS_FORMAT_AUTO;
}

bool ts_is_utf8(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        unsigned char lead = (unsigned char)text[i];
        size_t more = lead < 0x80                   ? 0
                      : lead >= 0xc2 && lead < 0xe0 ? 1
                      : (lead & 0xf0) == 0xe0       ? 2
                      : lead >= 0xf0 && lead < 0xf5 ? 3
                                                    : bytes;
        if (more >= bytes - i)
            return false;
        for (size_t k = 1; k <= more; k++)
            if (((unsigned char)text[i + k] & 0xc0) != 0x80)
                return false;
        unsigned char second = more ? (unsigned char)text[i + 1] : 0; /* over-long forms, surrogates, beyond the last */
        if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) || (lead == 0xf0 && second < 0x90) ||
            (lead == 0xf4 && second >= 0x90))
            return false;
        i += more + 1;
    }
    return true;
}

/* ---- what the formats share ---- */

int ts_records_byte(TsRecords *records)
{
    int byte = ts_stream_next(records->stream);
    records->line += byte == '\n';
    return byte;
}

bool ts_records_left_range(const TsRecords *records)
{
    return records->options.end_byte > 0 && ts_stream_position(records->stream) >= records->options.end_byte;
}

void ts_records_begin_cell(TsRecords *records)
{
    if (records->cell_count)
        ts_text_append_bytes(&records->cells, "", 1);
    if (records->cell_count == records->cell_capacity) {
        records->cell_capacity = records->cell_capacity ? 2 * records->cell_capacity : 16;
        records->cell_first =
            ts_realloc(records->cell_first, (size_t)records->cell_capacity * sizeof *records->cell_first);
    }
    records->cell_first[records->cell_count++] = records->cells.size_bytes;
}

bool ts_records_read_line(TsRecords *records)
{
    size_t begin = records->cells.size_bytes;
    int byte = ts_records_byte(records);
    if (byte < 0)
        return false;
    for (; byte >= 0 && byte != '\n'; byte = ts_records_byte(records))
        if (records->cells.size_bytes - begin < TS_MAX_RECORD_BYTES)
            ts_text_append_bytes(&records->cells, &(char){(char)byte}, 1);
    if (records->cells.size_bytes > begin && records->cells.data[records->cells.size_bytes - 1] == '\r')
        ts_text_cut(&records->cells, records->cells.size_bytes - 1);
    return true;
}

TsStatus ts_records_error(const TsRecords *records, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *message = ts_format_list(format, arguments);
    va_end(arguments);
    TsStatus status = ts_status_error(TS_CODE_INVALID, "%s:%lld: %s", ts_stream_path(records->stream),
                                      (long long)records->record_line, message);
    ts_free(message);
    return status;
}

static void clear_cells(TsRecords *records)
{
    records->cell_count = 0;
    if (records->cells.data)
        ts_text_cut(&records->cells, 0);
}

static TsField cell(const TsRecords *records, int index)
{
    size_t first = records->cell_first[index];
    size_t end = index + 1 < records->cell_count ? records->cell_first[index + 1] - 1 : records->cells.size_bytes;
    return (TsField){records->cells.data ? records->cells.data + first : "", end - first};
}

/* ---- fields between tabs ---- */

TsStatus ts_records_next_tsv(TsRecords *records, bool *there)
{
    ts_records_begin_cell(records);
    int byte = ts_records_byte(records);
    *there = byte >= 0;
    for (; byte >= 0 && byte != '\n'; byte = ts_records_byte(records)) {
        if (byte == '\t' && records->options.format == TS_FORMAT_TSV)
            ts_records_begin_cell(records);
        else if (byte != '\r' || ts_stream_peek(records->stream) != '\n')
            ts_text_append_bytes(&records->cells, &(char){(char)byte}, 1);
        if (records->cells.size_bytes > TS_MAX_RECORD_BYTES)
            return ts_records_error(records, "a line of more than %d bytes", TS_MAX_RECORD_BYTES);
    }
    return TS_OK;
}

/* ---- opening ---- */

static bool has_header(const TsRecords *records)
{
    return records->options.format == TS_FORMAT_TSV || records->options.format == TS_FORMAT_CSV;
}

static TsStatus next_cells(TsRecords *records, bool *there)
{
    clear_cells(records);
    records->record_line = records->line;
    return records->options.format == TS_FORMAT_CSV ? ts_records_next_csv(records, there)
                                                    : ts_records_next_tsv(records, there);
}

/* The file's own names, from its first record, or as the options have them. */
static TsStatus read_header(TsRecords *records)
{
    bool there = true, given = records->options.header_count > 0;
    if (!given) {
        TS_TRY(next_cells(records, &there));
        if (!there)
            return ts_status_error(TS_CODE_INVALID, "%s: is empty: expected a first line that names its columns",
                                   ts_stream_path(records->stream));
    }
    records->name_count = given ? (int)records->options.header_count : records->cell_count;
    records->names = ts_calloc((size_t)records->name_count, sizeof *records->names);
    for (int i = 0; i < records->name_count; i++) {
        const char *name = given ? records->options.header[i] : cell(records, i).text;
        bool marked = i == 0 && strncmp(name, "\xef\xbb\xbf", 3) == 0; /* a byte order mark */
        records->names[i] = ts_strdup(name + (marked ? 3 : 0));
    }
    return TS_OK;
}

static TsStatus find_columns(TsRecords *records)
{
    for (int c = 0; c < records->column_count; c++) {
        records->place[c] = -1;
        for (int i = 0; i < records->name_count; i++)
            if (strcmp(records->names[i], records->columns[c]) == 0)
                records->place[c] = i;
        if (records->place[c] >= 0)
            continue;
        TsText known = {0};
        for (int i = 0; i < records->name_count; i++)
            ts_text_append(&known, "%s%s", i ? ", " : "", records->names[i]);
        TsStatus status = ts_status_error(TS_CODE_INVALID, "%s: has no column \"%s\"; it has %s",
                                          ts_stream_path(records->stream), records->columns[c], known.data);
        ts_text_free(&known);
        return status;
    }
    return TS_OK;
}

/* Goes to the first record that begins in the range. */
static TsStatus enter_range(TsRecords *records)
{
    const TsRecordsOptions *options = &records->options;
    if (options->first_byte <= ts_stream_position(records->stream))
        return TS_OK;
    TS_TRY(ts_stream_seek(records->stream, options->first_byte - 1));
    bool quoted = options->starts_inside_quote;
    int byte = ts_stream_next(records->stream);
    records->line = options->first_line ? options->first_line : 1;
    if (quoted || byte != '\n')
        while ((byte = ts_records_byte(records)) >= 0 && (quoted || byte != '\n'))
            quoted ^= byte == '"' && options->format == TS_FORMAT_CSV;
    while (options->format == TS_FORMAT_FASTA && (byte = ts_stream_peek(records->stream)) >= 0 && byte != '>')
        while ((byte = ts_records_byte(records)) >= 0 && byte != '\n')
            ;
    return TS_OK;
}

static TsStatus begin(TsRecords *records, const char *path)
{
    if (records->options.format == TS_FORMAT_AUTO)
        records->options.format = ts_format_of_name(path);
    if (records->options.format == TS_FORMAT_AUTO)
        return ts_status_error(
            TS_CODE_INVALID,
            "%s: its name does not say what it is: give the format: tsv, csv, jsonl, fasta, text or hdf5", path);
    records->source = ts_record_source(records->options.format);
    if (records->source)
        return records->source->open(&records->source_self, path, records->columns, records->column_count);
    TS_TRY(ts_stream_open(&records->stream, path, NULL));
    if (ts_stream_peek(records->stream) < 0) {
        TS_TRY(ts_stream_status(records->stream));
        return ts_status_error(TS_CODE_INVALID, "%s: is empty: expected examples", path);
    }
    if (has_header(records)) {
        TS_TRY(read_header(records));
        TS_TRY(find_columns(records));
    } else if (records->options.format == TS_FORMAT_HDF5) {
        return ts_hdf5_table_open(&records->table, path, records->columns, records->column_count);
    } else if (records->options.format == TS_FORMAT_TEXT) {
        records->names = ts_calloc(1, sizeof *records->names);
        records->names[records->name_count++] = ts_strdup("text");
        TS_TRY(find_columns(records));
    }
    if (records->options.labels)
        TS_TRY(ts_fasta_labels_open(&records->labels, records->options.labels));
    if (records->options.mask)
        TS_TRY(ts_fasta_labels_open(&records->mask, records->options.mask));
    return enter_range(records);
}

TsStatus ts_records_open(TsRecords **records, const char *path, const char *const *columns, int column_count,
                         TsRecordsOptions options)
{
    TsRecords *opened = ts_calloc(1, sizeof *opened);
    *opened = (TsRecords){.options = options, .columns = columns, .column_count = column_count, .line = 1};
    opened->place = ts_calloc((size_t)column_count + 1, sizeof *opened->place);
    TsStatus status = begin(opened, path);
    if (status)
        ts_records_close(&opened);
    *records = opened;
    return status;
}

void ts_records_close(TsRecords **records)
{
    if (!*records)
        return;
    ts_stream_close(&(*records)->stream);
    if ((*records)->source && (*records)->source_self)
        (*records)->source->close((*records)->source_self);
    for (int i = 0; i < (*records)->name_count; i++)
        ts_free((*records)->names[i]);
    ts_free((*records)->names);
    ts_free((*records)->place);
    ts_free((*records)->cell_first);
    ts_text_free(&(*records)->cells);
    ts_fasta_labels_close(&(*records)->labels);
    ts_fasta_labels_close(&(*records)->mask);
    ts_hdf5_table_close(&(*records)->table);
    ts_free(*records);
    *records = NULL;
}

/* ---- reading ---- */

static TsStatus next_table(TsRecords *records, TsField *fields, bool *there)
{
    do {
        *there = false;
        if (ts_records_left_range(records))
            return TS_OK;
        TS_TRY(next_cells(records, there));
        if (!*there)
            return TS_OK;
    } while (records->cell_count == 1 && records->name_count > 1 && cell(records, 0).bytes == 0); /* an empty line */
    if (records->cell_count != records->name_count)
        return ts_records_error(records, "%d field%s, but the header has %d", records->cell_count,
                                records->cell_count == 1 ? "" : "s", records->name_count);
    for (int c = 0; c < records->column_count; c++)
        fields[c] = cell(records, records->place[c]);
    return TS_OK;
}

static TsStatus next_row(TsRecords *records, TsField *fields, bool *there)
{
    TS_TRY(ts_records_next_hdf5(records, there));
    for (int c = 0; c < records->column_count && *there; c++)
        fields[c] = cell(records, c);
    return TS_OK;
}

static TsStatus check_encoding(const TsRecords *records, const TsField *fields)
{
    for (int c = 0; c < records->column_count && !records->options.takes_any_bytes; c++)
        if (fields[c].text && !ts_is_utf8(fields[c].text, fields[c].bytes))
            return ts_records_error(records, "column %s is not UTF-8 (encoding: any takes it as it is)",
                                    records->columns[c]);
    return TS_OK;
}

TsStatus ts_records_next(TsRecords *records, TsField *fields, bool *there)
{
    *there = false;
    if (records->source) {
        TS_TRY(records->source->next(records->source_self, fields, &records->record_line, there));
        return *there ? check_encoding(records, fields) : TS_OK;
    }
    if (ts_records_left_range(records))
        return TS_OK;
    clear_cells(records);
    records->record_line = records->line;
    TsStatus status = records->options.format == TS_FORMAT_JSONL   ? ts_records_next_json(records, fields, there)
                      : records->options.format == TS_FORMAT_FASTA ? ts_records_next_fasta(records, fields, there)
                      : records->options.format == TS_FORMAT_HDF5  ? next_row(records, fields, there)
                                                                   : next_table(records, fields, there);
    TsStatus broken = ts_stream_status(records->stream);
    if (broken) { /* whatever the record looked like */
        ts_status_free(&status);
        *there = false;
        return broken;
    }
    if (!status && !*there)
        return TS_OK;
    return status ? status : check_encoding(records, fields);
}

int64_t ts_records_line(const TsRecords *records)
{
    return records->record_line;
}
