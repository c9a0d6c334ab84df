/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/base.h"

#include "base/log.h"
#include "base/memory.h"
#include "ckpt/inspect.h"

static const json_t *initialized(const json_t *state)
{
    return json_object_get(state, "initialized");
}

const char *ts_base_name(const json_t *state, const char *name)
{
    return json_string_value(json_object_get(json_object_get(initialized(state), "arrays"), name));
}

/* ---- where it is ---- */

/* Opens what is at `path` if it is of that step; NULL, and success, where nothing is there. */
static TsStatus try_open(TsCheckpoint **base, TsGroup *group, const char *path, int64_t step)
{
    TsStatus status = ts_checkpoint_open_named(base, group, path);
    if (ts_status_code(status) == TS_CODE_NOT_FOUND)
        ts_status_free(&status);
    if (status || !*base || ts_checkpoint_step(*base) == step)
        return status;
    ts_checkpoint_close(base);
    return TS_OK;
}

TsStatus ts_base_open(TsCheckpoint **base, TsGroup *group, const json_t *state, const char *path)
{
    const json_t *record = initialized(state);
    const char *then = json_string_value(json_object_get(record, "path"));
    int64_t step = json_integer_value(json_object_get(record, "step"));
    *base = NULL;
    if (!then)
        return TS_OK;
    TS_TRY(try_open(base, group, then, step));
    if (!*base && path) {
        char *inside = ts_format("%s/checkpoints/step_%08lld", path, (long long)step);
        TsStatus status = try_open(base, group, inside, step);
        ts_free(inside);
        if (!status && !*base)
            status = try_open(base, group, path, step);
        TS_TRY(status);
    }
    return *base ? TS_OK
                 : ts_status_error(TS_CODE_NOT_FOUND,
                                   "the base of this run, step %lld of %s, is not there any more; init_from.path=DIR "
                                   "says where it is now",
                                   (long long)step, then);
}

/* ---- reading ---- */

/* What a checkpoint of the job does not hold, under the names that it has in the base; lent. */
static TsBatch *missing(const TsJob *job, const json_t *state)
{
    TsBatch *arrays = ts_batch_create();
    for (int i = 0; i < ts_batch_count(job->arrays); i++) {
        const char *path = ts_batch_name(job->arrays, i);
        if (ts_fine_tune_learns(&job->keys->fine_tune, path))
            continue;
        char *name = ts_format("parameters/%s", path);
        const char *source = ts_base_name(state, name);
        if (source)
            ts_batch_lend(arrays, source, ts_batch_array(job->arrays, i));
        ts_free(name);
    }
    return arrays;
}

TsStatus ts_base_load(const TsJob *job, const json_t *state)
{
    TsBatch *arrays = missing(job, state);
    TsCheckpoint *base = NULL;
    const TsInitFromConfig *from = job->keys->init_from;
    TsStatus status = ts_batch_count(arrays) ? ts_base_open(&base, job->group, state, from ? from->path : NULL) : TS_OK;
    if (!status && base)
        status = ts_checkpoint_restore(base, arrays, (TsRestoreOptions){.allow_unused = true, .cast = true});
    ts_checkpoint_close(&base);
    ts_batch_free(&arrays);
    return status;
}

TsStatus ts_base_restore(const TsJob *job, int64_t *step)
{
    TsCheckpoint *checkpoint = NULL;
    TsBatch *kept = ts_job_evaluated(job);
    TsStatus status = ts_checkpoint_resume(&checkpoint, job->group, job->keys->run.dir, kept,
                                           (TsRestoreOptions){.allow_unused = true});
    ts_batch_free(&kept);
    if (!status && !checkpoint)
        status = ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint: train it first", job->keys->run.dir);
    if (!status)
        status = ts_base_load(job, ts_checkpoint_state(checkpoint));
    if (!status && step)
        *step = ts_checkpoint_step(checkpoint);
    ts_checkpoint_close(&checkpoint);
    return status;
}
