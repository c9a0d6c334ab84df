/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/save.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "ckpt/commit.h"
#include "ckpt/directory.h"
#include "ckpt/hdf5_file.h"
#include "ckpt/root.h"
#include "ckpt/slab.h"
#include "ckpt/state_file.h"
#include "ckpt/verify.h"

/* Added to the checksums and written at once: it is in the processor's cache when it is read again. */
static const int64_t piece_bytes = 1 << 20;

static bool is_root(const TsSave *save)
{
    return ts_group_rank(save->group) == 0;
}

/* Makes a status that is each rank's own the same on all. Collective. */
static TsStatus agree(const TsSave *save, TsStatus status)
{
    ts_pace_meet(save->pace, save->group);
    return ts_comm_agree(save->group, status);
}

/* Makes rank 0's status that of all. Collective. */
static TsStatus agree_with_root(const TsSave *save, TsStatus status)
{
    ts_pace_meet(save->pace, save->group);
    return ts_root_status(save->group, status);
}

/* Bytes that the file system must have left: the arrays, each at a multiple of 1 MiB, and what describes them. */
static int64_t needed_bytes(const TsManifest *manifest)
{
    int64_t bytes = 1 << 20;
    for (int i = 0; i < manifest->count; i++)
        bytes += ts_shape_elems(manifest->arrays[i].shape) * (int64_t)ts_dtype_bytes(manifest->arrays[i].dtype) +
                 (int64_t)strlen(manifest->arrays[i].name) + 1024;
    return bytes;
}

/* ---- the arrays ---- */

/* One array on its way. */
typedef struct Writer {
    const TsSave *save;
    TsStateFile *file;
    int index;   /* of the array */
    int dataset; /* in the file */
    bool whole;  /* the dataset is the array, and not what this rank writes of it */
} Writer;

/* Writes a piece into a dataset that begins where this rank's slab does. */
static TsStatus write_rebased(const Writer *writer, const TsSegmentPart *part)
{
    const int64_t *origin = writer->save->snapshot->parts[writer->index].slab.first;
    TsBlockRange block = part->block, piece = part->slab;
    for (int d = 0; d < piece.shape.dims; d++) {
        block.first[d] -= origin[d];
        piece.first[d] -= origin[d];
    }
    return ts_state_file_write(writer->file, writer->dataset, part->data, block, piece);
}

static TsStatus write_piece(TsBlockRange piece, void *context)
{
    const Writer *writer = context;
    TsSegmentPart part = writer->save->snapshot->parts[writer->index];
    part.slab = piece;
    ts_segments_add(writer->save->manifest->arrays[writer->index].crc, part);
    TsStatus status = writer->whole ? ts_state_file_write(writer->file, writer->dataset, part.data, part.block, piece)
                                    : write_rebased(writer, &part);
    ts_pace_rest(writer->save->pace);
    return status;
}

/* The dataset of array `index` that this rank fills, in a part file; -1 where the array stands in the view itself. */
static int dataset_of(const TsSave *save, const TsManifest *part, int index)
{
    char *name = ts_parts_dataset(save->manifest->arrays[index].name, ts_group_rank(save->group));
    int found = ts_manifest_find(part, name);
    ts_free(name);
    return found;
}

/* Writes what this rank owns of each array, and adds up its checksums. `part` describes the file; NULL: it is the whole
 * state. Not collective. */
static TsStatus write_owned(const TsSave *save, TsStateFile *file, const TsManifest *part)
{
    for (int i = 0; i < save->snapshot->count; i++) {
        const TsSegmentPart *owned = &save->snapshot->parts[i];
        int dataset = part && !ts_slab_empty(owned->slab) ? dataset_of(save, part, i) : i;
        Writer writer = {.save = save, .file = file, .index = i, .dataset = dataset, .whole = !part};
        if (dataset < 0) { /* a scalar */
            ts_segments_add(save->manifest->arrays[i].crc, *owned);
            continue;
        }
        TS_TRY(ts_slab_pieces(owned->slab, piece_bytes / (int64_t)ts_dtype_bytes(owned->dtype), write_piece, &writer));
    }
    return TS_OK;
}

/* Puts the ranks' shares of the checksums together. Collective. */
static void finish_checksums(const TsSave *save)
{
    for (int i = 0; i < save->manifest->count; i++) {
        TsManifestArray *array = &save->manifest->arrays[i];
        ts_segments_reduce(save->group, array->crc, array->segments);
        ts_segments_finish(array->crc, array->dtype, array->shape);
    }
}

/* Writes what this rank owns, makes it last, and closes the file. Not collective. */
static TsStatus fill(const TsSave *save, TsStateFile **file, const TsManifest *part)
{
    TsStatus status = write_owned(save, *file, part);
    if (!status)
        status = ts_state_file_sync(*file);
    ts_state_file_close(file);
    return status;
}

