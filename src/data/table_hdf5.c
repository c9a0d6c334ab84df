/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/hdf5_file.h"
#include "data/table.h"

/* What the cells of a name are, all rows together. */
typedef enum CellKind {
    CELL_NOTHING,
    CELL_INTEGER,
    CELL_NUMBER,
    CELL_NUMBERS,
    CELL_NAMED,
    CELL_TEXT,
    CELL_JSON
} CellKind;

typedef struct Column {
    const char *name; /* borrowed */
    CellKind kind;
    size_t width; /* of NUMBERS and NAMED */
} Column;

static bool is_number(const json_t *value)
{
    return json_is_number(value) || json_is_null(value); /* null is a number that is not finite */
}

static Column look_at(const json_t *value)
{
    Column column = {.kind = json_is_null(value)      ? CELL_NOTHING
                             : json_is_integer(value) ? CELL_INTEGER
                             : json_is_real(value)    ? CELL_NUMBER
                             : json_is_string(value)  ? CELL_TEXT
                             : json_is_array(value)   ? CELL_NUMBERS
                             : json_is_object(value)  ? CELL_NAMED
                                                      : CELL_JSON};
    if (column.kind == CELL_NUMBERS) {
        column.width = json_array_size(value);
        for (size_t i = 0; i < column.width; i++)
            column.kind = is_number(json_array_get(value, i)) ? column.kind : CELL_JSON;
    }
    if (column.kind == CELL_NAMED) {
        column.width = json_object_size(value);
        for (void *at = json_object_iter((json_t *)value); at; at = json_object_iter_next((json_t *)value, at))
            column.kind = is_number(json_object_iter_value(at)) ? column.kind : CELL_JSON;
    }
    return column;
}

static void join(Column *column, Column more)
{
    if (column->kind == CELL_NOTHING)
        *column = (Column){column->name, more.kind, more.width};
    else if (more.kind == CELL_NOTHING || (more.kind == column->kind && more.width == column->width))
        return;
    else if ((column->kind == CELL_INTEGER || column->kind == CELL_NUMBER) &&
             (more.kind == CELL_INTEGER || more.kind == CELL_NUMBER))
        column->kind = CELL_NUMBER;
    else
        column->kind = CELL_JSON;
}

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* The column's numbers (count, width); owned by the caller. */
static double *gather_numbers(const Column *column, json_t *const *rows, int64_t count)
{
    size_t width = column->kind == CELL_NUMBER ? 1 : column->width;
    double *numbers = ts_calloc((size_t)count * width + 1, sizeof *numbers);
    for (int64_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(rows[i], column->name);
        json_t *inner;
        const char *name;
        double *row = numbers + (size_t)i * width;
        size_t k = 0;
        if (column->kind == CELL_NUMBER) {
            *row = number_of(value);
            continue;
        }
        for (; json_is_array(value) && k < width; k++)
            row[k] = number_of(json_array_get(value, k));
        json_object_foreach((json_t *)value, name, inner) row[k++] = number_of(inner);
        for (; k < width; k++)
            row[k] = (double)NAN;
    }
    return numbers;
}

static herr_t write_dataset(hid_t file, const char *name, hid_t stored, hid_t type, hid_t space, const void *data)
{
    hid_t dataset = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    herr_t result = dataset < 0 ? -1 : H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
    return dataset >= 0 && H5Dclose(dataset) < 0 ? -1 : result;
}

static herr_t write_texts(hid_t file, const Column *column, json_t *const *rows, int64_t count, hid_t space)
{
    char **texts = ts_calloc((size_t)count + 1, sizeof *texts);
    for (int64_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(rows[i], column->name);
        char *dumped = json_is_string(value) || !value ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        texts[i] = ts_strdup(json_is_string(value) ? json_string_value(value) : dumped ? dumped : "");
        free(dumped); /* jansson's */
    }
    hid_t type = ts_hdf5_text_type();
    herr_t result = write_dataset(file, column->name, type, type, space, texts);
    H5Tclose(type);
    for (int64_t i = 0; i < count; i++)
        ts_free(texts[i]);
    ts_free(texts);
    return result;
}

/* The attribute "names" of a dataset of NAMED numbers. */
static herr_t write_names(hid_t file, const Column *column, const json_t *value)
{
    const char **names = ts_calloc(column->width + 1, sizeof *names);
    size_t k = 0;
    json_t *inner;
    json_object_foreach((json_t *)value, names[k], inner) k++;
    hsize_t size = column->width;
    hid_t type = ts_hdf5_text_type(), space = H5Screate_simple(1, &size, NULL);
    hid_t attribute =
        H5Acreate_by_name(file, column->name, "names", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    herr_t result = attribute < 0 ? -1 : H5Awrite(attribute, type, names);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    ts_free(names);
    return result;
}

static herr_t write_column(hid_t file, const Column *column, json_t *const *rows, int64_t count)
{
    bool wide = column->kind == CELL_NUMBERS || column->kind == CELL_NAMED;
    hsize_t size[2] = {(hsize_t)count, column->width};
    hid_t space = H5Screate_simple(wide ? 2 : 1, size, NULL);
    herr_t result;
    if (column->kind == CELL_INTEGER) {
        int64_t *numbers = ts_calloc((size_t)count + 1, sizeof *numbers);
        for (int64_t i = 0; i < count; i++)
            numbers[i] = json_integer_value(json_object_get(rows[i], column->name));
        result = write_dataset(file, column->name, H5T_STD_I64LE, H5T_NATIVE_INT64, space, numbers);
        ts_free(numbers);
    } else if (column->kind == CELL_NUMBER || wide) {
        double *numbers = gather_numbers(column, rows, count);
        result = write_dataset(file, column->name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, space, numbers);
        ts_free(numbers);
        if (result >= 0 && column->kind == CELL_NAMED && column->width)
            result = write_names(file, column, json_object_get(rows[0], column->name));
    } else {
        result = write_texts(file, column, rows, count, space);
    }
    H5Sclose(space);
    return result;
}

TsStatus ts_table_write_hdf5(const char *path, json_t *const *rows, int64_t count)
{
    const char *name;
    json_t *value;
    TsStatus status = TS_OK;
    ts_hdf5_quiet();
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (file < 0)
        return ts_hdf5_error(path, NULL, "be made");
    if (count > 0) {
        json_object_foreach(rows[0], name, value)
        {
            Column column = {.name = name};
            for (int64_t i = 0; i < count; i++)
                join(&column, look_at(json_object_get(rows[i], name)));
            if (column.kind == CELL_INTEGER && count > 1)
                for (int64_t i = 0; i < count; i++)
                    column.kind = json_is_null(json_object_get(rows[i], name)) ? CELL_NUMBER : column.kind;
            if (!status && write_column(file, &column, rows, count) < 0)
                status = ts_hdf5_error(path, name, "be written");
        }
    }
    if (H5Fclose(file) < 0 && !status)
        status = ts_hdf5_error(path, NULL, "be closed");
    return status;
}
