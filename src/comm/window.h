/* SPDX-License-Identifier: Apache-2.0
 *
 * Window: memory of every rank of a group that the other ranks of its node see.
 *
 * A window has an id that is the same on all ranks of the node, so that a rank can tell its neighbours where something
 * of its own lies: a place is (window, whose part, offset). Included by src/comm only.
 */
#pragma once

#include <mpi.h>
#include <stdatomic.h>

#include "comm/group.h"

typedef struct TsWindow {
    uint64_t id;       /* the same on all ranks of the node, unique on it */
    char **base;       /* (ranks) owned: where each rank's part begins in this process, aligned to 64 */
    size_t size_bytes; /* of this rank's part */
    int ranks, index;  /* how many on this node, and which this one is */
    int *world_rank;   /* (ranks) owned, ascending */
    TsGroup *group;    /* borrowed */
    MPI_Win win;
    uint64_t judged_group; /* the last group asked about, and whether it may use the window */
    bool judged_visible;
    struct TsWindow *next;
} TsWindow;

/* A place in a window, or in a rank's region (neighbour.h), as one rank tells it to its neighbours. All zero: none. */
typedef struct TsPlace {
    uint64_t window;       /* its id, or TS_PLACE_NEIGHBOUR */
    int64_t owner, offset; /* whose part, and bytes from its beginning */
} TsPlace;

#define TS_PLACE_NEIGHBOUR UINT64_MAX

/* `size_bytes` zeroed bytes on each rank. Collective on group, which is borrowed for the life of the window. */
TsWindow *ts_window_create(TsGroup *group, size_t size_bytes);

/* Collective on its group; sets *window to NULL. */
void ts_window_free(TsWindow **window);

/* The place of `size_bytes` at `pointer` if they lie in a window that all ranks of `group` on this node have, or in a
 * region that they see; else none. Not collective. */
TsPlace ts_window_place(const TsGroup *group, const void *pointer, size_t size_bytes);

/* Where a neighbour's place is in this process. */
void *ts_window_at(TsPlace place);
