/* SPDX-License-Identifier: Apache-2.0
 *
 * State file: the arrays of a manifest in one HDF5 file, each a contiguous dataset of its global shape under its name;
 * slashes in a name make groups. bf16 is a float of 16 bits to HDF5, bool an enumeration of FALSE and TRUE as h5py has
 * it. The one file of this floor that knows HDF5 is state_file.c.
 *
 * One rank makes the file and all its datasets, whose places do not change any more; then all ranks open it together
 * and fill it, so that of what HDF5 does collectively only opening and closing are left, and neither writes. (A
 * collective close that has something to write hangs, or crashes later, when the file system refuses.) Reads and writes
 * are independent, each rank its own rectangles; those of different ranks must not overlap when writing. One thread of
 * a process at a time: HDF5 is not thread-safe.
 */
#pragma once

#include "ckpt/parts.h"

typedef struct TsStateFile TsStateFile;

/* The version of HDF5 in use, "1.10.8"; borrowed. */
const char *ts_state_file_library(void);

/* Makes a new file with a dataset for each array, unwritten, and its space reserved where the file system can do so.
 * Not collective. */
TS_MUST_USE TsStatus ts_state_file_make(const char *path, const TsManifest *manifest);

/* Makes a new file whose datasets are views of those of the files of `parts`, which lie beside it; scalars stand in it.
 * Not collective. */
TS_MUST_USE TsStatus ts_state_file_make_view(const char *path, const TsManifest *manifest, const TsParts *parts);

/* Opens a file with the arrays of `manifest`, which must have its dtypes and shapes, to write on messages of `group`,
 * which must meet no others; to read, each rank by itself, as views cannot be read through MPI-IO. Collective on group.
 * Group, path and manifest are borrowed for the life of the file. Fails, alike on all ranks, with HDF5's reason. Same
 * on all ranks: all arguments. Owned by the caller: ts_state_file_close. */
TS_MUST_USE TsStatus ts_state_file_open(TsStateFile **file, TsGroup *group, const char *path,
                                        const TsManifest *manifest, bool writable);

/* Collective. Sets *file to NULL, also where it fails; NULL is fine. */
TS_MUST_USE TsStatus ts_state_file_close(TsStateFile **file);

/* Moves the rectangle `slab` of the manifest's array `index` between the file and `data`, which holds the rectangle
 * `block` of it, row-major, of which `slab` is a part. Not collective: the caller agrees on the status. */
TS_MUST_USE TsStatus ts_state_file_write(TsStateFile *file, int index, const void *data, TsBlockRange block,
                                         TsBlockRange slab);
TS_MUST_USE TsStatus ts_state_file_read(TsStateFile *file, int index, void *data, TsBlockRange block,
                                        TsBlockRange slab);
