/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/checkpoint.h"

#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ckpt/commit.h"
#include "ckpt/damage.h"
#include "ckpt/directory.h"
#include "ckpt/restore.h"
#include "ckpt/root.h"
#include "ckpt/verify.h"

struct TsCheckpoint {
    TsGroup *group; /* a duplicate, owned */
    char *path, *state_path;
    TsManifest *manifest;
};

/* Rank 0 reads the manifest, all parse it. Collective. */
static TsStatus read_manifest(TsManifest **manifest, TsGroup *group, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    TS_TRY(ts_root_status(group, ts_group_rank(group) == 0 ? ts_commit_read(&text, &bytes, path) : TS_OK));
    ts_root_text(group, &text, &bytes);
    char *manifest_path = ts_file_join(path, TS_CHECKPOINT_MANIFEST);
    TsStatus status = ts_manifest_parse(manifest, text, bytes, manifest_path);
    ts_free(manifest_path);
    ts_free(text);
    return status; /* of the same text everywhere */
}

TsStatus ts_checkpoint_open(TsCheckpoint **checkpoint, TsGroup *group, const char *path)
{
    TsManifest *manifest;
    TS_TRY(read_manifest(&manifest, group, path));
    *checkpoint = ts_alloc(sizeof **checkpoint);
    **checkpoint = (TsCheckpoint){.group = ts_group_duplicate(group, "checkpoint"),
                                  .path = ts_strdup(path),
                                  .state_path = ts_file_join(path, TS_CHECKPOINT_STATE),
                                  .manifest = manifest};
    return TS_OK;
}

void ts_checkpoint_close(TsCheckpoint **checkpoint)
{
    if (!*checkpoint)
        return;
    ts_group_free(&(*checkpoint)->group);
    ts_manifest_free(&(*checkpoint)->manifest);
    ts_free((*checkpoint)->path);
    ts_free((*checkpoint)->state_path);
    ts_free(*checkpoint);
    *checkpoint = NULL;
}

/* The steps of a run that have a directory, newest first, on all ranks; owned by the caller. Collective. */
static TsStatus list_steps(int64_t **steps, int64_t *count, TsGroup *group, const char *root)
{
    *steps = NULL;
    *count = 0;
    TS_TRY(ts_root_status(group, ts_group_rank(group) == 0 ? ts_directory_list(steps, count, root, false) : TS_OK));
    ts_root_integers(group, count, 1);
    if (!*steps)
        *steps = ts_calloc((size_t)*count, sizeof **steps);
    ts_root_integers(group, *steps, *count);
    return TS_OK;
}

/* What is asked of the newest checkpoint: to verify, or to fill arrays while it does. */
typedef struct Wish {
    TsGroup *group;
    const TsBatch *arrays; /* NULL: only to verify */
    TsRestoreOptions options;
} Wish;

/* Fails where the checkpoint is known to be damaged; says why. Collective. */
static TsStatus expect_undamaged(TsGroup *group, const char *path)
{
    char *reason = NULL;
    TsStatus status = TS_OK;
    if (ts_group_rank(group) == 0 && ts_damage_known(&reason, path))
        status = ts_status_error(TS_CODE_CORRUPT, "known from an earlier start: %s", reason);
    ts_free(reason);
    return ts_root_status(group, status);
}

/* Reads all values, and writes down for the next start what was found to be damaged. Collective. */
static TsStatus read_values(TsCheckpoint *checkpoint, Wish wish)
{
    TsStatus status =
        wish.arrays ? ts_restore_read(checkpoint->group, checkpoint->manifest, wish.arrays, checkpoint->state_path)
                    : ts_checkpoint_verify(checkpoint);
    if (ts_status_code(status) == TS_CODE_CORRUPT && ts_group_rank(wish.group) == 0)
        ts_damage_note(checkpoint->path, ts_status_message(status));
    return status;
}

/* *checkpoint is NULL where it cannot be used, and *reason says why. An error is one for which no other checkpoint is
 * to be tried. Collective. */
static TsStatus try_checkpoint(TsCheckpoint **checkpoint, TsStatus *reason, Wish wish, const char *path)
{
    *reason = expect_undamaged(wish.group, path);
    if (!*reason)
        *reason = ts_checkpoint_open(checkpoint, wish.group, path);
    if (ts_status_code(*reason) == TS_CODE_UNSUPPORTED) { /* going on from an earlier one would overwrite it */
        TsStatus newer = ts_status_annotate(*reason, "a newer program has gone on here");
        *reason = TS_OK;
        return newer;
    }
    if (*reason)
        return TS_OK;
    TsStatus status =
        wish.arrays ? ts_restore_compare((*checkpoint)->manifest, wish.arrays, wish.options, path) : TS_OK;
    if (!status)
        *reason = read_values(*checkpoint, wish);
    if (status || *reason)
        ts_checkpoint_close(checkpoint);
    return status;
}

