/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Group is inside src/comm: a communicator, the layout of its ranks on nodes, and the hooks of every collective.
 * Included by src/comm only.
 *
 * A collective does, in this order: ts_watch_begin, ts_comm_check_begin, its messages (ts_watch_wait around whatever
 * blocks, ts_watch_progress when something moved), ts_watch_end, ts_account. Nothing waits for other ranks without
 * moving the requests of this process on (request.h): others may wait for one of them.
 */
#pragma once

#include <mpi.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/dtype.h"
#include "comm/accounting.h"
#include "comm/group.h"
#include "comm/mesh.h"
#include "comm/watchdog.h"

/* Calls MPI; a failure aborts the job and names the call. */
#define TS_MPI(call)                                                                                                   \
    do {                                                                                                               \
        int ts_mpi_code = (call);                                                                                      \
        if (ts_mpi_code != MPI_SUCCESS)                                                                                \
            ts_mpi_fatal(__FILE__, __LINE__, #call, ts_mpi_code);                                                      \
    } while (0)
_Noreturn void ts_mpi_fatal(const char *file, int line, const char *call, int code);

enum {
    TS_TAG_COLLECTIVES = 16384, /* tags below are given to collectives in turn, those from here on to send/receive */
    TS_GROUP_RECENT = 8,        /* how many past calls a group remembers for the watchdog */
};

/* One arrival at a collective: the watchdog's thread reads it while the rank goes on. */
typedef struct TsArrival {
    _Atomic uint64_t sequence;
    _Atomic int kind;
    const char *_Atomic label;
} TsArrival;

struct TsGroup {
    MPI_Comm comm; /* owned; errors return, to TS_MPI */
    MPI_Comm
        node_comm; /* owned; the ranks of this group on this node, by rank: for shared windows and their barriers */
    int rank, size;
    char *name;     /* owned */
    TsAxisSet axes; /* of the mesh that made it, else 0 */
    uint64_t id;    /* the same on all ranks of the group, unique in the job */

    int *world_rank;   /* (size) owned: each rank's number in the whole job */
    int *node_of;      /* (size) owned: the node of each rank; nodes are numbered by their lowest rank */
    int *node_rank_of; /* (size) owned: each rank's place among those of its node */
    int nodes;
    int *node_first;  /* (nodes + 1) owned: node n holds node_member[node_first[n] .. node_first[n + 1]) */
    int *node_member; /* (size) owned: ranks by (node, rank) */
    int node_size_min,
        node_size_max; /* ranks on the emptiest and on the fullest node; equal: one stream a local rank */

    uint32_t next_tag; /* ts_group_next_tag */
    int tag_ub;        /* the largest tag MPI allows on comm */

    _Atomic uint64_t arrivals; /* collectives begun */
    TsArrival recent[TS_GROUP_RECENT];
    TsGroup *next_watched, *previous_watched; /* the watchdog's list of live groups */

    struct TsCallChecks *checks; /* owned; debug builds: calls whose check is under way */

    void *scratch; /* what the collectives keep with a group (windows, buffers): theirs alone; NULL at first */
    void (*scratch_free)(TsGroup *group, void *scratch); /* called, collectively, by ts_group_free if not NULL */
};

/* The tag of this rank's next collective on the group: all ranks begin collectives in the same order, so it is the
 * same on all. In [0, TS_TAG_COLLECTIVES). */
static inline int ts_group_next_tag(TsGroup *group)
{
    return (int)(group->next_tag++ % TS_TAG_COLLECTIVES);
}

/* The tag of send/receive messages with `label` (equal texts give equal tags; NULL is a label). */
int ts_group_label_tag(const TsGroup *group, const char *label);

/* The rank that is `node_rank`-th of `node`. */
static inline int ts_group_rank_at(const TsGroup *group, int node, int node_rank)
{
    return group->node_member[group->node_first[node] + node_rank];
}

/* Takes over `comm`, on which it is collective. `axes` as in TsGroup. */
TsGroup *ts_group_adopt(MPI_Comm comm, const char *name, TsAxisSet axes);

/* ts_group_split for a mesh. */
TsGroup *ts_group_split_axes(TsGroup *parent, const char *name, TsAxisSet axes, int color, int key);

/* Tells where the ranks of the whole job lie: node_of_world[r] is any number that ranks of one node share. Copied;
 * NULL forgets it. Called by the runtime before the first group is made. */
void ts_group_set_layout(const int *node_of_world, int ranks);

/* The watchdog's list of groups whose arrivals it can tell. */
void ts_watch_add_group(TsGroup *group);
void ts_watch_remove_group(TsGroup *group);

/* Live Groups, Meshes and shared buffers: ts_runtime_end fails where one is left. */
typedef enum TsResource { TS_RESOURCE_GROUP, TS_RESOURCE_MESH, TS_RESOURCE_SHARED_BUFFER, TS_RESOURCES } TsResource;
void ts_resource_count(TsResource resource, int change);

/* A bug of the caller if a shared buffer of the group is still there. */
void ts_shared_expect_none(const TsGroup *group);

/* Debug builds (TS_DEBUG): do all ranks of the group call this with equal (kind, count_elems, dtype, label)? If not,
 * what each called is printed, and the job ends. Beginning does not wait for other ranks; the number it returns is
 * asked for by ts_comm_check_passed, which is true once the check of that number and all before it have passed.
 * Collective on group in the order of calls. Not for send and receive, nor for counts that differ between ranks by
 * right (pass 0 for those). In other builds there is nothing to pass. */
#ifndef NDEBUG
#define TS_DEBUG 1
uint64_t ts_comm_check_begin(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype, const char *label);
bool ts_comm_check_passed(TsGroup *group, uint64_t number);
void ts_comm_check_free(TsGroup *group);
#else
#define TS_DEBUG 0
static inline uint64_t ts_comm_check_begin(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype,
                                           const char *label)
{
    (void)group, (void)kind, (void)count_elems, (void)dtype, (void)label;
    return 0;
}
static inline bool ts_comm_check_passed(TsGroup *group, uint64_t number)
{
    (void)group, (void)number;
    return true;
}
static inline void ts_comm_check_free(TsGroup *group)
{
    (void)group;
}
#endif
