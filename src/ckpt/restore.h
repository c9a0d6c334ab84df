/* SPDX-License-Identifier: Apache-2.0
 *
 * Restore: fills arrays, on whatever mesh they lie, from a state file. Called by checkpoint.c.
 */
#pragma once

#include "ckpt/checkpoint.h"
#include "ckpt/manifest.h"

/* Fails unless the manifest and `arrays` have the same names, shapes and dtypes; lists all that differ. Not collective;
 * the same answer on all ranks. */
TS_MUST_USE TsStatus ts_restore_compare(const TsManifest *manifest, const TsBatch *arrays, TsRestoreOptions options,
                                        const char *path);

/* Fills the local block of each array, reading every byte once whatever is replicated, and compares the checksums.
 * Collective on group and on the meshes of the arrays. */
TS_MUST_USE TsStatus ts_restore_read(TsGroup *group, const TsManifest *manifest, const TsBatch *arrays,
                                     const char *state_path);
