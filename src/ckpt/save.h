/* SPDX-License-Identifier: Apache-2.0
 *
 * Save: the protocol, from blocks in memory to a committed checkpoint, by whichever thread does it. Called by saver.c.
 */
#pragma once

#include "ckpt/keep.h"
#include "ckpt/pace.h"
#include "ckpt/snapshot.h"

/* All borrowed. */
typedef struct TsSave {
    TsGroup *group; /* that nobody else talks on meanwhile */
    const char *root;
    TsManifest *manifest; /* complete but for the checksums, which are put in; it has a provenance */
    const TsSnapshot *snapshot;
    const TsKeepPolicy *keep;
    bool skip_verify;
    TsGroup *part_group; /* the ranks that write one file with this one; NULL: all write state.h5 */
    int ranks_per_file;  /* where there is a part_group */
    TsPace *pace;        /* NULL: the caller waits */
} TsSave;

/* Saves, commits and prunes. Collective on the group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_save_run(const TsSave *save);
