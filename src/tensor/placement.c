/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/placement.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

const TsPlacement ts_replicated = {0};

TsPlacement ts_shard(TsPlacement placement, int dim, TsAxis axis)
{
    TS_CHECK(dim >= 0 && dim < TS_MAX_DIMS && axis > TS_AXIS_NONE && axis < TS_AXES, "shard: dim %d, axis %d", dim,
             (int)axis);
    TS_CHECK(!((ts_placement_axes(placement) | placement.partial) & TS_AXIS_BIT(axis)),
             "shard: axis %s is used already in \"%s\"", ts_axis_name(axis), ts_placement_text(placement).text);
    int count = 0;
    while (placement.axis[dim][count])
        count++;
    placement.axis[dim][count] = (uint8_t)axis;
    return placement;
}

TsPlacement ts_partial(TsPlacement placement, TsAxisSet axes)
{
    TS_CHECK(!(ts_placement_axes(placement) & axes), "partial: an axis is used already in \"%s\"",
             ts_placement_text(placement).text);
    placement.partial |= axes;
    return placement;
}

bool ts_placement_equal(TsPlacement a, TsPlacement b)
{
    if (a.partial != b.partial || a.at_axis != b.at_axis || (a.at_axis && a.at_coord != b.at_coord) ||
        (a.partial && a.reduction != b.reduction))
        return false;
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0; k < TS_AXES && (a.axis[d][k] || b.axis[d][k]); k++)
            if (a.axis[d][k] != b.axis[d][k])
                return false;
    return true;
}

TsAxisSet ts_placement_axes_of(TsPlacement placement, int dim)
{
    TsAxisSet axes = 0;
    for (int k = 0; k < TS_AXES && placement.axis[dim][k]; k++)
        axes |= TS_AXIS_BIT(placement.axis[dim][k]);
    return axes;
}

TsAxisSet ts_placement_axes(TsPlacement placement)
{
    TsAxisSet axes = 0;
    for (int d = 0; d < TS_MAX_DIMS; d++)
        axes |= ts_placement_axes_of(placement, d);
    return axes;
}

TsPlacement ts_placement_simplify(TsPlacement placement, TsMeshShape mesh_shape)
{
    TsPlacement simple = {.partial = 0};
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0, count = 0; k < TS_AXES && placement.axis[d][k]; k++)
            if (mesh_shape.size[placement.axis[d][k]] > 1)
                simple.axis[d][count++] = placement.axis[d][k];
    for (int axis = 1; axis < TS_AXES; axis++)
        if (mesh_shape.size[axis] > 1)
            simple.partial |= placement.partial & TS_AXIS_BIT(axis);
    if (simple.partial)
        simple.reduction = placement.reduction;
    if (placement.at_axis && mesh_shape.size[placement.at_axis] > 1) {
        simple.at_axis = placement.at_axis;
        simple.at_coord = placement.at_coord;
    }
    return simple;
}

static int64_t cut(int64_t size, int part, int parts)
{
    return (int64_t)((__int128)size * part / parts);
}

TsBlockRange ts_placement_block(TsPlacement placement, TsShape shape, TsMeshShape mesh_shape, const int *coord)
{
    TsBlockRange block = {.shape = shape};
    for (int d = 0; d < shape.dims; d++)
        for (int k = 0; k < TS_AXES && placement.axis[d][k]; k++) {
            int axis = placement.axis[d][k], parts = mesh_shape.size[axis];
            if (parts <= 1)
                continue;
            int64_t size = block.shape.size[d], begin = cut(size, coord[axis], parts);
            block.shape.size[d] = cut(size, coord[axis] + 1, parts) - begin;
            block.first[d] += begin;
        }
    if (placement.at_axis && mesh_shape.size[placement.at_axis] > 1 && coord[placement.at_axis] != placement.at_coord)
        for (int d = 0; d < shape.dims; d++)
            block.shape.size[d] = 0;
    return block;
}

TsBlockRange ts_placement_local(TsPlacement placement, TsShape shape, const TsMesh *mesh)
{
    if (!mesh)
        return (TsBlockRange){.shape = shape};
    int coord[TS_AXES] = {0};
    for (int axis = 1; axis < TS_AXES; axis++)
        coord[axis] = ts_mesh_coord(mesh, (TsAxis)axis);
    return ts_placement_block(placement, shape, ts_mesh_shape(mesh), coord);
}

/* Appends to `out`, which holds `*length` characters. Every placement fits: each axis occurs once. */
static void TS_PRINTF(3, 4) append(TsPlacementText *out, size_t *length, const char *format, ...)
{
    if (*length >= sizeof out->text)
        return;
    va_list arguments;
    va_start(arguments, format);
    *length += (size_t)vsnprintf(out->text + *length, sizeof out->text - *length, format, arguments);
    va_end(arguments);
}

