/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshot: what this rank writes of each array of a checkpoint: lent by the arrays themselves, or a copy that stays as
 * it is while they change. The copy has no more than the blocks that the rank owns: replicas divide them.
 */
#pragma once

#include "ckpt/segments.h"

typedef struct TsSnapshot {
    int count;
    TsSegmentPart *parts; /* (count) in the order of the arrays, owned */
    char *copy;           /* (copy_bytes) owned; kept from one copy to the next, so that its pages are there */
    size_t copy_bytes;
} TsSnapshot;

/* Points at the owned blocks of `arrays`, on meshes of `group`'s ranks; or copies them. What the snapshot held before
 * is gone. Not collective. */
void ts_snapshot_lend(TsSnapshot *snapshot, const TsBatch *arrays, const TsGroup *group);
void ts_snapshot_copy(TsSnapshot *snapshot, const TsBatch *arrays, const TsGroup *group);

/* Frees what it holds and empties it. */
void ts_snapshot_free(TsSnapshot *snapshot);
