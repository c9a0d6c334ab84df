/* SPDX-License-Identifier: Apache-2.0
 *
 * State file: the values of the arrays of a manifest in one file that is HDF5 to everybody else (hdf5_file.h).
 *
 * One rank makes the file with all its tables; the places of the arrays in it do not change any more. Then each rank
 * writes and reads its own rectangles at those places with plain calls, so that an error is the system's, in its words.
 * Rectangles of different ranks must not overlap when writing. Arrays that are views of other files are read through
 * HDF5. What is not marked collective is each rank's own affair: the caller agrees on the status.
 */
#pragma once

#include "ckpt/manifest.h"

typedef struct TsStateFile TsStateFile;

/* Opens a file with the arrays of `manifest`, which must have its dtypes and shapes, to write or to read. Rank 0 reads
 * its tables and tells the others. Path and manifest are borrowed for the life of the file. Collective on group; the
 * same status on all ranks. Same on all ranks: all arguments. Owned by the caller: ts_state_file_close. */
TS_MUST_USE TsStatus ts_state_file_open(TsStateFile **file, TsGroup *group, const char *path,
                                        const TsManifest *manifest, bool writable);

/* Moves the rectangle `slab` of the manifest's array `index` between the file and `data`, which holds the rectangle
 * `block` of it, row-major, of which `slab` is a part. */
TS_MUST_USE TsStatus ts_state_file_write(TsStateFile *file, int index, const void *data, TsBlockRange block,
                                         TsBlockRange slab);
TS_MUST_USE TsStatus ts_state_file_read(TsStateFile *file, int index, void *data, TsBlockRange block,
                                        TsBlockRange slab);

/* Makes what this host has written last. */
TS_MUST_USE TsStatus ts_state_file_sync(TsStateFile *file);

/* Sets *file to NULL; NULL is fine. What was written must have been synced. */
void ts_state_file_close(TsStateFile **file);
