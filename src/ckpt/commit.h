/* SPDX-License-Identifier: Apache-2.0
 *
 * Commit: the order of steps that makes a checkpoint last whatever crashes, and COMMIT, which says that it did.
 *
 *   begin    left-overs removed, the place and the space looked at, step_N.tmp made and marked
 *            (the arrays are written, read back and synced: saver.c)
 *   finish   manifest.json, synced; COMMIT, synced; the directory synced; renamed to step_N; the parent synced
 *   remove   only then, of those that no rule keeps: keep.c
 *
 * COMMIT is text, written when all else is on disk:
 *
 *   tessera checkpoint 1
 *   manifest.json 5120 bytes crc32c 89abcdef
 *   state.h5 1048576 bytes
 *   state.0000.h5 1048576 bytes              only of a state in several files (parts.h), a line each
 *
 * Not collective: rank 0's work.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { TS_CHECKPOINT_VERSION = 1 }; /* of the layout; readers refuse a newer one */

/* Makes `root` where it is missing and fails where it cannot be written. */
TS_MUST_USE TsStatus ts_commit_prepare(const char *root);

/* Removes what earlier saves left unfinished, fails where the place of `step` is taken by anything but a checkpoint or
 * where the file system has fewer than `needed_bytes` left, and makes the temporary directory. */
TS_MUST_USE TsStatus ts_commit_begin(const char *root, int64_t step, int64_t needed_bytes);

/* The lengths of state.h5 and its `parts` files, as lines of COMMIT: before they are verified, so that what shortens
 * them later is found out. Owned by the caller: ts_free. */
TS_MUST_USE TsStatus ts_commit_measure(char **lengths, const char *tmp, int parts);

/* Makes what is in the temporary directory the checkpoint of `step`, once what was written of it can be read back. One
 * of the same step is replaced, by exchanging the two names where the file system can. */
TS_MUST_USE TsStatus ts_commit_finish(const char *root, int64_t step, const char *manifest, size_t manifest_bytes,
                                      const char *lengths);

/* Removes the temporary directory of a save that failed, as far as that is possible. */
void ts_commit_discard(const char *root, int64_t step);

/* Removes the checkpoint of `step`; that it cannot be removed is a warning. */
void ts_commit_remove(const char *root, int64_t step);

/* Reads COMMIT in `path`, checks that it is of this program and version, that the files which it names are as long as
 * it says and that the manifest has its checksum, and gives the text of the manifest; owned by the caller: ts_free. */
TS_MUST_USE TsStatus ts_commit_read(char **manifest, size_t *manifest_bytes, const char *path);
