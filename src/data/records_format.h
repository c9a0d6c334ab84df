/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of Records, for the files that read one format each.
 */
#pragma once

#include "base/text.h"
#include "data/records.h"

typedef struct TsFastaLabels TsFastaLabels;
typedef struct TsHdf5Table TsHdf5Table;

struct TsRecords {
    TsStream *stream; /* owned */
    TsRecordsOptions options;
    const char *const *columns; /* (column_count) that are asked for */
    int column_count;
    char **names; /* (name_count) that the file has, owned; NULL: each record has its own */
    int name_count;
    int *place;          /* (column_count) which of the file's names each column is */
    int64_t line;        /* of the next byte, from 1 */
    int64_t record_line; /* of the last record */
    TsText cells;        /* the bytes of a record's cells, each with a zero behind it */
    size_t *cell_first;  /* (cell_capacity) where each begins in `cells` */
    int cell_count, cell_capacity;
    TsFastaLabels *labels;        /* owned */
    TsFastaLabels *mask;          /* owned */
    TsHdf5Table *table;           /* owned */
    const TsRecordSource *source; /* NULL: a format that is built in */
    void *source_self;            /* owned by the source; NULL: it is not open */
};

/* The next byte, counting lines; -1 at the end. */
int ts_records_byte(TsRecords *records);

/* Whether the next byte lies beyond the range. */
bool ts_records_left_range(const TsRecords *records);

/* Begins a new cell, and ends the one before. */
void ts_records_begin_cell(TsRecords *records);

/* Reads the rest of a line into the current cell, without its line feed and carriage return; false at the end of the
 * file where nothing was left. */
bool ts_records_read_line(TsRecords *records);

/* An error of the last record: "FILE:LINE: ...". */
TS_MUST_USE TsStatus ts_records_error(const TsRecords *records, const char *format, ...) TS_PRINTF(2, 3);

/* Each reads the next record: cells in the order of the file's names, or (jsonl, fasta) of the columns. *there is false
 * at the end. */
TS_MUST_USE TsStatus ts_records_next_tsv(TsRecords *records, bool *there);
TS_MUST_USE TsStatus ts_records_next_hdf5(TsRecords *records, bool *there);
TS_MUST_USE TsStatus ts_records_next_csv(TsRecords *records, bool *there);
TS_MUST_USE TsStatus ts_records_next_json(TsRecords *records, TsField *fields, bool *there);
TS_MUST_USE TsStatus ts_records_next_fasta(TsRecords *records, TsField *fields, bool *there);

TS_MUST_USE TsStatus ts_fasta_labels_open(TsFastaLabels **labels, const char *path);
void ts_fasta_labels_close(TsFastaLabels **labels);

/* The source behind a format; NULL: it is built in. */
const TsRecordSource *ts_record_source(TsFormat format);

/* The datasets of these names (count, borrowed) of a file. */
TS_MUST_USE TsStatus ts_hdf5_table_open(TsHdf5Table **table, const char *path, const char *const *names, int count);
void ts_hdf5_table_close(TsHdf5Table **table);
