/* SPDX-License-Identifier: Apache-2.0
 *
 * Directory: where the checkpoints of a run lie, by name, and which of these directories may be removed.
 *
 *   ROOT/step_00000005.tmp/   being written, or being removed; bears the file `unfinished`
 *   ROOT/step_00000005/       finished; with COMMIT in it, a checkpoint
 *
 * Only a directory that is empty, or bears the mark `unfinished`, and holds nothing but files of the names of a
 * checkpoint is ever removed: a copy that somebody made is not. Not collective: rank 0's work.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define TS_CHECKPOINT_STATE        "state.h5"
#define TS_CHECKPOINT_MANIFEST     "manifest.json"
#define TS_CHECKPOINT_COMMIT       "COMMIT"
#define TS_CHECKPOINT_DAMAGED_MARK "damaged" /* damage.h */

/* RUN_DIR/checkpoints, and in it the directory of a step, and the one where it is written. Owned by the caller. */
char *ts_directory_root(const char *run_dir);
char *ts_directory_path(const char *root, int64_t step);
char *ts_directory_tmp_path(const char *root, int64_t step);

/* The steps for which `root` holds a directory, newest first: finished ones, committed or not, or temporary ones. None
 * where `root` is not there. Owned by the caller: ts_free. */
TS_MUST_USE TsStatus ts_directory_list(int64_t **steps, int64_t *count, const char *root, bool temporary);

/* Whether anything is at `path`; whether the directory `path` holds a file `name`. */
bool ts_directory_exists(const char *path);
bool ts_directory_holds(const char *path, const char *name);

/* Fails where the directory `path` holds anything but the files of a checkpoint, and names it. */
TS_MUST_USE TsStatus ts_directory_expect_ours(const char *path);

/* Marks a directory as one that may be removed, and takes the mark away. */
TS_MUST_USE TsStatus ts_directory_mark(const char *path);
void ts_directory_unmark(const char *path);

/* Removes a directory that is empty or marked, and holds nothing but the files of a checkpoint; fails on any other. */
TS_MUST_USE TsStatus ts_directory_remove(const char *path);
