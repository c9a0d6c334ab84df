/* SPDX-License-Identifier: Apache-2.0
 *
 * Slab: a rectangle of an array, as a TsBlockRange: what one rank owns, writes, reads, or adds to a checksum at a time.
 */
#pragma once

#include <stddef.h>

#include "tensor/array.h"

/* What `part` of `parts` has of `slab`: cut along the first dim that is long enough for all of them, else along the
 * longest. Shares may be empty; together they are the slab, and they are disjoint. A scalar is part 0's. */
TsBlockRange ts_slab_share(TsBlockRange slab, int part, int parts);

/* What this rank of `group` writes of `array`: its block, divided among the ranks that hold the same block. An array
 * on no mesh is held whole by every rank of the group. */
TsBlockRange ts_slab_owned(const TsArray *array, const TsGroup *group);

/* The whole of an array. */
TsBlockRange ts_slab_whole(TsShape shape);

bool ts_slab_empty(TsBlockRange slab);

/* Calls `visit` with pieces of `slab`, in the array's order, of at most `limit_elems` elements each; stops at the first
 * error and returns it. Nothing is called for an empty slab. */
typedef TsStatus (*TsSlabVisit)(TsBlockRange piece, void *context);
TS_MUST_USE TsStatus ts_slab_pieces(TsBlockRange slab, int64_t limit_elems, TsSlabVisit visit, void *context);

/* Elements of a slab that lie together both in the array and in a block of it: `elems` of them, from element
 * `array_elem` of the array and `block_elem` of the block. */
typedef struct TsSlabRun {
    int64_t array_elem, block_elem, elems;
} TsSlabRun;

/* Calls `visit` with the runs of `slab`, as long as they can be, in the array's order; `block` holds it, and may be
 * larger than the array. Stops at the first error and returns it. */
typedef TsStatus (*TsSlabRunVisit)(TsSlabRun run, void *context);
TS_MUST_USE TsStatus ts_slab_runs(TsShape shape, TsBlockRange block, TsBlockRange slab, TsSlabRunVisit visit,
                                  void *context);
