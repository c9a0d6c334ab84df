/* SPDX-License-Identifier: Apache-2.0
 *
 * Saving: who does it. In the background, a thread writes a copy of the arrays while the caller goes on; one save at a
 * time.
 */
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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
#include "ckpt/hdf5_file.h"
#include "ckpt/parts.h"
#include "ckpt/root.h"
#include "ckpt/save.h"

struct TsCheckpointSaver {
    TsGroup *group; /* a duplicate, owned; the writer's while one runs */
    char *root;     /* RUN/checkpoints, owned */
    char *config_hash;
    TsGroup *part_group; /* of the ranks of one file; NULL: there is one file. Owned */
    TsCheckpointSaverOptions options;
    TsSnapshot snapshot;

    bool running; /* the thread has to be joined */
    pthread_t thread;
    TsPace pace;
    TsManifest *manifest; /* of the save under way, owned */
    TsStatus status;      /* what came of it */
    atomic_bool failed;
    int64_t committed_step; /* of the newest save that was waited for; -1: none */
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
    TsCheckpointSaver *made = ts_calloc(1, sizeof *made);
    made->group = ts_group_duplicate(group, "checkpoint");
    if (options.ranks_per_file > 0 && options.ranks_per_file < ts_group_size(group))
        made->part_group = ts_group_split(group, "checkpoint file", ts_group_rank(group) / options.ranks_per_file,
                                          ts_group_rank(group));
    made->root = root;
    made->config_hash = options.config_hash ? ts_strdup(options.config_hash) : NULL;
    made->options = options;
    made->committed_step = -1;
    ts_pace_init(&made->pace);
    *saver = made;
    return TS_OK;
}

void ts_checkpoint_saver_free(TsCheckpointSaver **saver)
{
    if (!*saver)
        return;
    TsStatus status = ts_checkpoint_saver_wait(*saver);
    if (status && ts_group_rank((*saver)->group) == 0) /* of all ranks; nobody else will say it */
        ts_log(TS_LOG_ERROR, "%s", ts_status_message(status));
    ts_status_free(&status);
    ts_group_free(&(*saver)->part_group);
    ts_group_free(&(*saver)->group);
    ts_snapshot_free(&(*saver)->snapshot);
    ts_pace_destroy(&(*saver)->pace);
    ts_free((*saver)->root);
    ts_free((*saver)->config_hash);
    ts_free(*saver);
    *saver = NULL;
}

/* ---- what is saved ---- */

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

/* Where the checkpoint comes from; owned by the caller. */
static json_t *provenance(const TsCheckpointSaver *saver, const TsBatch *arrays)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm parts;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "tessera", ts_version(), "commit", ts_version_commit(), "time",
                  stamp, "host", ts_log_host(), "ranks", ts_group_size(saver->group), "hdf5", ts_hdf5_library());
    if (saver->config_hash)
        json_object_set_new(json, "config_hash", json_string(saver->config_hash));
    int files = saver->part_group ? ts_parts_count(ts_group_size(saver->group), saver->options.ranks_per_file) : 1;
    json_object_set_new(json, "files", json_integer(files));
    json_object_set_new(json, "keep", ts_keep_json(&saver->options.keep));
    const TsMesh *mesh = NULL;
    for (int i = 0; !mesh && i < ts_batch_count(arrays); i++)
        mesh = ts_batch_array(arrays, i)->mesh;
    json_t *axes = json_object();
    for (int axis = TS_AXIS_STAGE; mesh && axis < TS_AXES; axis++)
        json_object_set_new(axes, ts_axis_name((TsAxis)axis), json_integer(ts_mesh_size(mesh, (TsAxis)axis)));
    json_object_set_new(json, "mesh", axes);
    return json;
}

/* ---- the thread ---- */

static TsStatus run(TsCheckpointSaver *saver, TsPace *pace)
{
    return ts_save_run(&(TsSave){.group = saver->group,
                                 .root = saver->root,
                                 .manifest = saver->manifest,
                                 .snapshot = &saver->snapshot,
                                 .keep = &saver->options.keep,
                                 .skip_verify = saver->options.skip_verify,
                                 .part_group = saver->part_group,
                                 .ranks_per_file = saver->options.ranks_per_file,
                                 .pace = pace});
}

static void *run_in_background(void *argument)
{
    TsCheckpointSaver *saver = argument;
    saver->status = run(saver, &saver->pace);
    atomic_store(&saver->failed, saver->status != TS_OK);
    return NULL;
}

static void start(TsCheckpointSaver *saver)
{
    sigset_t all, before;
    ts_pace_begin(&saver->pace);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int failure = pthread_create(&saver->thread, NULL, run_in_background, saver);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    TS_CHECK(failure == 0, "no thread to write checkpoints: %s", strerror(failure));
    saver->running = true;
}

/* The save that was under way is over. */
static TsStatus conclude(TsCheckpointSaver *saver)
{
    TsStatus status = saver->status;
    if (!status)
        saver->committed_step = saver->manifest->step;
    ts_manifest_free(&saver->manifest);
    saver->status = TS_OK;
    atomic_store(&saver->failed, false);
    return status;
}

TsStatus ts_checkpoint_save(TsCheckpointSaver *saver, int64_t step, const TsBatch *arrays, const json_t *state)
{
    TS_CHECK(step >= 0, "step %lld", (long long)step);
    TS_CHECK(json_is_object(state), "the state of a checkpoint is a JSON object");
    TS_TRY(ts_checkpoint_saver_wait(saver));
    expect_same_arrays(saver->group, step, arrays);
    saver->manifest = ts_manifest_create(step, arrays, state);
    saver->manifest->provenance = provenance(saver, arrays);
    if (saver->options.asynchronous) {
        ts_snapshot_copy(&saver->snapshot, arrays, saver->group);
        start(saver);
        return TS_OK;
    }
    ts_snapshot_lend(&saver->snapshot, arrays, saver->group);
    saver->status = run(saver, NULL);
    return conclude(saver);
}

bool ts_checkpoint_saver_failed(const TsCheckpointSaver *saver)
{
    return atomic_load(&saver->failed);
}

TsStatus ts_checkpoint_saver_wait(TsCheckpointSaver *saver)
{
    if (!saver->running)
        return TS_OK;
    ts_pace_hurry(&saver->pace);
    int failure = pthread_join(saver->thread, NULL);
    TS_CHECK(failure == 0, "the thread that writes checkpoints cannot be joined: %s", strerror(failure));
    saver->running = false;
    return conclude(saver);
}

int64_t ts_checkpoint_saver_step(const TsCheckpointSaver *saver)
{
    return saver->committed_step;
}
