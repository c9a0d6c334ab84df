/* SPDX-License-Identifier: Apache-2.0
 *
 * Request: one collective under way, whichever implementation serves it.
 *
 * Requests are kept with their group when they have ended and used again with their memory, so that steady state
 * allocates nothing. Whoever waits, for a request or for anything else of other ranks, moves all requests of the
 * process on: ranks may end requests in different orders. A request may be polled by one thread while another waits for
 * it; it is ended once.
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
    bool (*serves)(const TsGroup *group, const TsCommCall *call);
    /* Begins request->call. May not wait for other ranks. */
    void (*start)(TsRequest *request);
    /* Moves it on without waiting; true once over. *moved is set if anything moved. */
    bool (*poll)(TsRequest *request, bool *moved);
    bool sums_bf16; /* takes bf16 reductions as they are; for the others they are widened to f32 */
} TsImplementation;

struct TsRequest {
    TsGroup *group;
    TsCommCall call; /* what the implementation sees */
    const TsImplementation *implementation;

    /* A bf16 reduction served in f32: the caller's, and the f32 copy of what goes in and comes out. */
    bool widened;
    TsCommCall narrow;
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

    TsWatch watch;  /* by the thread that holds `busy` */
    uint64_t check; /* ts_comm_check_passed */
    double started_s;
    atomic_bool over;
    atomic_flag busy;          /* held by the thread that polls it */
    TsRequest *next, **before; /* in the process's list of live requests, or the group's of idle ones */
};

/* A request for `call`, begun. Collective on group in the order of calls. */
TsRequest *ts_request_begin(TsGroup *group, const TsImplementation *implementation, TsCommCall call);

/* One more MPI request in request->library, for the caller to fill in at once. */
MPI_Request *ts_request_new_library(TsRequest *request);

/* Starts messages of request->call's dtype, in pieces that MPI's `int` takes, as requests in request->library. */
void ts_request_send(TsRequest *request, const void *data, int64_t count_elems, int to, int tag);
void ts_request_receive(TsRequest *request, void *data, int64_t count_elems, int from, int tag);

/* This rank comes to a collective that MPI has in blocking form alone, such as making a group: returns once all ranks
 * of the group have come, so that what follows waits for nobody. The caller ends the watch. Collective on group. */
TsWatch ts_request_meet(TsGroup *group, TsCommKind kind, const char *label);

/* The check of a call (group_internal.h), from begin to end. */
void ts_request_check(TsGroup *group, TsCommKind kind, int64_t count_elems, TsDtype dtype, const char *label);

/* Waits for one MPI request of the caller's own. */
void ts_request_wait_native(MPI_Request *native);

/* Whether others want this rank's core, so that waiting gives it away at once. By the runtime. */
void ts_request_set_crowded(bool crowded);

/* Waits a moment between two polls, `turn` counting those in which nothing moved: hot at first, then giving the core
 * away, soon where ranks are more than cores. Now and then moves all requests of the process on. */
void ts_request_breathe(int64_t *turn, bool moved);

/* Elements that a rank sends in this collective by the formulas for rings, whichever implementation serves it. */
int64_t ts_call_sent_elems(const TsGroup *group, const TsCommCall *call);

/* Frees the group's idle requests, and checks that none is open. For ts_group_free. */
void ts_request_free_idle(const TsGroup *group, TsRequest **idle);
