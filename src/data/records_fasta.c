/* SPDX-License-Identifier: Apache-2.0
 *
 * FASTA: a line `>id description`, then lines of sequence up to the next one. A second file of the same form may hold
 * labels, one character a residue, found by id, and a third 0 where a label does not count. Descriptions may have words
 * NAME=VALUE.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/records_format.h"

typedef struct Label {
    size_t id, description, text, text_bytes; /* places in `bytes` */
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
        TsField id = cell(records, 0), description = cell(records, 1), text = cell(records, 2);
        Label *label = &labels->sorted[labels->count++];
        label->id = labels->bytes.size_bytes;
        ts_text_append_bytes(&labels->bytes, id.text, id.bytes + 1);
        label->description = labels->bytes.size_bytes;
        ts_text_append_bytes(&labels->bytes, description.text, description.bytes);
        ts_text_append_bytes(&labels->bytes, "", 1);
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

/* The entry of this id; NULL: there is none. */
static const Label *find(const TsFastaLabels *labels, const char *id)
{
    int64_t low = 0, high = labels ? labels->count : 0;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        const Label *label = &labels->sorted[middle];
        int order = strcmp(labels->bytes.data + label->id, id);
        if (order == 0)
            return label;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The labels of the record, with - where the mask has 0, as a cell behind the others. */
static TsStatus take_labels(TsRecords *records, const char *id)
{
    const Label *label = find(records->labels, id), *mask = find(records->mask, id);
    if (!label)
        return ts_records_error(records, "%s has no labels in %s", id, records->options.labels);
    if (records->mask && (!mask || mask->text_bytes != label->text_bytes))
        return ts_records_error(records, "%s: expected 0 and 1 for %zu labels in %s, found %zu", id, label->text_bytes,
                                records->options.mask, mask ? mask->text_bytes : 0);
    ts_records_begin_cell(records);
    size_t first = records->cells.size_bytes;
    ts_text_append_bytes(&records->cells, records->labels->bytes.data + label->text, label->text_bytes);
    for (size_t i = 0; mask && i < mask->text_bytes; i++)
        if (records->mask->bytes.data[mask->text + i] == '0')
            records->cells.data[first + i] = '-';
    return TS_OK;
}

/* What stands behind NAME= in words of a description; text NULL: nothing. */
static TsField find_word(const char *description, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *at = description; *at;) {
        at += strspn(at, " \t");
        size_t word = strcspn(at, " \t");
        if (word > bytes && at[bytes] == '=' && memcmp(at, name, bytes) == 0)
            return (TsField){at + bytes + 1, word - bytes - 1};
        at += word;
    }
    return (TsField){0};
}

/* A column that is none of FASTA's own, as a cell behind the others. */
static TsStatus take_word(TsRecords *records, const char *name)
{
    TsField id = cell(records, 0), found = find_word(cell(records, 1).text, name);
    const Label *label = find(records->labels, id.text);
    if (!found.text && label)
        found = find_word(records->labels->bytes.data + label->description, name);
    if (!found.text)
        return ts_records_error(records,
                                "%s has no column \"%s\": FASTA has id, description, text%s, and what stands "
                                "behind NAME= in a description",
                                id.text, name, records->labels ? ", labels" : "");
    char *kept = ts_format("%.*s", (int)found.bytes, found.text); /* cells may move while they grow */
    ts_records_begin_cell(records);
    ts_text_append(&records->cells, "%s", kept);
    ts_free(kept);
    return TS_OK;
}

TsStatus ts_records_next_fasta(TsRecords *records, TsField *fields, bool *there)
{
    enum { OWN = 3 };
    static const char *const names[OWN] = {"id", "description", "text"};
    TS_TRY(read_entry(records, there));
    for (int c = 0; c < records->column_count && *there; c++) {
        records->place[c] = -1;
        for (int i = 0; i < OWN; i++)
            if (strcmp(records->columns[c], names[i]) == 0)
                records->place[c] = i;
        if (records->place[c] >= 0)
            continue;
        records->place[c] = records->cell_count;
        TS_TRY(records->labels && strcmp(records->columns[c], "labels") == 0
                   ? take_labels(records, cell(records, 0).text)
                   : take_word(records, records->columns[c]));
    }
    for (int c = 0; c < records->column_count && *there; c++)
        fields[c] = cell(records, records->place[c]);
    return TS_OK;
}
