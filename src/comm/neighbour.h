/* SPDX-License-Identifier: Apache-2.0
 *
 * Neighbours: the other ranks of this node, whose large blocks of ts_alloc (base/region.h) this process sees.
 *
 * Each rank opens the files of the others once, when the runtime starts, and maps them whole: where a neighbour's block
 * lies is then known without another word. All ranks of a node see one another so, or none does: where one has no
 * region, or may not open another's (another user, a container of its own), all go on without. Included by src/comm
 * only.
 */
#pragma once

#include "comm/window.h"

/* Ranks of the node show one another their regions. Collective on the group of all ranks. */
void ts_neighbours_meet(TsGroup *world);

/* Sees none any more: what is left of them ends with the process. Not collective. */
void ts_neighbours_leave(void);

/* The place of `size_bytes` at `pointer` if they lie in this rank's region and the neighbours see it; else none. */
TsPlace ts_neighbour_place(const void *pointer, size_t size_bytes);

/* Where a neighbour's place is in this process. */
void *ts_neighbour_at(TsPlace place);
