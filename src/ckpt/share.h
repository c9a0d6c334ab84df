/* SPDX-License-Identifier: Apache-2.0
 *
 * Share: the arrays of a checkpoint, each cut into equal parts among the ranks of a group, whatever mesh they were
 * saved from. How commands look at checkpoints that no model describes: many ranks read, and hold, as much as one
 * would.
 */
#pragma once

#include "ckpt/checkpoint.h"

/* A mesh of all ranks of group along one axis. Collective on group. Owned by the caller: ts_mesh_free. */
TS_MUST_USE TsStatus ts_share_mesh(TsMesh **mesh, TsGroup *group);

/* A zeroed array for `entry`, cut along its longest dim; a scalar is whole on every rank. Owned by the caller. Not
 * collective. */
TsArray *ts_share_create(const TsMesh *mesh, TsCheckpointEntry entry);

/* Elements of this rank's block that no rank before it holds: the sum over all ranks is that of the array. */
int64_t ts_share_elems(const TsArray *array);

/* An element as a double, by its place in the block; bool is 0 or 1. i64 is rounded. */
double ts_share_value(const TsArray *array, int64_t index);

/* Sets an element of an array of floats, rounded to the nearest. */
void ts_share_set(TsArray *array, int64_t index, double value);

/* The arrays of the checkpoint from `first` on, as many as a rank should read at once: the index behind the last. */
int ts_share_portion(const TsCheckpoint *checkpoint, int first, TsGroup *group);
