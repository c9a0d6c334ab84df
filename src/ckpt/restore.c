/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/restore.h"

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/convert.h"
#include "ckpt/segments.h"
#include "ckpt/slab.h"
#include "ckpt/state_file.h"

enum { NAMES_LISTED = 20 };

/* Read and added to the checksums at once: it is in the processor's cache when it is read again. */
static const int64_t piece_bytes = 8 << 20;

/* A list of names in a message, cut where it gets long. */
typedef struct Names {
    const char *title;
    TsText text;
    int count;
} Names;

static void add_name(Names *names, const char *name)
{
    if (names->count++ < NAMES_LISTED)
        ts_text_append(&names->text, "%s%s", names->count > 1 ? ", " : names->title, name);
}

/* Appends the list to a message, and frees it. */
static void append_names(TsText *message, Names *names)
{
    if (names->count > 0)
        ts_text_append(message, "%s%s", message->size_bytes ? "; " : "", names->text.data);
    if (names->count > NAMES_LISTED)
        ts_text_append(message, " and %d more", names->count - NAMES_LISTED);
    ts_text_free(&names->text);
}

static void compare_one(Names *different, const TsManifestArray *saved, const TsArray *array, bool cast)
{
    bool same_dtype = saved->dtype == array->dtype || (cast && ts_convert_allowed(array->dtype, saved->dtype));
    if (ts_shape_equal(saved->shape, array->shape) && same_dtype)
        return;
    char *words =
        ts_format("%s is %s %s there and %s %s here", saved->name, ts_dtype_name(saved->dtype),
                  ts_shape_text(saved->shape).text, ts_dtype_name(array->dtype), ts_shape_text(array->shape).text);
    add_name(different, words);
    ts_free(words);
}

TsStatus ts_restore_compare(const TsManifest *manifest, const TsBatch *arrays, TsRestoreOptions options,
                            const char *path)
{
    Names missing = {.title = "it lacks "}, unused = {.title = "nobody asks for its "}, different = {.title = ""};
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        int saved = ts_manifest_find(manifest, ts_batch_name(arrays, i));
        if (saved >= 0)
            compare_one(&different, &manifest->arrays[saved], ts_batch_array(arrays, i), options.cast);
        else
            add_name(&missing, ts_batch_name(arrays, i));
    }
    for (int i = 0; !options.allow_unused && i < manifest->count; i++)
        if (!ts_batch_find(arrays, manifest->arrays[i].name))
            add_name(&unused, manifest->arrays[i].name);
    TsText message = {0};
    append_names(&message, &missing);
    append_names(&message, &unused);
    append_names(&message, &different);
    TsStatus status =
        message.size_bytes ? ts_status_error(TS_CODE_INVALID, "%s: does not fit: %s", path, message.data) : TS_OK;
    ts_text_free(&message);
    return status;
}

/* The group that holds one copy of the array together; NULL where this rank holds it alone, or nothing. */
static TsGroup *copy_group(const TsArray *array)
{
    return array->mesh ? ts_mesh_group(array->mesh, ts_placement_axes(array->placement)) : NULL;
}

/* Whether this rank's group holds a copy at all: not where the array is pinned to elsewhere. */
static bool holds_copy(const TsArray *array)
{
    TsAxis pinned = (TsAxis)array->placement.at_axis;
    return !array->mesh || pinned == TS_AXIS_NONE || ts_mesh_coord(array->mesh, pinned) == array->placement.at_coord;
}

/* What is read, added to the checksums and converted, one piece at a time. */
typedef struct Reader {
    TsStateFile *file;
    const TsManifestArray *saved;
    int index; /* of `saved` */
    TsArray *array;
    uint32_t *sums;
    void *buffer; /* of piece_bytes; NULL: straight into the array */
} Reader;

/* Puts a piece from the buffer where it belongs in the array's block, a row of its last dim at a time. */
static void convert_piece(const Reader *reader, TsBlockRange piece)
{
    TsArray *array = reader->array;
    int dims = array->shape.dims;
    int64_t row_elems = dims ? piece.shape.size[dims - 1] : 1, rows = ts_shape_elems(piece.shape) / row_elems;
    for (int64_t row = 0; row < rows; row++) {
        int64_t rest = row, at = dims ? piece.first[dims - 1] - array->block.first[dims - 1] : 0;
        int64_t stride = dims ? array->block.shape.size[dims - 1] : 1;
        for (int d = dims - 2; d >= 0; d--) {
            at += (piece.first[d] - array->block.first[d] + rest % piece.shape.size[d]) * stride;
            rest /= piece.shape.size[d];
            stride *= array->block.shape.size[d];
        }
        ts_convert((char *)array->data + (size_t)at * ts_dtype_bytes(array->dtype), array->dtype,
                   (const char *)reader->buffer + (size_t)(row * row_elems) * ts_dtype_bytes(reader->saved->dtype),
                   reader->saved->dtype, row_elems);
    }
}

