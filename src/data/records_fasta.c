/* SPDX-License-Identifier: Apache-2.0
 *
 * FASTA: a line `>id description`, then lines of sequence up to the next one. A second file of the same form may hold
 * labels, one character a residue, found by id.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/records_format.h"

typedef struct Label {
    size_t id, text, text_bytes; /* places in `bytes` */
} Label;

struct TsFastaLabels {
    TsText bytes;
    Label *sorted; /* (count) by id */
    int64_t count, capacity;
};

/* Cells: id, description, sequence. */
static TsStatus read_entry(TsRecords *records, bool *there)
{
    int byte;
    while ((byte = ts_stream_peek(records->stream)) == '\n' || byte == '\r')
        ts_records_byte(records);
    records->record_line = records->line;
    *there = byte >= 0 && !ts_records_left_range(records);
    if (!*there)
        return TS_OK;
    bool marked = byte == '>';
    if (marked)
        ts_records_byte(records);
    ts_records_begin_cell(records);
    for (byte = ts_records_byte(records); byte >= 0 && byte != '\n' && byte != ' ' && byte != '\t' && byte != '\r';
         byte = ts_records_byte(records))
        ts_text_append_bytes(&records->cells, &(char){(char)byte}, 1);
    bool named = records->cells.size_bytes > 0;
    ts_records_begin_cell(records);
    if (byte >= 0 && byte != '\n')
        ts_records_read_line(records);
    ts_records_begin_cell(records);
    while (marked && (byte = ts_stream_peek(records->stream)) >= 0 && byte != '>' &&
           records->cells.size_bytes < TS_MAX_RECORD_BYTES)
        ts_records_read_line(records);
    if (!marked)
        return ts_records_error(records, "expected a line that begins with >");
    if (!named)
        return ts_records_error(records, "expected an id behind >");
    return TS_OK;
}

static TsField cell(const TsRecords *records, int index)
{
    size_t first = records->cell_first[index];
    size_t end = index + 1 < records->cell_count ? records->cell_first[index + 1] - 1 : records->cells.size_bytes;
    return (TsField){records->cells.data + first, end - first};
}

static int compare_ids(const void *a, const void *b, void *bytes)
{
    return strcmp((const char *)bytes + ((const Label *)a)->id, (const char *)bytes + ((const Label *)b)->id);
}

static TsStatus read_labels(TsFastaLabels *labels, TsRecords *records)
{
    for (bool there = true; there;) {
        records->cell_count = 0;
        if (records->cells.data)
            ts_text_cut(&records->cells, 0);
        TS_TRY(read_entry(records, &there));
        if (!there)
            break;
        if (labels->count == labels->capacity) {
            labels->capacity = labels->capacity ? 2 * labels->capacity : 256;
            labels->sorted = ts_realloc(labels->sorted, (size_t)labels->capacity * sizeof *labels->sorted);
        }
        TsField id = cell(records, 0), text = cell(records, 2);
        Label *label = &labels->sorted[labels->count++];
        label->id = labels->bytes.size_bytes;
        ts_text_append_bytes(&labels->bytes, id.text, id.bytes + 1);
        label->text = labels->bytes.size_bytes;
        label->text_bytes = text.bytes;
        ts_text_append_bytes(&labels->bytes, text.text, text.bytes);
        ts_text_append_bytes(&labels->bytes, "", 1);
    }
    TS_TRY(ts_stream_status(records->stream));
    if (labels->count)
        qsort_r(labels->sorted, (size_t)labels->count, sizeof(Label), compare_ids, labels->bytes.data);
    for (int64_t i = 1; i < labels->count; i++)
        if (compare_ids(&labels->sorted[i - 1], &labels->sorted[i], labels->bytes.data) == 0)
            return ts_status_error(TS_CODE_INVALID, "%s: has the id %s twice", ts_stream_path(records->stream),
                                   labels->bytes.data + labels->sorted[i].id);
    return TS_OK;
}

TsStatus ts_fasta_labels_open(TsFastaLabels **labels, const char *path)
{
    TsRecords *records = NULL;
    *labels = NULL;
    TS_TRY(ts_records_open(&records, path, NULL, 0, (TsRecordsOptions){.format = TS_FORMAT_FASTA}));
    TsFastaLabels *opened = ts_calloc(1, sizeof *opened);
    TsStatus status = read_labels(opened, records);
    ts_records_close(&records);
    *labels = opened; /* those who opened free it, also after an error */
    return status;
}

void ts_fasta_labels_close(TsFastaLabels **labels)
{
    if (!*labels)
        return;
    ts_text_free(&(*labels)->bytes);
    ts_free((*labels)->sorted);
    ts_free(*labels);
    *labels = NULL;
}

/* The labels of this id; text NULL where there are none. */
static TsField find_labels(const TsFastaLabels *labels, const char *id)
{
    int64_t low = 0, high = labels->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        const Label *label = &labels->sorted[middle];
        int order = strcmp(labels->bytes.data + label->id, id);
        if (order == 0)
            return (TsField){labels->bytes.data + label->text, label->text_bytes};
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (TsField){0};
}

TsStatus ts_records_next_fasta(TsRecords *records, TsField *fields, bool *there)
{
    static const char *const names[] = {"id", "description", "text"};
    TS_TRY(read_entry(records, there));
    for (int c = 0; c < records->column_count && *there; c++) {
        bool known = false;
        for (int i = 0; i < 3; i++)
            if (strcmp(records->columns[c], names[i]) == 0) {
                fields[c] = cell(records, i);
                known = true;
            }
        if (known)
            continue;
        if (strcmp(records->columns[c], "labels") != 0 || !records->labels)
            return ts_records_error(records, "FASTA has no column \"%s\"; it has id, description, text%s",
                                    records->columns[c],
                                    records->labels ? ", labels" : ", and labels where a file of labels is named");
        fields[c] = find_labels(records->labels, cell(records, 0).text);
        if (!fields[c].text)
            return ts_records_error(records, "%s has no labels in %s", cell(records, 0).text, records->options.labels);
    }
    return TS_OK;
}
