/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspect: what there is to say of checkpoints without a model: which a run has, how large the values of one are, where
 * two differ, the mean of several. Nothing here changes or removes a checkpoint. Called by the command `ckpt`.
 */
#pragma once

#include "ckpt/checkpoint.h"

/* ---- what a run has ---- */

typedef enum TsCheckpointCondition {
    TS_CHECKPOINT_COMMITTED,   /* COMMIT, the manifest and the length of the state file are right; no value was read */
    TS_CHECKPOINT_UNCOMMITTED, /* a finished directory without COMMIT: not a checkpoint */
    TS_CHECKPOINT_UNFINISHED,  /* being written, or left over from a save that was cut off */
    TS_CHECKPOINT_DAMAGED      /* COMMIT says one thing, the files another */
} TsCheckpointCondition;

typedef struct TsCheckpointSummary {
    int64_t step;
    TsCheckpointCondition condition;
    int64_t size_bytes; /* of all its files */
    double age_s;       /* since COMMIT was written, or else since the directory changed */
    char *reason;       /* of damage; NULL otherwise. Owned */
    char *kept;         /* why it is kept, "latest, best lm/loss"; NULL where that is not known. Owned */
    json_t *metrics;    /* the object `metrics` of its state; NULL: it has none. Owned */
} TsCheckpointSummary;

typedef struct TsCheckpointList {
    int64_t count;
    TsCheckpointSummary *items; /* (count) oldest first, owned */
} TsCheckpointList;

/* Lists RUN_DIR/checkpoints. Fails where there is no such directory, or it cannot be read. Not collective: rank 0's
 * work. Owned by the caller: ts_checkpoint_list_free. */
TS_MUST_USE TsStatus ts_checkpoint_list_create(TsCheckpointList **list, const char *run_dir);

/* Sets *list to NULL; NULL is fine. */
void ts_checkpoint_list_free(TsCheckpointList **list);

/* Opens the checkpoint at `path`, which is its directory, or that of a run: then the newest that is committed is meant.
 * Collective on group; the same status on all ranks. Owned by the caller: ts_checkpoint_close. */
TS_MUST_USE TsStatus ts_checkpoint_open_named(TsCheckpoint **checkpoint, TsGroup *group, const char *path);

/* ---- values ---- */

/* norms[i] = the square root of the sum of squares of array i, read in parallel and verified on the way; not finite
 * where a value is not. Collective on group; the same on all ranks, status and norms. */
TS_MUST_USE TsStatus ts_checkpoint_norms(double *norms, TsGroup *group, TsCheckpoint *checkpoint);

/* How array i of one checkpoint and the one of that name in another differ. */
typedef struct TsCheckpointDifference {
    int other;             /* its index in the other; -1: the other lacks it */
    bool comparable;       /* of the same shape and dtype: what follows is known */
    int64_t elems;         /* that have not the same bits */
    double largest;        /* difference of two values; NaN where only one is NaN */
    double largest_of_one; /* magnitude in the first checkpoint: what `largest` is to be compared with */
} TsCheckpointDifference;

/* differences[i], for each array i of `one`. Both are read in parallel, and verified on the way. Collective on group;
 * the same on all ranks. */
TS_MUST_USE TsStatus ts_checkpoint_compare(TsCheckpointDifference *differences, TsGroup *group, TsCheckpoint *one,
                                           TsCheckpoint *other);

/* Saves the mean of the arrays "parameters/…" of `count` checkpoints as a checkpoint of the run `out_dir`, which must
 * have none, of the highest step among them. Floats are summed in f64 and rounded once; other dtypes must be equal in
 * all. Its state is that of the checkpoint of that step, with `averaged`, the list of all paths. Fails where the
 * checkpoints have not the same parameters. *step is that of the new one. Collective on group; the same status on all
 * ranks. */
TS_MUST_USE TsStatus ts_checkpoint_average(int64_t *step, TsGroup *group, TsCheckpoint *const *checkpoints, int count,
                                           const char *out_dir);
