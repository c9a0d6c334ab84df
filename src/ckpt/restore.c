/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/restore.h"

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/segments.h"
#include "ckpt/slab.h"
#include "ckpt/state_file.h"

enum { NAMES_LISTED = 20 };

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

static void compare_one(Names *different, const TsManifestArray *saved, const TsArray *array)
{
    if (ts_shape_equal(saved->shape, array->shape) && saved->dtype == array->dtype)
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
            compare_one(&different, &manifest->arrays[saved], ts_batch_array(arrays, i));
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

/* Reads this rank's blocks, and adds up their checksums. Not collective. */
static TsStatus read_blocks(TsStateFile *file, uint32_t *sums, const TsManifest *manifest, const TsBatch *arrays)
{
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        TsArray *array = ts_batch_array(arrays, i);
        if (holds_copy(array)) {
            int saved = ts_manifest_find(manifest, ts_batch_name(arrays, i));
            TS_TRY(ts_state_file_read(file, saved, array->data, array->block, array->block));
            ts_segments_add(sums, (TsSegmentPart){.dtype = array->dtype,
                                                  .shape = array->shape,
                                                  .block = array->block,
                                                  .slab = array->block,
                                                  .data = array->data});
        }
        sums += ts_manifest_segments(array->dtype, array->shape);
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
        int64_t segments = ts_manifest_segments(array->dtype, array->shape);
        if (holds_copy(array)) {
            TsGroup *group = copy_group(array);
            if (group)
                ts_segments_reduce(group, sums, segments);
            ts_segments_finish(sums, array->dtype, array->shape);
            if (!status)
                status = ts_segments_compare(
                    sums, &manifest->arrays[ts_manifest_find(manifest, ts_batch_name(arrays, i))], state_path);
        }
        sums += segments;
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
        segments += ts_manifest_segments(array->dtype, array->shape);
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
