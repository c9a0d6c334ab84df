/* SPDX-License-Identifier: Apache-2.0 */
#include "data/hdf5_file.h"

#include <stdio.h>

void ts_hdf5_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* The innermost entry of HDF5's error stack: what failed first. */
typedef struct Reason {
    char text[256];
} Reason;

static herr_t note_reason(unsigned depth, const H5E_error2_t *error, void *reason)
{
    (void)depth;
    snprintf(((Reason *)reason)->text, sizeof((Reason *)reason)->text, "%s", error->desc ? error->desc : "no reason");
    return 1; /* the first is enough */
}

TsStatus ts_hdf5_error(const char *path, const char *name, const char *what)
{
    Reason reason = {"HDF5 gives no reason"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, &reason);
    H5Eclear2(H5E_DEFAULT);
    return ts_status_error(TS_CODE_IO, "%s: %s%scannot %s: %s", path, name ? name : "", name ? ": " : "", what,
                           reason.text);
}

hid_t ts_hdf5_text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}
