/* SPDX-License-Identifier: Apache-2.0
 *
 * The mean of the parameters of several checkpoints, as a checkpoint.
 */
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "ckpt/directory.h"
#include "ckpt/inspect.h"
#include "ckpt/root.h"
#include "ckpt/share.h"

#define PARAMETERS "parameters/"

/* What is averaged: this rank's part of each parameter. */
typedef struct Average {
    TsMesh *mesh;
    TsBatch *shares; /* of the checkpoint read last; at the end the mean */
    double **sums;   /* (arrays) (local elems) of floats; NULL of others, which stay as the first checkpoint has them */
    void **firsts;   /* (arrays) the first checkpoint's local block where it is no float; else NULL */
} Average;

static bool is_parameter(const char *name)
{
    return strncmp(name, PARAMETERS, strlen(PARAMETERS)) == 0;
}

/* ---- before anything is read ---- */

static TsStatus expect_parameters_in(const TsCheckpoint *one, const TsCheckpoint *other)
{
    for (int i = 0; i < ts_checkpoint_count(other); i++) {
        const char *name = ts_checkpoint_entry(other, i).name;
        bool found = !is_parameter(name);
        for (int k = 0; !found && k < ts_checkpoint_count(one); k++)
            found = strcmp(ts_checkpoint_entry(one, k).name, name) == 0;
        if (!found)
            return ts_status_error(TS_CODE_INVALID, "%s: has %s, which %s lacks: they cannot be averaged",
                                   ts_checkpoint_path(other), name, ts_checkpoint_path(one));
    }
    return TS_OK;
}

/* Fails where the run has anything that looks like a checkpoint, finished or not. Not collective. */
static TsStatus expect_no_checkpoints(const char *out_dir)
{
    char *root = ts_directory_root(out_dir);
    TsStatus status = TS_OK;
    for (int temporary = 0; temporary < 2 && !status; temporary++) {
        int64_t *steps = NULL, count = 0;
        status = ts_directory_list(&steps, &count, root, temporary);
        if (!status && count > 0)
            status = ts_status_error(TS_CODE_INVALID,
                                     "%s: has a directory of step %lld already; the mean needs a directory of its own",
                                     root, (long long)steps[0]);
        ts_free(steps);
    }
    ts_free(root);
    return status;
}

/* ---- the mean ---- */

static void average_create(Average *average, const TsCheckpoint *like)
{
    average->shares = ts_batch_create();
    for (int i = 0; i < ts_checkpoint_count(like); i++) {
        TsCheckpointEntry entry = ts_checkpoint_entry(like, i);
        if (is_parameter(entry.name))
            ts_batch_put(average->shares, entry.name, ts_share_create(average->mesh, entry));
    }
    size_t count = (size_t)ts_batch_count(average->shares);
    average->sums = ts_calloc(count, sizeof *average->sums);
    average->firsts = ts_calloc(count, sizeof *average->firsts);
    for (size_t i = 0; i < count; i++) {
        const TsArray *array = ts_batch_array(average->shares, (int)i);
        if (ts_dtype_is_float(array->dtype))
            average->sums[i] = ts_calloc((size_t)ts_array_local_elems(array), sizeof **average->sums);
        else
            average->firsts[i] = ts_calloc(ts_array_local_bytes(array), 1);
    }
}

static void average_free(Average *average)
{
    int count = average->shares ? ts_batch_count(average->shares) : 0;
    for (int i = 0; i < count; i++) {
        ts_free(average->sums[i]);
        ts_free(average->firsts[i]);
    }
    ts_free(average->sums);
    ts_free(average->firsts);
    ts_batch_free(&average->shares);
    ts_mesh_free(&average->mesh);
}

/* Adds what was just read. */
static TsStatus add(Average *average, const TsCheckpoint *source, bool is_first)
{
    for (int i = 0; i < ts_batch_count(average->shares); i++) {
        const TsArray *array = ts_batch_array(average->shares, i);
        int64_t elems = ts_array_local_elems(array);
        size_t bytes = ts_array_local_bytes(array);
        if (average->sums[i])
            for (int64_t k = 0; k < elems; k++)
                average->sums[i][k] += ts_share_value(array, k);
        else if (is_first)
            memcpy(average->firsts[i], array->data, bytes);
        else if (memcmp(average->firsts[i], array->data, bytes) != 0)
            return ts_status_error(TS_CODE_INVALID, "%s: %s is %s and differs from that of the first: it has no mean",
                                   ts_checkpoint_path(source), ts_batch_name(average->shares, i),
                                   ts_dtype_name(array->dtype));
    }
    return TS_OK;
}

/* Makes the shares the mean of `count` that were added. */
static void finish(Average *average, int count)
{
    for (int i = 0; i < ts_batch_count(average->shares); i++) {
        TsArray *array = ts_batch_array(average->shares, i);
        int64_t elems = ts_array_local_elems(array);
        for (int64_t k = 0; average->sums[i] && k < elems; k++)
            ts_share_set(array, k, average->sums[i][k] / count);
    }
}

/* ---- the checkpoint ---- */

static const TsCheckpoint *newest_of(TsCheckpoint *const *checkpoints, int count)
{
    const TsCheckpoint *newest = checkpoints[0];
    for (int i = 1; i < count; i++)
        if (ts_checkpoint_step(checkpoints[i]) > ts_checkpoint_step(newest))
            newest = checkpoints[i];
    return newest;
}

static TsStatus save(TsGroup *group, const TsBatch *shares, TsCheckpoint *const *checkpoints, int count,
                     const char *out_dir)
{
    const TsCheckpoint *newest = newest_of(checkpoints, count);
    json_t *state = json_copy((json_t *)(uintptr_t)ts_checkpoint_state(newest)), *paths = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(paths, json_string(ts_checkpoint_path(checkpoints[i])));
    json_object_set_new(state, "averaged", paths);
    TsCheckpointSaver *saver = NULL;
    TsStatus status = ts_checkpoint_saver_create(&saver, group, out_dir, (TsCheckpointSaverOptions){0});
    if (!status)
        status = ts_checkpoint_save(saver, ts_checkpoint_step(newest), shares, state);
    ts_checkpoint_saver_free(&saver);
    json_decref(state);
    return status;
}

TsStatus ts_checkpoint_average(int64_t *step, TsGroup *group, TsCheckpoint *const *checkpoints, int count,
                               const char *out_dir)
{
    for (int i = 1; i < count; i++)
        TS_TRY(expect_parameters_in(checkpoints[0], checkpoints[i]));
    TS_TRY(ts_root_status(group, ts_group_rank(group) == 0 ? expect_no_checkpoints(out_dir) : TS_OK));
    Average average = {0};
    TS_TRY(ts_share_mesh(&average.mesh, group));
    average_create(&average, checkpoints[0]);
    TsStatus status = ts_batch_count(average.shares) > 0
                          ? TS_OK
                          : ts_status_error(TS_CODE_INVALID, "%s: has no array " PARAMETERS "…: nothing to average",
                                            ts_checkpoint_path(checkpoints[0]));
    for (int i = 0; i < count && !status; i++) {
        status = ts_checkpoint_restore(checkpoints[i], average.shares, (TsRestoreOptions){.allow_unused = true});
        if (!status)
            status = ts_comm_agree(group, add(&average, checkpoints[i], i == 0));
    }
    if (!status) {
        finish(&average, count);
        status = save(group, average.shares, checkpoints, count, out_dir);
        *step = ts_checkpoint_step(newest_of(checkpoints, count));
    }
    average_free(&average);
    return status;
}
