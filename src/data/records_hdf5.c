/* SPDX-License-Identifier: Apache-2.0
 *
 * HDF5: each column is a dataset of as many rows: of texts, of numbers, (rows, width) of numbers, or of lists of
 * numbers of any length. Rows are read a block at a time; numbers become text, with the separator between.
 */
#include <string.h>

#include "base/memory.h"
#include "data/hdf5_file.h"
#include "data/records_format.h"

enum { BLOCK_BYTES = 1 << 22, BLOCK_ROWS = 4096 };

typedef enum CellKind {
    CELL_TEXT,
    CELL_FIXED_TEXT,
    CELL_INTEGERS,
    CELL_REALS,
    CELL_INTEGER_LIST,
    CELL_REAL_LIST
} CellKind;

typedef struct Column {
    hid_t dataset, type; /* in memory; -1: none */
    CellKind kind;
    int64_t width;     /* numbers of a row */
    size_t elem_bytes; /* of one of them, or of a text */
    void *rows;        /* of the block, owned */
} Column;

struct TsHdf5Table {
    hid_t file;
    Column *columns; /* (count), owned */
    int count;
    int64_t rows, next;               /* of the table; the row that comes next */
    int64_t block_first, block_count; /* the rows that are in memory */
    int64_t block_rows;               /* at most */
};

static TsStatus has_no_column(const TsHdf5Table *table, const char *path, const char *name)
{
    H5G_info_t info = {0};
    TsText known = {0};
    H5Gget_info(table->file, &info);
    for (hsize_t i = 0; i < info.nlinks && i < TS_MAX_FIELDS; i++) {
        char link[256] = "";
        H5Lget_name_by_idx(table->file, ".", H5_INDEX_NAME, H5_ITER_INC, i, link, sizeof link, H5P_DEFAULT);
        ts_text_append(&known, "%s%s", i ? ", " : "", link);
    }
    H5Eclear2(H5E_DEFAULT);
    TsStatus status = ts_status_error(TS_CODE_INVALID, "%s: has no column \"%s\"; it has %s", path, name,
                                      known.data ? known.data : "none");
    ts_text_free(&known);
    return status;
}

/* What a dataset's elements are read as; false where they are neither texts nor numbers. */
static bool choose_type(Column *column, hid_t stored)
{
    hid_t inner = -1;
    switch (H5Tget_class(stored)) {
    case H5T_STRING:
        column->kind = H5Tis_variable_str(stored) > 0 ? CELL_TEXT : CELL_FIXED_TEXT;
        column->type = H5Tcopy(H5T_C_S1);
        column->elem_bytes = column->kind == CELL_TEXT ? sizeof(char *) : H5Tget_size(stored) + 1;
        H5Tset_size(column->type, column->kind == CELL_TEXT ? H5T_VARIABLE : column->elem_bytes);
        H5Tset_cset(column->type, H5Tget_cset(stored));
        return true;
    case H5T_INTEGER:
    case H5T_ENUM: /* such as h5py's booleans */
        column->kind = CELL_INTEGERS;
        column->type = H5Tcopy(H5T_NATIVE_INT64);
        column->elem_bytes = sizeof(int64_t);
        return true;
    case H5T_FLOAT:
        column->kind = CELL_REALS;
        column->type = H5Tcopy(H5T_NATIVE_DOUBLE);
        column->elem_bytes = sizeof(double);
        return true;
    case H5T_VLEN:
        inner = H5Tget_super(stored);
        column->kind = H5Tget_class(inner) == H5T_INTEGER ? CELL_INTEGER_LIST : CELL_REAL_LIST;
        column->type = H5Tvlen_create(column->kind == CELL_INTEGER_LIST ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE);
        column->elem_bytes = sizeof(hvl_t);
        bool of_numbers = H5Tget_class(inner) == H5T_INTEGER || H5Tget_class(inner) == H5T_FLOAT;
        H5Tclose(inner);
        return of_numbers;
    default:
        return false;
    }
}

static TsStatus open_column(TsHdf5Table *table, Column *column, const char *path, const char *name)
{
    column->dataset = H5Dopen2(table->file, name, H5P_DEFAULT);
    if (column->dataset < 0)
        return has_no_column(table, path, name);
    hid_t space = H5Dget_space(column->dataset), stored = H5Dget_type(column->dataset);
    hsize_t size[2] = {0, 1};
    int dims = H5Sget_simple_extent_ndims(space);
    if (dims == 1 || dims == 2)
        H5Sget_simple_extent_dims(space, size, NULL);
    bool fits = choose_type(column, stored) &&
                (dims == 1 || (dims == 2 && (column->kind == CELL_INTEGERS || column->kind == CELL_REALS)));
    H5Sclose(space);
    H5Tclose(stored);
    column->width = (int64_t)size[1];
    if (!fits)
        return ts_status_error(
            TS_CODE_INVALID,
            "%s: the dataset %s: expected texts or numbers (rows), numbers (rows, width), or lists of "
            "numbers (rows)",
            path, name);
    if (table->rows >= 0 && table->rows != (int64_t)size[0])
        return ts_status_error(TS_CODE_INVALID, "%s: the dataset %s has %lld rows, others have %lld", path, name,
                               (long long)size[0], (long long)table->rows);
    table->rows = (int64_t)size[0];
    size_t row_bytes = column->elem_bytes * (size_t)(column->width > 0 ? column->width : 1);
    int64_t fit = (int64_t)(BLOCK_BYTES / row_bytes);
    table->block_rows = table->block_rows < fit ? table->block_rows : fit > 0 ? fit : 1;
    return TS_OK;
}

