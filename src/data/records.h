/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: the rows of a file of examples, one after the other, whatever its format.
 *
 *   tsv     fields between tabs, no quotes; the first line names the columns
 *   csv     RFC 4180: quotes, doubled quotes, line feeds inside quotes; the first record names the columns
 *   jsonl   a JSON object a line; keys name the columns; numbers and booleans count as their text, an array as its
 *           items with `separator` between them
 *   fasta   `>id description` and lines of sequence: columns id, description, text; with a second FASTA of labels,
 *           whose ids are the same, also labels; any other column is what stands behind NAME= in a description, that
 *           of the sequence or that of the labels
 *   text    a line is an example: column text
 *   NAME    a source of a plug-in, TsRecordSource
 *   hdf5    a dataset is a column: texts, numbers, (rows, width) of numbers, or lists of numbers, which count as their
 *           items with `separator` between; lines are rows, from 1
 *
 * A file but HDF5 may be gzipped. Of a plain file a range of bytes can be read: the records that begin in it. Errors
 * name file, line and what was expected, and concern one record: reading goes on behind it. Not collective.
 */
#pragma once

#include <stddef.h>

#include "data/stream.h"

typedef enum TsFormat {
    TS_FORMAT_AUTO, /* by the end of the file's name */
    TS_FORMAT_TSV,
    TS_FORMAT_CSV,
    TS_FORMAT_JSONL,
    TS_FORMAT_FASTA,
    TS_FORMAT_TEXT,
    TS_FORMAT_HDF5,
    TS_FORMAT_SOURCE /* and from here on those of ts_record_source_add */
} TsFormat;

/* "auto", "tsv", ...; ends with NULL. */
extern const char *ts_format_words[];

enum { TS_MAX_FIELDS = 1024, TS_MAX_RECORD_BYTES = 1 << 28 };

/* A cell of a record, borrowed until the next one; text NULL: this record has none. Zero-terminated. */
typedef struct TsField {
    const char *text;
    size_t bytes;
} TsField;

/* A source of data of a user's own. */
typedef struct TsRecordSource {
    const char *name;   /* of the format */
    const char *ending; /* of names of files, ".pdb" */

    /* Opens what is behind path. An error names the path, and a column that is not there. */
    TsStatus (*open)(void **self, const char *path, const char *const *columns, int column_count);

    /* Fills in fields (column_count) of the next record, valid until the next call, and the line that it began on, from
     * 1. *there is false at the end. An error is one of this record where *there is set, else of the file. */
    TsStatus (*next)(void *self, TsField *fields, int64_t *line, bool *there);
    void (*close)(void *self);
} TsRecordSource;

/* Adds one; it must live as long as the process. Its files are read whole by one rank. An error where there is a format
 * of that name. Not collective; the same on all ranks, before the configuration is read. */
TS_MUST_USE TsStatus ts_record_source_add(const TsRecordSource *source);

typedef struct TsRecords TsRecords;

typedef struct TsRecordsOptions {
    TsFormat format;
    const char *const *header; /* (header_count) the names of columns where the file does not name them */
    int64_t header_count;
    const char *labels;       /* of fasta: the file of labels, or NULL */
    const char *mask;         /* of fasta: a file of 0 and 1, or NULL: a label with 0 becomes - */
    char separator;           /* between the items of a JSON array; 0 counts as ';' */
    bool takes_any_bytes;     /* texts need not be UTF-8 */
    int64_t first_byte;       /* of the range */
    int64_t end_byte;         /* beyond it; 0: the end of the file */
    int64_t first_line;       /* the line that first_byte is on, from 1; 0 counts as 1 */
    bool starts_inside_quote; /* of csv: first_byte lies in quotes */
} TsRecordsOptions;

/* Opens a file and reads its header. `columns` are the names that are asked for (borrowed): one that a file with a
 * header lacks is an error that lists those it has. Owned by the caller: ts_records_close. */
TS_MUST_USE TsStatus ts_records_open(TsRecords **records, const char *path, const char *const *columns,
                                     int column_count, TsRecordsOptions options);

/* Sets *records to NULL; NULL is fine. */
void ts_records_close(TsRecords **records);

/* Reads the next record: fields (column_count) in the order of `columns`. *there is false at the end. An error with
 * *there set is one of this record alone; without it, of the file. */
TS_MUST_USE TsStatus ts_records_next(TsRecords *records, TsField *fields, bool *there);

/* The line on which the last record began, from 1. */
int64_t ts_records_line(const TsRecords *records);

/* The format that a name ends with (before .gz); TS_FORMAT_AUTO where it says nothing. */
TsFormat ts_format_of_name(const char *path);

/* Whether bytes are UTF-8. */
bool ts_is_utf8(const char *text, size_t bytes);
