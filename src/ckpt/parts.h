/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts: a state in several files, one for each group of ranks, and state.h5 a view of them.
 *
 *   state.h5        every array under its name at its global shape, as a virtual dataset
 *   state.0000.h5   what the first ranks_per_file ranks wrote: the dataset NAME/rank_00003 is a rectangle of NAME
 *   state.0001.h5   …
 *
 * Readers know state.h5 alone, and restore on any mesh. A scalar stands in the view itself. Called by save.c.
 */
#pragma once

#include "ckpt/manifest.h"
#include "ckpt/snapshot.h"

typedef struct TsParts {
    int ranks, ranks_per_file;
    int arrays;
    TsBlockRange *slabs; /* (ranks, arrays) what each rank writes of each, owned */
    int64_t *scalars;    /* (arrays) the bytes of those without dims, owned */
} TsParts;

/* What all ranks of group write, on all of them. Collective on group. Owned by the caller: ts_parts_free. */
TsParts *ts_parts_gather(TsGroup *group, const TsSnapshot *snapshot, int ranks_per_file);

/* Sets *parts to NULL; NULL is fine. */
void ts_parts_free(TsParts **parts);

/* How many files there are. */
int ts_parts_count(int ranks, int ranks_per_file);

/* "state.0003.h5"; owned by the caller. And whether a name is such a one. */
char *ts_parts_file_name(int part);
bool ts_parts_is_file_name(const char *name);

/* What rank `rank` writes of array `index`; and whether that is in a file: not where it is empty, or a scalar. */
TsBlockRange ts_parts_slab(const TsParts *parts, int rank, int index);
bool ts_parts_has(const TsParts *parts, int rank, int index);

/* The name of its dataset; owned by the caller. */
char *ts_parts_dataset(const char *array, int rank);

/* The datasets of one file as a manifest, which a state file can be made of. Owned by the caller. */
TsManifest *ts_parts_manifest(const TsParts *parts, const TsManifest *manifest, int part);
