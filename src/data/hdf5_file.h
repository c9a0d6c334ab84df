/* SPDX-License-Identifier: Apache-2.0
 *
 * Hdf5File: what the files of this floor share that read and write HDF5: errors with HDF5's reason, types of strings.
 * One process, no MPI-IO. Not while a checkpoint is saved in the background.
 */
#pragma once

#include <hdf5.h>

#include "base/status.h"

/* Errors are Statuses from now on; HDF5 prints nothing by itself. */
void ts_hdf5_quiet(void);

/* "PATH: NAME: cannot WHAT: HDF5's reason"; name may be NULL. */
TS_MUST_USE TsStatus ts_hdf5_error(const char *path, const char *name, const char *what);

/* Text of any length, UTF-8; the caller closes it. */
hid_t ts_hdf5_text_type(void);
