/* SPDX-License-Identifier: Apache-2.0
 *
 * Trainer: runs a job's steps from where its run directory stands to run.steps.
 */
#pragma once

#include "task/job.h"

typedef struct TsTrainOptions {
    bool force; /* go on in a run directory of another configuration */
} TsTrainOptions;

/* Trains. What was saved before in run.dir is gone on with, exactly, on any mesh. Progress goes to the log, metrics and
 * checkpoints to run.dir. SIGTERM, SIGINT and SIGUSR1 end it after the step under way, with a checkpoint, and
 * TS_CODE_INTERRUPTED. Collective on the group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_train(TsGroup *group, const TsConfig *config, TsTrainOptions options);
