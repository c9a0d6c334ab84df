/* SPDX-License-Identifier: Apache-2.0
 *
 * Restored: a job with the parameters of its run's newest checkpoint, and what that kept of the tasks: names of
 * classes, scales of numbers. What evaluation and prediction begin with.
 */
#pragma once

#include "task/job.h"

/* Opens the job of a config whose run has a checkpoint. `files`, where there are any, are examples without labels to
 * take in place of the config's, for the task `only`, or where that is NULL for all. Collective; the same status on all
 * ranks. Owned by the caller: ts_job_close. */
TS_MUST_USE TsStatus ts_restored_open(TsJob **job, TsGroup *group, const TsConfig *config, TsList files,
                                      const char *only);

/* Takes the parameters of what is the newest checkpoint now; *step is its. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_restored_again(TsJob *job, int64_t *step);

/* The loader of a part by name, in the order of the data; NULL where the task has no such data. */
TS_MUST_USE TsStatus ts_restored_part(TsLoader **loader, const TsTask *task, const char *part);
