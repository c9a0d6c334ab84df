/* SPDX-License-Identifier: Apache-2.0
 *
 * Base: the weights that a run began from and that its checkpoints do not hold, because fine_tune froze them. What a
 * checkpoint says of them is `initialized` in its state: the checkpoint that they are in, and the name of each there
 * (init_from.h). What was taken from nowhere is made anew, of the seed.
 */
#pragma once

#include <jansson.h>

#include "ckpt/checkpoint.h"
#include "task/job.h"

/* Fills the parameters of the job from the newest checkpoint of its run that verifies, and those that it does not hold
 * from its base. Fails where there is no checkpoint, where its base is gone or is another one now. *step (or NULL): of
 * the checkpoint. Collective on the job's group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_base_restore(const TsJob *job, int64_t *step);

/* Fills what `state`, of a checkpoint of the job, says is elsewhere. Collective on the job's group; the same status on
 * all ranks. */
TS_MUST_USE TsStatus ts_base_load(const TsJob *job, const json_t *state);

/* Opens the base of a checkpoint with this state: at the path that it had, or else at `path` (NULL: nowhere else), a
 * run's or a checkpoint's. *base is NULL, and the status success, where there is none. Collective on group; the same
 * status on all ranks. Owned by the caller: ts_checkpoint_close. */
TS_MUST_USE TsStatus ts_base_open(TsCheckpoint **base, TsGroup *group, const json_t *state, const char *path);

/* The name in the base of the array `name` ("parameters/PATH") of a checkpoint with this state; NULL: it is not from
 * there. Borrowed from `state`. */
const char *ts_base_name(const json_t *state, const char *name);