static TsStatus read_piece(TsBlockRange piece, void *context)
{
    const Reader *reader = context;
    void *data = reader->buffer ? reader->buffer : reader->array->data;
    TsBlockRange block = reader->buffer ? piece : reader->array->block;
    TS_TRY(ts_state_file_read(reader->file, reader->index, data, block, piece));
    ts_segments_add(
        reader->sums,
        (TsSegmentPart){
            .dtype = reader->saved->dtype, .shape = reader->saved->shape, .block = block, .slab = piece, .data = data});
    if (reader->buffer)
        convert_piece(reader, piece);
    return TS_OK;
}

/* Reads this rank's block of one array, and adds up its checksums. */
static TsStatus read_block(TsStateFile *file, uint32_t *sums, const TsManifest *manifest, int saved, TsArray *array)
{
    Reader reader = {.file = file, .saved = &manifest->arrays[saved], .index = saved, .array = array, .sums = sums};
    if (reader.saved->dtype != array->dtype)
        reader.buffer = ts_alloc((size_t)piece_bytes);
    TsStatus status =
        ts_slab_pieces(array->block, piece_bytes / (int64_t)ts_dtype_bytes(reader.saved->dtype), read_piece, &reader);
    ts_free(reader.buffer);
    return status;
}

/* Reads this rank's blocks, and adds up their checksums. Not collective. */
static TsStatus read_blocks(TsStateFile *file, uint32_t *sums, const TsManifest *manifest, const TsBatch *arrays)
{
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        TsArray *array = ts_batch_array(arrays, i);
        int saved = ts_manifest_find(manifest, ts_batch_name(arrays, i));
        if (holds_copy(array))
            TS_TRY(read_block(file, sums, manifest, saved, array));
        sums += manifest->arrays[saved].segments;
    }
    return TS_OK;
}

/* Compares each copy of each array. Collective on the meshes; the status is this rank's own. */
static TsStatus compare_copies(uint32_t *sums, const TsManifest *manifest, const TsBatch *arrays,
                               const char *state_path)
{
    TsStatus status = TS_OK;
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        const TsArray *array = ts_batch_array(arrays, i);
        const TsManifestArray *saved = &manifest->arrays[ts_manifest_find(manifest, ts_batch_name(arrays, i))];
        if (holds_copy(array)) {
            TsGroup *group = copy_group(array);
            if (group)
                ts_segments_reduce(group, sums, saved->segments);
            ts_segments_finish(sums, saved->dtype, saved->shape);
            if (!status)
                status = ts_segments_compare(sums, saved, state_path);
        }
        sums += saved->segments;
    }
    return status;
}

/* Collective. */
static TsStatus read_open_file(TsStateFile *file, TsGroup *group, const TsManifest *manifest, const TsBatch *arrays,
                               const char *state_path)
{
    int64_t segments = 0;
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        const TsArray *array = ts_batch_array(arrays, i);
        TS_CHECK(!array->placement.partial, "%s is Partial: it cannot be restored", ts_batch_name(arrays, i));
        segments += manifest->arrays[ts_manifest_find(manifest, ts_batch_name(arrays, i))].segments;
    }
    uint32_t *sums = ts_calloc((size_t)segments, sizeof *sums);
    TsStatus status = ts_comm_agree(group, read_blocks(file, sums, manifest, arrays));
    if (!status)
        status = ts_comm_agree(group, compare_copies(sums, manifest, arrays, state_path));
    ts_free(sums);
    return status;
}

TsStatus ts_restore_read(TsGroup *group, const TsManifest *manifest, const TsBatch *arrays, const char *state_path)
{
    TsStateFile *file;
    TS_TRY(ts_state_file_open(&file, group, state_path, manifest, false));
    TsStatus status = read_open_file(file, group, manifest, arrays, state_path);
    TsStatus closed = ts_state_file_close(&file);
    if (status)
        ts_status_free(&closed);
    return status ? status : closed;
}
