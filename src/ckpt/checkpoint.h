/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint: the state of a run on disk, restorable on any number of ranks.
 *
 * RUN/checkpoints/step_00001000/ holds state.h5 (every array whole, in a contiguous dataset of its name), manifest.json
 * (names, shapes, dtypes, checksums, the state beside the arrays, where it came from) and COMMIT. A directory without
 * COMMIT is not a checkpoint: a save that is cut off at any instant leaves the earlier ones as they were. Arrays may
 * lie on any mesh with any placement (but Partial), when saved as when restored: each rank writes, and reads, only its
 * own blocks, and replicas divide the writing. Called by the trainer and by commands that need weights.
 *
 * Everything here is collective on the group that it was given, whose duplicate it talks on, but for what says so; all
 * ranks see the same file system. Files and devices that fail are a Status, the same on all ranks.
 */
#pragma once

#include "tensor/batch.h"

typedef struct json_t json_t; /* jansson's, whose header is needed only to make or to read one */

/* Saving. */

typedef struct TsCheckpointSaver TsCheckpointSaver;

/* Which checkpoints stay once a newer one is committed: any of these keeps one. The one just saved stays anyhow, and so
 * do those that another names, those of later steps, and what was not committed. */
typedef struct TsKeepPolicy {
    int64_t latest;       /* so many of the newest, the one just saved included; 0: all, whatever the rest says */
    int64_t every_steps;  /* those of a multiple of so many steps; 0: none */
    double every_s;       /* one in so much time; 0: none */
    const int64_t *steps; /* (step_count) those of these steps */
    int64_t step_count;
    int64_t best;   /* so many of the best by metric `by`, a name in the object `metrics` of the state; of those whose
                       state says another `evaluated_step` than their own, the metric does not count */
    const char *by; /* NULL where best is 0 */
    bool higher;    /* is better */
} TsKeepPolicy;

typedef struct TsCheckpointSaverOptions {
    TsKeepPolicy keep;       /* what it points at is borrowed for the life of the saver */
    bool skip_verify;        /* do not read back and compare checksums before committing */
    bool asynchronous;       /* a thread writes a copy of the arrays while the caller goes on */
    int ranks_per_file;      /* one file for each group of so many ranks, and state.h5 a view of them; 0: one file */
    const char *config_hash; /* recorded in the manifest; NULL: not recorded. Borrowed for the call */
} TsCheckpointSaverOptions;

/* A saver of checkpoints into RUN_DIR/checkpoints, which it makes where it is missing. Fails if that is not a directory
 * that can be written. Same on all ranks: run_dir, options. Owned by the caller: ts_checkpoint_saver_free. */
TS_MUST_USE TsStatus ts_checkpoint_saver_create(TsCheckpointSaver **saver, TsGroup *group, const char *run_dir,
                                                TsCheckpointSaverOptions options);

/* Waits for a save that is under way, and says in the log why it failed if it did. Sets *saver to NULL; NULL is fine.
 */
void ts_checkpoint_saver_free(TsCheckpointSaver **saver);

/* Saves `arrays` and `state` as the checkpoint of `step`, and returns once it is committed and older ones are pruned;
 * of an asynchronous saver, once this rank's blocks are copied: then ts_checkpoint_saver_wait tells what came of it.
 * One that is still under way is waited for first, and its error returned in place of saving. While it is under way
 * nobody else of this process may call HDF5.
 *
 * `state` is a JSON object of what is small: seed, a cursor a task, mixture state, metrics; integers are exact within
 * 63 bits and doubles to the bit, NaN and infinity are not JSON. Both are borrowed for the call. Arrays lie on meshes
 * of all ranks of the group, or on no mesh, when each rank holds the whole. A checkpoint of the same step is replaced.
 * Same on all ranks: step, names, shapes, dtypes and placements of the arrays, state. Fails on a disk too small (found
 * before anything is written, where the file system tells), on every error of writing, and where what was read back
 * differs; the checkpoints that were there before stay. */
TS_MUST_USE TsStatus ts_checkpoint_save(TsCheckpointSaver *saver, int64_t step, const TsBatch *arrays,
                                        const json_t *state);

/* Whether the save under way has failed, as far as this rank knows; others may learn it later: agree before waiting.
 * Not collective. */
bool ts_checkpoint_saver_failed(const TsCheckpointSaver *saver);