/* Writes the state file, and puts the checksums of the arrays into the manifest. Collective. */
static TsStatus write_state(const TsSave *save, const char *state_path)
{
    TsStateFile *file;
    TS_TRY(agree_with_root(save, is_root(save) ? ts_hdf5_make(state_path, save->manifest) : TS_OK));
    TS_TRY(ts_state_file_open(&file, save->group, state_path, save->manifest, true));
    TS_TRY(agree(save, fill(save, &file, NULL)));
    finish_checksums(save);
    return TS_OK;
}

/* Rank 0 of each file's group makes it, and its group fills it. Collective. */
static TsStatus write_part(const TsSave *save, const TsParts *parts, const char *dir)
{
    int part = ts_group_rank(save->group) / save->ranks_per_file;
    char *name = ts_parts_file_name(part), *path = ts_file_join(dir, name);
    TsManifest *manifest = ts_parts_manifest(parts, save->manifest, part);
    bool makes = ts_group_rank(save->part_group) == 0;
    TsStateFile *file = NULL;
    TsStatus status = agree(save, makes ? ts_hdf5_make(path, manifest) : TS_OK);
    if (!status)
        status = ts_comm_agree(save->group, ts_state_file_open(&file, save->part_group, path, manifest, true));
    if (!status)
        status = agree(save, fill(save, &file, manifest));
    ts_state_file_close(&file);
    ts_manifest_free(&manifest);
    ts_free(path);
    ts_free(name);
    return status;
}

/* The view of the parts, on disk. */
static TsStatus make_view(const TsSave *save, const char *state_path, const TsParts *parts)
{
    TsStatus status = ts_hdf5_make_view(state_path, save->manifest, parts);
    return status ? status : ts_file_sync(state_path);
}

/* Writes the parts, their view, and the checksums of the arrays. Collective. */
static TsStatus write_parts(const TsSave *save, const char *dir, const char *state_path)
{
    ts_pace_meet(save->pace, save->group);
    TsParts *parts = ts_parts_gather(save->group, save->snapshot, save->ranks_per_file);
    TsStatus status = write_part(save, parts, dir);
    if (!status)
        status = agree_with_root(save, is_root(save) ? make_view(save, state_path, parts) : TS_OK);
    ts_parts_free(&parts);
    if (!status)
        finish_checksums(save);
    return status;
}

/* ---- the commit ---- */

/* Rank 0 commits what all have written. Collective. */
static TsStatus commit(const TsSave *save, const char *lengths)
{
    TsStatus status = TS_OK;
    if (is_root(save)) {
        char *text = ts_manifest_text(save->manifest);
        status = ts_commit_finish(save->root, save->manifest->step, text, strlen(text), lengths);
        ts_free(text);
        if (!status)
            ts_keep_prune(save->root, save->manifest->step, save->keep);
    }
    return agree_with_root(save, status);
}

/* Verifies and commits what was written, which is as long as `lengths` says (on rank 0). Collective. */
static TsStatus verify_and_commit(const TsSave *save, const char *state_path, const char *lengths)
{
    if (!save->skip_verify)
        TS_TRY(ts_verify_state(save->group, save->manifest, state_path, save->pace));
    return commit(save, lengths);
}

/* From the temporary directory that rank 0 made to the commit. Collective. */
static TsStatus write_and_commit(const TsSave *save, const char *tmp, const char *state_path)
{
    TS_TRY(save->part_group ? write_parts(save, tmp, state_path) : write_state(save, state_path));
    int parts = save->part_group ? ts_parts_count(ts_group_size(save->group), save->ranks_per_file) : 0;
    char *lengths = NULL;
    TsStatus status = agree_with_root(save, is_root(save) ? ts_commit_measure(&lengths, tmp, parts) : TS_OK);
    if (!status)
        status = verify_and_commit(save, state_path, lengths);
    ts_free(lengths);
    return status;
}

TsStatus ts_save_run(const TsSave *save)
{
    int64_t step = save->manifest->step;
    TsStatus status =
        agree_with_root(save, is_root(save) ? ts_commit_begin(save->root, step, needed_bytes(save->manifest)) : TS_OK);
    if (!status) {
        char *tmp = ts_directory_tmp_path(save->root, step);
        char *state_path = ts_file_join(tmp, TS_CHECKPOINT_STATE);
        status = write_and_commit(save, tmp, state_path);
        if (status && is_root(save))
            ts_commit_discard(save->root, step);
        ts_free(state_path);
        ts_free(tmp);
    }
    return ts_status_annotate(status, "checkpoint of step %lld not saved", (long long)step);
}