TsPlacementText ts_placement_text(TsPlacement placement)
{
    TsPlacementText out = {""};
    size_t length = 0;
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0; k < TS_AXES && placement.axis[d][k]; k++) {
            if (!k)
                append(&out, &length, "%s%d: ", length ? "; " : "", d);
            append(&out, &length, "%s%s", k ? ", " : "", ts_axis_name((TsAxis)placement.axis[d][k]));
        }
    bool first = true;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (placement.partial & TS_AXIS_BIT(axis)) {
            if (first)
                append(&out, &length, "%s%s: ", length ? "; " : "",
                       placement.reduction == TS_MAX   ? "partial max"
                       : placement.reduction == TS_MIN ? "partial min"
                                                       : "partial");
            append(&out, &length, "%s%s", first ? "" : ", ", ts_axis_name((TsAxis)axis));
            first = false;
        }
    if (placement.at_axis)
        append(&out, &length, "%sat: %s %d", length ? "; " : "", ts_axis_name((TsAxis)placement.at_axis),
               placement.at_coord);
    if (!length)
        append(&out, &length, "replicated");
    return out;
}

/* The text in front of us while a placement is read. */
typedef struct Reader {
    const char *at;
    char word[24]; /* the last word read, of letters and digits; empty at anything else */
} Reader;

static const char *next_word(Reader *reader)
{
    size_t length = 0;
    while (isspace((unsigned char)*reader->at))
        reader->at++;
    while (isalnum((unsigned char)*reader->at) && length + 1 < sizeof reader->word)
        reader->word[length++] = *reader->at++;
    reader->word[length] = '\0';
    while (isspace((unsigned char)*reader->at))
        reader->at++;
    return reader->word;
}

static bool accept(Reader *reader, char symbol)
{
    if (*reader->at != symbol)
        return false;
    reader->at++;
    return true;
}

/* axis {, axis}: each through `take`. */
static TsStatus read_axes(Reader *reader, TsPlacement *placement, int dim)
{
    do {
        TsAxis axis = ts_axis_from_name(next_word(reader));
        if (axis == TS_AXIS_NONE)
            return ts_status_error(TS_CODE_INVALID,
                                   "\"%s\" is not a mesh axis: expected stage, data, expert, seq or model",
                                   *reader->word ? reader->word : reader->at);
        if ((ts_placement_axes(*placement) | placement->partial) & TS_AXIS_BIT(axis))
            return ts_status_error(TS_CODE_INVALID, "axis %s occurs twice", ts_axis_name(axis));
        *placement = dim < 0 ? ts_partial(*placement, TS_AXIS_BIT(axis)) : ts_shard(*placement, dim, axis);
    } while (accept(reader, ','));
    return TS_OK;
}

static TsStatus read_at(Reader *reader, TsPlacement *placement)
{
    TsAxis axis = ts_axis_from_name(next_word(reader));
    if (axis == TS_AXIS_NONE)
        return ts_status_error(TS_CODE_INVALID, "\"%s\" is not a mesh axis", reader->word);
    const char *word = next_word(reader);
    char *end;
    long coord = strtol(word, &end, 10);
    if (!*word || *end || coord > INT16_MAX)
        return ts_status_error(TS_CODE_INVALID, "\"%s\" is not a coordinate: expected \"at: stage 2\"", word);
    placement->at_axis = (uint8_t)axis;
    placement->at_coord = (int16_t)coord;
    return TS_OK;
}

/* One of "DIM: axes", "partial [max|min]: axes", "at: axis coordinate". */
static TsStatus read_item(Reader *reader, TsPlacement *placement, int dims)
{
    char subject[sizeof reader->word];
    int dim = -1;
    memcpy(subject, next_word(reader), sizeof subject);
    if (!strcmp(subject, "partial")) {
        if (*reader->at != ':') {
            const char *reduction = next_word(reader);
            if (strcmp(reduction, "max") && strcmp(reduction, "min"))
                return ts_status_error(TS_CODE_INVALID, "\"%s\" is not a reduction: expected max or min", reduction);
            placement->reduction = strcmp(reduction, "max") ? TS_MIN : TS_MAX;
        }
    } else if (strcmp(subject, "at")) {
        char *end;
        long number = strtol(subject, &end, 10);
        if (!*subject || *end || number >= dims)
            return ts_status_error(TS_CODE_INVALID, "\"%s\" is not a dim: expected 0 to %d, partial or at",
                                   *subject ? subject : reader->at, dims - 1);
        dim = (int)number;
        if (placement->axis[dim][0])
            return ts_status_error(TS_CODE_INVALID, "dim %d occurs twice", dim);
    }
    if (!accept(reader, ':'))
        return ts_status_error(TS_CODE_INVALID, "expected \":\" after \"%s\", found \"%s\"", subject, reader->at);
    return strcmp(subject, "at") ? read_axes(reader, placement, dim) : read_at(reader, placement);
}

TsStatus ts_placement_parse(TsPlacement *placement, const char *text, int dims)
{
    Reader reader = {.at = text};
    TsPlacement read = ts_replicated;
    TsStatus status = TS_OK;
    if (strcmp(next_word(&reader), "replicated") || *reader.at) {
        reader.at = text;
        do
            status = read_item(&reader, &read, dims);
        while (!status && accept(&reader, ';'));
        if (!status && *reader.at)
            status = ts_status_error(TS_CODE_INVALID, "\"%s\" is not understood", reader.at);
    }
    if (status)
        return ts_status_annotate(status, "placement \"%s\"", text);
    *placement = read;
    return TS_OK;
}
