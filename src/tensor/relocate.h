/* SPDX-License-Identifier: Apache-2.0
 *
 * Relocate: an array's values from where they lie on one mesh to where they are wanted on another, of the same ranks:
 * what is owned by one group of ranks moves to another, or to all. A redistribution within one mesh is redistribute.h.
 */
#pragma once

#include "tensor/array.h"

/* An array as it lies now and as it is to lie; a rank that has nothing of one of them gives NULL there. */
typedef struct TsRelocation {
    const TsArray *from;
    TsArray *to;
} TsRelocation;

/* Fills the blocks of relocation[k].to from those of relocation[k].from, k = 0 .. count. Of each, all blocks of `from`
 * together are the whole, and none is a part of a sum; ranks that hold the same block, hold the same values. Each
 * element goes once to each rank that wants it, from that rank itself where it has it. Collective on group, whose ranks
 * have all the meshes; same on all ranks: count, and what they say of each. `label` is borrowed for the life of the
 * process.
 */
void ts_relocate(TsGroup *group, const TsRelocation *relocation, int count, const char *label);
