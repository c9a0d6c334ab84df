/* SPDX-License-Identifier: Apache-2.0
 *
 * Saving: the protocol, from the arrays to a committed checkpoint.
 */
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/version.h"
#include "ckpt/checkpoint.h"
#include "ckpt/commit.h"
#include "ckpt/directory.h"
#include "ckpt/durable.h"
#include "ckpt/root.h"
#include "ckpt/segments.h"
#include "ckpt/slab.h"
#include "ckpt/state_file.h"
#include "ckpt/verify.h"

struct TsCheckpointSaver {
    TsGroup *group; /* a duplicate, owned */
    char *root;     /* RUN/checkpoints, owned */
    char *config_hash;
    TsCheckpointSaverOptions options;
};

TsStatus ts_checkpoint_saver_create(TsCheckpointSaver **saver, TsGroup *group, const char *run_dir,
                                    TsCheckpointSaverOptions options)
{
    char *root = ts_directory_root(run_dir);
    TsStatus status = ts_root_status(group, ts_group_rank(group) == 0 ? ts_commit_prepare(root) : TS_OK);
    if (status) {
        ts_free(root);
        return status;
    }
    *saver = ts_alloc(sizeof **saver);
    **saver = (TsCheckpointSaver){.group = ts_group_duplicate(group, "checkpoint"),
                                  .root = root,
                                  .config_hash = options.config_hash ? ts_strdup(options.config_hash) : NULL,
                                  .options = options};
    return TS_OK;
}

void ts_checkpoint_saver_free(TsCheckpointSaver **saver)
{
    if (!*saver)
        return;
    ts_group_free(&(*saver)->group);
    ts_free((*saver)->root);
    ts_free((*saver)->config_hash);
    ts_free(*saver);
    *saver = NULL;
}

/* All ranks must save the same arrays: aborts where they do not. Collective. */
static void expect_same_arrays(TsGroup *group, int64_t step, const TsBatch *arrays)
{
    TsText text = {0};
    ts_text_append(&text, "%lld\n", (long long)step);
    for (int i = 0; i < ts_batch_count(arrays); i++) {
        const TsArray *array = ts_batch_array(arrays, i);
        TS_CHECK(!array->placement.partial, "%s is Partial: only what is whole can be saved", ts_batch_name(arrays, i));
        TS_CHECK(!array->mesh || ts_mesh_ranks(array->mesh) == ts_group_size(group),
                 "%s lies on a mesh of %d ranks, not of the %d that save", ts_batch_name(arrays, i),
                 ts_mesh_ranks(array->mesh), ts_group_size(group));
        ts_text_append(&text, "%s %s %s %s\n", ts_batch_name(arrays, i), ts_dtype_name(array->dtype),
                       ts_shape_text(array->shape).text, ts_placement_text(array->placement).text);
    }
    int64_t mine = ts_crc32c(0, text.data, text.size_bytes), root = mine;
    ts_text_free(&text);
    ts_root_integers(group, &root, 1);
    TS_CHECK(mine == root, "this rank saves other arrays than rank 0, or another step than %lld", (long long)step);
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

/* Writes what this rank owns of each array, and adds up its checksums. Not collective. */
static TsStatus write_owned(TsStateFile *file, TsManifest *manifest, const TsBatch *arrays, const TsGroup *group)
{
    for (int i = 0; i < manifest->count; i++) {
        const TsArray *array = ts_batch_array(arrays, i);
        TsBlockRange owned = ts_slab_owned(array, group);
        TS_TRY(ts_state_file_write(file, i, array->data, array->block, owned));
        ts_segments_add(manifest->arrays[i].crc, (TsSegmentPart){.dtype = array->dtype,
                                                                 .shape = array->shape,
                                                                 .block = array->block,
                                                                 .slab = owned,
                                                                 .data = array->data});
    }
    return TS_OK;
}

/* Writes the state file, and puts the checksums of the arrays into the manifest. Collective. */
static TsStatus write_state(TsGroup *group, TsManifest *manifest, const TsBatch *arrays, const char *state_path)
{
    TsStateFile *file;
    TS_TRY(ts_root_status(group, ts_group_rank(group) == 0 ? ts_state_file_make(state_path, manifest) : TS_OK));
    TS_TRY(ts_state_file_open(&file, group, state_path, manifest, true));
    TsStatus status = ts_comm_agree(group, write_owned(file, manifest, arrays, group));
    TsStatus closed = ts_state_file_close(&file);
    if (status) {
        ts_status_free(&closed);
        return status;
    }
    TS_TRY(closed);
    for (int i = 0; i < manifest->count; i++) {
        TsManifestArray *array = &manifest->arrays[i];
        ts_segments_reduce(group, array->crc, array->segments);
        ts_segments_finish(array->crc, array->dtype, array->shape);
    }
    return TS_OK;
}

/* Where the checkpoint comes from; owned by the caller. */
static json_t *provenance(const TsCheckpointSaver *saver, const TsBatch *arrays)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm parts;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "tessera", ts_version(), "commit", ts_version_commit(), "time",
                  stamp, "host", ts_log_host(), "ranks", ts_group_size(saver->group), "hdf5", ts_state_file_library());
    if (saver->config_hash)
        json_object_set_new(json, "config_hash", json_string(saver->config_hash));
    const TsMesh *mesh = NULL;
    for (int i = 0; !mesh && i < ts_batch_count(arrays); i++)
        mesh = ts_batch_array(arrays, i)->mesh;
    json_t *axes = json_object();
    for (int axis = TS_AXIS_STAGE; mesh && axis < TS_AXES; axis++)
        json_object_set_new(axes, ts_axis_name((TsAxis)axis), json_integer(ts_mesh_size(mesh, (TsAxis)axis)));
    json_object_set_new(json, "mesh", axes);
    return json;
}

