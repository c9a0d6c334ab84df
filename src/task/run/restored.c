/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/restored.h"

#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "task/run/base.h"

static TsStatus restore(TsJob *job, TsCheckpoint *checkpoint)
{
    TsBatch *kept = ts_job_evaluated(job);
    TsStatus status = ts_checkpoint_restore(checkpoint, kept, (TsRestoreOptions){.allow_unused = true});
    if (!status)
        status = ts_base_load(job, ts_checkpoint_state(checkpoint));
    if (!status)
        ts_log(TS_LOG_INFO, "step %lld of %s, on %d rank%s", (long long)ts_checkpoint_step(checkpoint),
               job->keys->run.dir, ts_group_size(job->group), ts_group_size(job->group) == 1 ? "" : "s");
    ts_batch_free(&kept);
    return status;
}

TsStatus ts_restored_open(TsJob **job, TsGroup *group, const TsConfig *config, TsRestoredOptions options)
{
    const TsJobConfig *keys = ts_config_value(config);
    TsCheckpoint *checkpoint = NULL;
    *job = NULL;
    TS_TRY(ts_checkpoint_latest(&checkpoint, group, keys->run.dir));
    if (!checkpoint)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint: train it first", keys->run.dir);
    const json_t *kept = json_object_get(ts_checkpoint_state(checkpoint), "kept");
    TsStatus status = ts_job_open(job, group, config,
                                  (TsJobOptions){.kept = kept,
                                                 .files = options.files,
                                                 .only = options.only,
                                                 .by_example = options.by_example,
                                                 .without_data = options.without_data});
    if (!status)
        status = restore(*job, checkpoint);
    if (status)
        ts_job_close(job);
    ts_checkpoint_close(&checkpoint);
    return status;
}

TsStatus ts_restored_again(TsJob *job, int64_t *step)
{
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_latest(&checkpoint, job->group, job->keys->run.dir));
    if (!checkpoint)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint any more", job->keys->run.dir);
    TsStatus status = restore(job, checkpoint);
    *step = ts_checkpoint_step(checkpoint);
    ts_checkpoint_close(&checkpoint);
    return status;
}

TsStatus ts_restored_part(TsLoader **loader, const TsTask *task, const char *part)
{
    *loader = NULL;
    if (strcmp(part, "validation") == 0)
        *loader = task->validation;
    else if (strcmp(part, "test") == 0)
        *loader = task->test;
    else if (strcmp(part, "train") == 0)
        *loader = task->train_in_order;
    else
        return ts_status_error(TS_CODE_INVALID, "there is no part %s: train, validation, test", part);
    return TS_OK;
}
