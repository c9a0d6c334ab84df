/* SPDX-License-Identifier: Apache-2.0
 *
 * Table: rows of cells with names, written as a file by one rank.
 *
 *   JSON lines   as they come
 *   TSV          a first line of names; lists and objects as JSON; tabs and line feeds in texts become blanks
 *   HDF5         a dataset a name: numbers (rows), numbers (rows, width) where all lists are as long, of objects of
 *                numbers with their names in the attribute "names"; all else texts (rows), lists and objects as JSON
 *
 * Not collective.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* One row: an object of JSON, with a line feed behind it. All rows have the same names. Borrowed. */
typedef struct TsTableRow {
    const char *json;
    size_t bytes; /* with the line feed */
} TsTableRow;

/* Writes the file whole or not at all: .jsonl and .json get JSON lines, .h5 and .hdf5 HDF5, all else TSV. NULL is
 * standard output, JSON lines. */
TS_MUST_USE TsStatus ts_table_write(const char *path, const TsTableRow *rows, int64_t count);

typedef struct json_t json_t;

/* The HDF5 of it: rows (count), each an object. Used by ts_table_write. */
TS_MUST_USE TsStatus ts_table_write_hdf5(const char *path, json_t *const *rows, int64_t count);
