/* SPDX-License-Identifier: Apache-2.0
 *
 * HDF5 file: the tables of a state file, which say what is where in it: each array of a manifest a contiguous dataset
 * of its global shape under its name; slashes in a name make groups. bf16 is a float of 16 bits to HDF5, bool an
 * enumeration of FALSE and TRUE as h5py has it. The one file of this floor that knows HDF5 is hdf5_file.c.
 *
 * HDF5 never writes to a disk here. What it cannot write it keeps, tries again when the process ends, and then crashes
 * or hangs, in parallel as alone. So it makes its tables in memory, they are copied to the disk with plain calls, and
 * the values are written at the places that it names (state_file.h). Not collective. One thread of a process at a time:
 * HDF5 is not thread-safe.
 */
#pragma once

#include "ckpt/parts.h"

/* The version of HDF5 in use, "1.10.8"; borrowed. */
const char *ts_hdf5_library(void);

/* Makes a new file with a dataset for each array, unwritten, and its space reserved where the file system can do so. */
TS_MUST_USE TsStatus ts_hdf5_make(const char *path, const TsManifest *manifest);

/* Makes a new file whose datasets are views of those of the files of `parts`, which lie beside it; scalars stand in it.
 */
TS_MUST_USE TsStatus ts_hdf5_make_view(const char *path, const TsManifest *manifest, const TsParts *parts);

typedef struct TsHdf5File TsHdf5File;

/* Opens a file with the arrays of `manifest`, which must have its dtypes and shapes, to read. Path and manifest are
 * borrowed for the life of the file. Fails with HDF5's reason. Owned by the caller: ts_hdf5_close. */
TS_MUST_USE TsStatus ts_hdf5_open(TsHdf5File **file, const char *path, const TsManifest *manifest);

/* Sets *file to NULL; NULL is fine. */
void ts_hdf5_close(TsHdf5File **file);

/* Where the bytes of the manifest's array `index` begin in the file; -1 where they do not lie in it. An array without
 * elements lies at 0. */
int64_t ts_hdf5_offset(const TsHdf5File *file, int index);

/* Reads the rectangle `slab` of array `index`, wherever its bytes lie, into `data`, which holds the rectangle `block`
 * of it, row-major, of which `slab` is a part. */
TS_MUST_USE TsStatus ts_hdf5_read(TsHdf5File *file, int index, void *data, TsBlockRange block, TsBlockRange slab);
