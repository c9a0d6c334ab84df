/* SPDX-License-Identifier: Apache-2.0
 *
 * Arena: the memory through which the ranks of a group on one node work together, and how they keep in step.
 *
 * Every rank has a part of the arena: for each channel a counter of the steps it has done, a line that says where its
 * buffers lie, and slots for copies of data that lies elsewhere. A counter is written by its owner alone (release) and
 * only grows; neighbours read it (acquire): once it has reached n, all that its owner wrote before step n is there.
 * A collective takes a channel by turns (tickets), in the order of calls, which is the same on all ranks. Steps are
 * counted alike on all ranks, so nothing is ever reset. Included by src/comm only.
 */
#pragma once

#include "comm/call.h"
#include "comm/window.h"

enum {
    TS_CHANNELS = 2,         /* collectives of one group under way in shared memory at a time */
    TS_SLOTS = 4,            /* copies in flight in each direction: a rank may be that much ahead of another */
    TS_SMALL_BYTES = 8 << 10 /* data that goes through the small slots in one step */
};

/* What a rank tells about its buffers. */
typedef struct TsHandle {
    TsPlace in, out; /* where neighbours find them; none: they are this rank's alone */
} TsHandle;

/* One rank's part of one channel, at the head of its part of the arena. */
typedef struct TsLine {
    _Alignas(64) _Atomic uint64_t step;
    _Alignas(64) TsHandle handle;
} TsLine;

typedef struct TsChannel {
    uint64_t next_ticket;     /* of the next call */
    _Atomic uint64_t serving; /* whose turn it is */
    uint64_t steps;           /* done by all work before the present one */
    uint64_t works;           /* so far: small slots are used in turn */
} TsChannel;

typedef struct TsArena {
    TsWindow *window; /* owned */
    int ranks, index; /* on this node */
    size_t slot_bytes;
    TsChannel channel[TS_CHANNELS];
    int next_channel;
} TsArena;

/* Collective on group, which is borrowed for the life of the arena. NULL where the node has this rank alone. */
TsArena *ts_arena_create(TsGroup *group);

/* Collective on the group. Sets *arena to NULL. */
void ts_arena_free(TsArena **arena);

/* The parts of rank `index` of the node. */
TsLine *ts_arena_line(const TsArena *arena, int index, int channel);
char *ts_arena_small(const TsArena *arena, int index, int channel, int parity);  /* TS_SMALL_BYTES */
char *ts_arena_incoming(const TsArena *arena, int index, int channel, int slot); /* slot_bytes: data to be reduced */
char *ts_arena_outgoing(const TsArena *arena, int index, int channel, int slot); /* slot_bytes: results */