static TsStatus find_newest(TsCheckpoint **checkpoint, Wish wish, const char *run_dir)
{
    *checkpoint = NULL;
    char *root = ts_directory_root(run_dir);
    int64_t *steps, count;
    TsStatus status = list_steps(&steps, &count, wish.group, root);
    int64_t before = wish.options.before, late = 0;
    for (int64_t i = 0; !status && !*checkpoint && i < count; i++) {
        if (before > 0 && steps[i] >= before) {
            late++;
            continue;
        }
        char *path = ts_directory_path(root, steps[i]);
        TsStatus reason;
        status = try_checkpoint(checkpoint, &reason, wish, path);
        if (reason && ts_group_rank(wish.group) == 0)
            ts_log(TS_LOG_WARNING, "SKIPPED the checkpoint of step %lld: %s", (long long)steps[i],
                   ts_status_message(reason));
        ts_status_free(&reason);
        ts_free(path);
    }
    if (!status && !*checkpoint && count > late)
        status = ts_status_error(TS_CODE_CORRUPT,
                                 "%s: none of its %lld checkpoints can be used: move them elsewhere to begin anew",
                                 root, (long long)count);
    ts_free(steps);
    ts_free(root);
    return status;
}

TsStatus ts_checkpoint_latest(TsCheckpoint **checkpoint, TsGroup *group, const char *run_dir)
{
    return find_newest(checkpoint, (Wish){.group = group}, run_dir);
}

TsStatus ts_checkpoint_resume(TsCheckpoint **checkpoint, TsGroup *group, const char *run_dir, const TsBatch *arrays,
                              TsRestoreOptions options)
{
    return find_newest(checkpoint, (Wish){.group = group, .arrays = arrays, .options = options}, run_dir);
}

TsStatus ts_checkpoint_set_aside(TsGroup *group, const char *run_dir, int64_t step, const char *reason)
{
    char *root = ts_directory_root(run_dir);
    int64_t *steps, count;
    TsStatus status = list_steps(&steps, &count, group, root);
    for (int64_t i = 0; !status && i < count && ts_group_rank(group) == 0; i++) {
        char *path = ts_directory_path(root, steps[i]);
        if (steps[i] > step && !ts_damage_known(NULL, path))
            ts_damage_note(path, reason);
        ts_free(path);
    }
    ts_free(steps);
    ts_free(root);
    return status;
}

int64_t ts_checkpoint_step(const TsCheckpoint *checkpoint)
{
    return checkpoint->manifest->step;
}

const char *ts_checkpoint_path(const TsCheckpoint *checkpoint)
{
    return checkpoint->path;
}

const json_t *ts_checkpoint_state(const TsCheckpoint *checkpoint)
{
    return checkpoint->manifest->state;
}

const json_t *ts_checkpoint_provenance(const TsCheckpoint *checkpoint)
{
    return checkpoint->manifest->provenance;
}

int ts_checkpoint_count(const TsCheckpoint *checkpoint)
{
    return checkpoint->manifest->count;
}

TsCheckpointEntry ts_checkpoint_entry(const TsCheckpoint *checkpoint, int index)
{
    TS_CHECK(index >= 0 && index < checkpoint->manifest->count, "array %d of %d", index, checkpoint->manifest->count);
    const TsManifestArray *array = &checkpoint->manifest->arrays[index];
    return (TsCheckpointEntry){
        .name = array->name, .dtype = array->dtype, .shape = array->shape, .placement = array->placement};
}

TsStatus ts_checkpoint_verify(TsCheckpoint *checkpoint)
{
    return ts_verify_state(checkpoint->group, checkpoint->manifest, checkpoint->state_path, NULL);
}

TsStatus ts_checkpoint_restore(TsCheckpoint *checkpoint, const TsBatch *arrays, TsRestoreOptions options)
{
    TS_TRY(ts_restore_compare(checkpoint->manifest, arrays, options, checkpoint->path));
    return ts_restore_read(checkpoint->group, checkpoint->manifest, arrays, checkpoint->state_path);
}
