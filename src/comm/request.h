/* SPDX-License-Identifier: Apache-2.0
 *
 * Request: one collective under way, whichever implementation serves it.
 *
 * Requests are kept with their group when they have ended and used again with their memory, so that steady state
 * allocates nothing. Whoever waits for one moves all others of the process on too: ranks may end requests in different
 * orders. A request may be polled by one thread while another waits for it; it is ended once.
 * Included by src/comm only.
 */
#pragma once

#include <stdatomic.h>

#include "comm/call.h"
#include "comm/messages.h"
#include "comm/shared_work.h"
#include "comm/watchdog.h"

typedef struct TsImplementation {
    const char *name;
    /* Whether it can serve this call on this group; the same on all ranks. */
    bool (*serves)(const TsGroup *group, const TsCall *call);
    /* Begins request->call. May not wait for other ranks. */
    void (*start)(TsRequest *request);
    /* Moves it on without waiting; true once over. *moved is set if anything moved. */
    bool (*poll)(TsRequest *request, bool *moved);
    bool sums_bf16; /* takes bf16 reductions as they are; for the others they are widened to f32 */
} TsImplementation;

struct TsRequest {
    TsGroup *group;
    TsCall call; /* what the implementation sees */
    const TsImplementation *implementation;

    /* A bf16 reduction served in f32: the caller's, and the f32 copy of what goes in and comes out. */
    bool widened;
    TsCall narrow;
    float *wide; /* owned */
    int64_t wide_elems;

    /* State of the implementations. */
    int phase;
    TsMessages messages;
    MPI_Request *library; /* (library_count) owned */
    int library_count, library_capacity;
    int *int_blocks; /* (int_blocks_capacity) owned */
    int int_blocks_capacity;

    TsSharedWork work;
    uint64_t ticket;   /* its turn in shared memory */
    int *ring_members; /* (ring_capacity) owned, as the rest: a stream of HIERARCHICAL among the nodes */
    int64_t *ring_first;
    int ring_capacity;
    char *room, *carried, *on_node; /* room is owned, the others point into it */
    size_t room_bytes;

    TsWatch watch;
    double started_s;
    atomic_bool over;
    atomic_flag busy;          /* held by the thread that polls it */
    TsRequest *next, **before; /* in the process's list of live requests, or the group's of idle ones */
};

/* A request for `call`, begun. Collective on group in the order of calls. */
TsRequest *ts_request_begin(TsGroup *group, const TsImplementation *implementation, TsCall call);

/* One more MPI request in request->library, for the caller to fill in at once. */
MPI_Request *ts_request_new_library(TsRequest *request);

/* Starts messages of request->call's dtype, in pieces that MPI's `int` takes, as requests in request->library. */
void ts_request_send(TsRequest *request, const void *data, int64_t count_elems, int to, int tag);
void ts_request_receive(TsRequest *request, void *data, int64_t count_elems, int from, int tag);

/* Waits a moment between two polls, `turn` counting those in which nothing moved: hot at first, then giving the core
 * away, soon where ranks are more than cores. Now and then moves all requests of the process on. */
void ts_request_breathe(int64_t *turn, bool moved);

/* Elements that a rank sends in this collective by the formulas for rings, whichever implementation serves it. */
int64_t ts_call_sent_elems(const TsGroup *group, const TsCall *call);

/* Frees the group's idle requests. For ts_group_free. */
void ts_request_free_idle(TsRequest **idle);