/* Rank 0 commits what all have written. Collective. */
static TsStatus commit(const TsCheckpointSaver *saver, const TsManifest *manifest, const TsBatch *arrays)
{
    TsStatus status = TS_OK;
    if (ts_group_rank(saver->group) == 0) {
        json_t *origin = provenance(saver, arrays);
        char *text = ts_manifest_text(manifest, origin);
        status = ts_commit_finish(saver->root, manifest->step, text, strlen(text));
        ts_free(text);
        json_decref(origin);
        if (!status)
            ts_commit_prune(saver->root, manifest->step, saver->options.keep_latest);
    }
    return ts_root_status(saver->group, status);
}

/* From the temporary directory that rank 0 made to the commit. Collective. */
static TsStatus write_and_commit(const TsCheckpointSaver *saver, TsManifest *manifest, const TsBatch *arrays,
                                 const char *state_path)
{
    TS_TRY(write_state(saver->group, manifest, arrays, state_path));
    if (!saver->options.skip_verify)
        TS_TRY(ts_verify_state(saver->group, manifest, state_path));
    bool sync_here = ts_group_node_rank(saver->group) == 0; /* each node has pages of its own */
    TS_TRY(ts_comm_agree(saver->group, sync_here ? ts_durable_sync(state_path) : TS_OK));
    return commit(saver, manifest, arrays);
}

TsStatus ts_checkpoint_save(TsCheckpointSaver *saver, int64_t step, const TsBatch *arrays, const json_t *state)
{
    TS_CHECK(step >= 0, "step %lld", (long long)step);
    TS_CHECK(json_is_object(state), "the state of a checkpoint is a JSON object");
    expect_same_arrays(saver->group, step, arrays);
    bool root = ts_group_rank(saver->group) == 0;
    TsManifest *manifest = ts_manifest_create(step, arrays, state);
    TsStatus status =
        ts_root_status(saver->group, root ? ts_commit_begin(saver->root, step, needed_bytes(manifest)) : TS_OK);
    if (!status) {
        char *tmp = ts_directory_tmp_path(saver->root, step);
        char *state_path = ts_durable_join(tmp, TS_CHECKPOINT_STATE);
        status = write_and_commit(saver, manifest, arrays, state_path);
        if (status && root)
            ts_commit_discard(saver->root, step);
        ts_free(state_path);
        ts_free(tmp);
    }
    ts_manifest_free(&manifest);
    return ts_status_annotate(status, "checkpoint of step %lld not saved", (long long)step);
}