/* Waits for the save under way, if there is one, and returns what came of it. */
TS_MUST_USE TsStatus ts_checkpoint_saver_wait(TsCheckpointSaver *saver);

/* The step of the newest save of this saver that is known to be committed; -1: none. Not collective. */
int64_t ts_checkpoint_saver_step(const TsCheckpointSaver *saver);

/* Reading. */

typedef struct TsCheckpoint TsCheckpoint;

/* Opens the committed checkpoint in the directory `path`. Its manifest is checked against COMMIT, its arrays are not
 * read. Fails on what is not there, not committed, foreign, corrupt, or of a newer version. Owned by the caller:
 * ts_checkpoint_close. */
TS_MUST_USE TsStatus ts_checkpoint_open(TsCheckpoint **checkpoint, TsGroup *group, const char *path);

/* Opens the newest checkpoint of a run whose checksums all verify, read by all ranks together; those that are skipped
 * on the way are named in warnings, each with its reason; one that is found to be damaged is marked, and the next time
 * skipped unread, until its files change (ckpt/damage.h). *checkpoint is NULL, and the status success, where the run
 * has none; that there are some and none verifies is an error, and so is one of a newer program, which is not skipped:
 * going on from an earlier one would overwrite it. */
TS_MUST_USE TsStatus ts_checkpoint_latest(TsCheckpoint **checkpoint, TsGroup *group, const char *run_dir);

typedef struct TsRestoreOptions {
    bool allow_unused; /* the checkpoint may hold arrays that are not asked for: weights alone, to decode with */
    bool cast;         /* floats and integers may have other dtypes here than there (ckpt/convert.h) */
    int64_t before;    /* of a run: only checkpoints of steps before this one; 0: any */
} TsRestoreOptions;

/* Fills `arrays` as ts_checkpoint_restore does, from the newest checkpoint of a run whose checksums all verify while it
 * is read; otherwise as ts_checkpoint_latest. One that holds other arrays is an error, and is not skipped. */
TS_MUST_USE TsStatus ts_checkpoint_resume(TsCheckpoint **checkpoint, TsGroup *group, const char *run_dir,
                                          const TsBatch *arrays, TsRestoreOptions options);

/* Makes the checkpoints of a run that are of steps after `step` count as damaged, for a reason, so that nothing goes on
 * from them. Collective. */
TS_MUST_USE TsStatus ts_checkpoint_set_aside(TsGroup *group, const char *run_dir, int64_t step, const char *reason);

/* Sets *checkpoint to NULL; NULL is fine. */
void ts_checkpoint_close(TsCheckpoint **checkpoint);

/* What it is of; not collective. Borrowed until ts_checkpoint_close. */
int64_t ts_checkpoint_step(const TsCheckpoint *checkpoint);
const char *ts_checkpoint_path(const TsCheckpoint *checkpoint);
const json_t *ts_checkpoint_state(const TsCheckpoint *checkpoint); /* the object that was saved */

/* Where it comes from: an object of time, host, ranks, mesh, versions; what is not known is not in it. */
const json_t *ts_checkpoint_provenance(const TsCheckpoint *checkpoint);

/* What it holds, in the order in which it was saved; not collective. */
typedef struct TsCheckpointEntry {
    const char *name; /* borrowed until ts_checkpoint_close */
    TsDtype dtype;
    TsShape shape;
    const char *placement; /* how it lay on the mesh that saved it, as ts_placement_text has it; NULL: not known */
} TsCheckpointEntry;
int ts_checkpoint_count(const TsCheckpoint *checkpoint);
TsCheckpointEntry ts_checkpoint_entry(const TsCheckpoint *checkpoint, int index);

/* Reads every array, each rank its share, and compares all checksums. Fails with the first that differs: the array and
 * the range of bytes in it. */
TS_MUST_USE TsStatus ts_checkpoint_verify(TsCheckpoint *checkpoint);

/* Fills the local blocks of `arrays` from the checkpoint, by name, and compares checksums while reading. Before
 * anything is read it fails with lists of what the checkpoint lacks, what it has too much, and what has another shape
 * or dtype. After a failure of reading the arrays hold anything. Same on all ranks: names, shapes, dtypes and
 * placements of the arrays, options. */
TS_MUST_USE TsStatus ts_checkpoint_restore(TsCheckpoint *checkpoint, const TsBatch *arrays, TsRestoreOptions options);