TsStatus ts_hdf5_table_open(TsHdf5Table **table, const char *path, const char *const *names, int count)
{
    TsHdf5Table *opened = ts_calloc(1, sizeof *opened);
    *opened = (TsHdf5Table){.count = count, .rows = -1, .block_rows = BLOCK_ROWS};
    opened->columns = ts_calloc((size_t)count + 1, sizeof *opened->columns);
    for (int c = 0; c < count; c++)
        opened->columns[c] = (Column){.dataset = -1, .type = -1};
    ts_hdf5_quiet();
    opened->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    TsStatus status = opened->file < 0 ? ts_hdf5_error(path, NULL, "be opened as HDF5") : TS_OK;
    for (int c = 0; c < count && !status; c++)
        status = open_column(opened, &opened->columns[c], path, names[c]);
    if (!status && opened->rows <= 0)
        status = ts_status_error(TS_CODE_INVALID, "%s: is empty: expected examples", path);
    if (status)
        ts_hdf5_table_close(&opened);
    *table = opened;
    return status;
}

/* Gives back what HDF5 allocated for the block. */
static void release_block(TsHdf5Table *table)
{
    hsize_t rows = (hsize_t)table->block_count;
    for (int c = 0; c < table->count && table->block_count; c++) {
        Column *column = &table->columns[c];
        if (column->kind == CELL_TEXT || column->kind == CELL_INTEGER_LIST || column->kind == CELL_REAL_LIST) {
            hid_t space = H5Screate_simple(1, &rows, NULL);
            H5Dvlen_reclaim(column->type, space, H5P_DEFAULT, column->rows);
            H5Sclose(space);
        }
    }
    table->block_count = 0;
}

void ts_hdf5_table_close(TsHdf5Table **table)
{
    if (!*table)
        return;
    release_block(*table);
    for (int c = 0; c < (*table)->count; c++) {
        Column *column = &(*table)->columns[c];
        if (column->type >= 0)
            H5Tclose(column->type);
        if (column->dataset >= 0)
            H5Dclose(column->dataset);
        ts_free(column->rows);
    }
    if ((*table)->file >= 0)
        H5Fclose((*table)->file);
    ts_free((*table)->columns);
    ts_free(*table);
    *table = NULL;
}

static TsStatus read_block(TsRecords *records, TsHdf5Table *table)
{
    int64_t left = table->rows - table->next, count = left < table->block_rows ? left : table->block_rows;
    release_block(table);
    for (int c = 0; c < table->count; c++) {
        Column *column = &table->columns[c];
        size_t bytes = (size_t)table->block_rows * (size_t)column->width * column->elem_bytes;
        hsize_t first[2] = {(hsize_t)table->next, 0}, size[2] = {(hsize_t)count, (hsize_t)column->width};
        if (column->width == 0)
            continue;
        if (!column->rows)
            column->rows = ts_alloc(bytes);
        memset(column->rows, 0, bytes);
        hid_t space = H5Dget_space(column->dataset);
        H5Sselect_hyperslab(space, H5S_SELECT_SET, first, NULL, size, NULL);
        hid_t here = H5Screate_simple(H5Sget_simple_extent_ndims(space), size, NULL);
        herr_t result = H5Dread(column->dataset, column->type, here, space, H5P_DEFAULT, column->rows);
        H5Sclose(here);
        H5Sclose(space);
        if (result < 0)
            return ts_hdf5_error(ts_stream_path(records->stream), records->columns[c], "be read");
        table->block_count = count; /* what is not read yet is zeros */
    }
    table->block_first = table->next;
    table->block_count = count;
    return TS_OK;
}

static void append_numbers(TsRecords *records, CellKind kind, const void *numbers, int64_t count)
{
    char separator = records->options.separator ? records->options.separator : ';';
    for (int64_t i = 0; i < count; i++) {
        if (i)
            ts_text_append_bytes(&records->cells, &separator, 1);
        if (kind == CELL_INTEGERS || kind == CELL_INTEGER_LIST)
            ts_text_append(&records->cells, "%lld", (long long)((const int64_t *)numbers)[i]);
        else
            ts_text_append(&records->cells, "%.17g", ((const double *)numbers)[i]);
    }
}

TsStatus ts_records_next_hdf5(TsRecords *records, bool *there)
{
    TsHdf5Table *table = records->table;
    *there = table->next < table->rows;
    if (!*there)
        return TS_OK;
    if (table->block_count == 0 || table->next >= table->block_first + table->block_count) {
        TsStatus status = read_block(records, table);
        *there = status == TS_OK;
        TS_TRY(status);
    }
    int64_t row = table->next++ - table->block_first;
    records->line++;
    for (int c = 0; c < table->count; c++) {
        const Column *column = &table->columns[c];
        const char *cell =
            column->rows ? (const char *)column->rows + (size_t)(row * column->width) * column->elem_bytes : "";
        ts_records_begin_cell(records);
        if (column->kind == CELL_TEXT) {
            const char *text = *(char *const *)(const void *)cell;
            ts_text_append(&records->cells, "%s", text ? text : "");
        } else if (column->kind == CELL_FIXED_TEXT) {
            ts_text_append_bytes(&records->cells, cell, strnlen(cell, column->elem_bytes));
        } else if (column->kind == CELL_INTEGER_LIST || column->kind == CELL_REAL_LIST) {
            const hvl_t *list = (const void *)cell;
            append_numbers(records, column->kind, list->p, (int64_t)list->len);
        } else {
            append_numbers(records, column->kind, cell, column->width);
        }
    }
    return TS_OK;
}
