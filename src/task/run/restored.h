/* SPDX-License-Identifier: Apache-2.0
 *
 * Restored: a job with the parameters of its run's newest checkpoint, and what that kept of the tasks: names of
 * classes, scales of numbers. What evaluation and prediction begin with.
 */
#pragma once

#include "task/job.h"

typedef struct TsRestoredOptions {
    TsList files;      /* of paths: examples without labels to take in place of the config's; empty: none */
    const char *only;  /* the task that takes them; NULL: all */
    bool without_data; /* no file of data is opened: to decode */
    bool by_example;   /* a row of a batch is an example, packed or not: to predict each */
} TsRestoredOptions;

/* Opens the job of a config whose run has a checkpoint. Collective; the same status on all ranks. Owned by the caller:
 * ts_job_close. */
TS_MUST_USE TsStatus ts_restored_open(TsJob **job, TsGroup *group, const TsConfig *config, TsRestoredOptions options);

/* Takes the parameters of what is the newest checkpoint now; *step is its. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_restored_again(TsJob *job, int64_t *step);

/* The loader of a part by name, in the order of the data; NULL where the task has no such data. */
TS_MUST_USE TsStatus ts_restored_part(TsLoader **loader, const TsTask *task, const char *part);
