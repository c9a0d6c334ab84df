/* SPDX-License-Identifier: Apache-2.0
 *
 * Hierarchical: in shared memory within nodes, in rings between them, one stream a local rank.
 *
 *     node 0   rank 0 -- stream 0 --.      all-reduce: each node reduces slice s of its sum at its local rank s; the
 *              rank 1 -- stream 1 --|-.    local ranks s of all nodes all-reduce slice s in a ring; each node gathers.
 *     node 1   rank 2 -- stream 0 --' |    reduce-scatter and all-gather: stream s carries the blocks of the local
 *              rank 3 -- stream 1 ----'    ranks s, s + streams, …
 *
 * There are as many streams as ranks on the emptiest node. Local ranks beyond them hand their blocks to (or get them
 * from) the stream's rank on their own node. So each byte crosses between nodes once for each node, whatever the ranks
 * on it. Sums: in rank order within a node, then in ring order of nodes.
 */
#include "base/memory.h"
#include "comm/algorithm.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"
#include "comm/ring.h"
#include "comm/scratch.h"

enum { PHASE_TURN, PHASE_NODE_FIRST, PHASE_HAND_IN, PHASE_RING, PHASE_HAND_OUT, PHASE_NODE_LAST };

/* Where this rank stands. */
typedef struct Place {
    int node, nodes, local, locals, streams, stream; /* local rank, ranks on this node, the stream it belongs to */
} Place;

static Place place_of(const TsGroup *group)
{
    Place place = {.node = group->node_of[group->rank],
                   .nodes = group->nodes,
                   .local = ts_group_node_rank(group),
                   .locals = ts_group_node_size(group),
                   .streams = group->node_size_min};
    place.stream = place.local % place.streams;
    return place;
}

static int locals_of(const TsGroup *group, int node)
{
    return group->node_first[node + 1] - group->node_first[node];
}

static bool serves(const TsGroup *group, const TsCommCall *call)
{
    return group->nodes > 1 && (call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER ||
                                call->kind == TS_COMM_ALL_GATHER);
}

/* The runs of the whole that each local rank of this node works on. All-reduce: slice s. Otherwise: the blocks that
 * stream s carries, node by node. */
static void describe_runs(TsRequest *request)
{
    const TsGroup *group = request->group;
    Place place = place_of(group);
    TsSharedWork *work = &request->work;
    ts_shared_work_need(work, place.locals, group->size);
    int runs = 0;
    for (int j = 0; j < place.locals; j++) {
        work->first_run[j] = runs;
        if (j >= place.streams)
            continue;
        if (request->call.kind == TS_COMM_ALL_REDUCE) {
            work->runs[runs++] = ts_even_part(request->call.count_elems, place.streams, j);
            continue;
        }
        for (int node = 0; node < place.nodes; node++)
            for (int local = j; local < locals_of(group, node); local += place.streams)
                work->runs[runs++] = ts_call_block(&request->call, group->size, ts_group_rank_at(group, node, local));
    }
    work->first_run[place.locals] = runs;
}

/* The ring of this rank's stream: its members, and the cut of what it carries among the nodes. */
static void describe_ring(TsRequest *request)
{
    const TsGroup *group = request->group;
    Place place = place_of(group);
    if (place.nodes + 1 > request->ring_capacity) {
        request->ring_members = ts_realloc(request->ring_members, ((size_t)place.nodes + 1) * sizeof(int));
        request->ring_first = ts_realloc(request->ring_first, ((size_t)place.nodes + 1) * sizeof(int64_t));
        request->ring_capacity = place.nodes + 1;
    }
    request->ring_first[0] = 0;
    for (int node = 0; node < place.nodes; node++) {
        int64_t carried = 0;
        for (int local = place.stream; local < locals_of(group, node); local += place.streams)
            carried += ts_call_block(&request->call, group->size, ts_group_rank_at(group, node, local)).count;
        request->ring_first[node + 1] = request->ring_first[node] + carried;
        request->ring_members[node] = ts_group_rank_at(group, node, place.stream);
    }
    TsMessages *messages = &request->messages;
    messages->group = request->group;
    messages->members = request->ring_members;
    messages->size = place.nodes;
    messages->index = place.node;
}

/* Room for what the stream carries between nodes, and as much on this node. */
static void need_room(TsRequest *request)
{
    size_t bytes = (size_t)request->ring_first[request->group->nodes] * ts_dtype_bytes(request->call.dtype);
    bytes = (bytes + 63) & ~(size_t)63;
    if (2 * bytes > request->room_bytes) {
        ts_free(request->room);
        request->room = ts_alloc(2 * bytes);
        request->room_bytes = 2 * bytes;
    }
    request->carried = request->room;
    request->on_node = request->room + bytes;
}

/* Between the whole and the stream's runs, one behind the other: what SHARED does where a node has several ranks. */
static void copy_runs(TsRequest *request, void *packed, const void *whole_in, void *whole_out)
{
    TsSharedWork *work = &request->work;
    TsDtype dtype = request->call.dtype;
    int64_t at = 0;
    for (int r = work->first_run[0]; r < work->first_run[1]; r++) {
        TsSpan run = work->runs[r];
        size_t bytes = (size_t)run.count * ts_dtype_bytes(dtype);
        if (bytes && whole_out)
            memcpy(ts_at(whole_out, run.first, dtype), ts_at(packed, at, dtype), bytes);
        else if (bytes)
            memcpy(ts_at(packed, at, dtype), ts_at_const(whole_in, run.first, dtype), bytes);
        at += run.count;
    }
}

static void start_node(TsRequest *request, void *out, const void *in, bool reduces)
{
    TsSharedWork *work = &request->work;
    work->group = request->group;
    work->out = out;
    work->in = in;
    work->count_elems = request->call.count_elems;
    work->reduces = reduces;
    work->gathers = !reduces;
    work->dtype = request->call.dtype;
    work->reduction = request->call.reduction;
    ts_shared_work_start(work);
}

/* ---- the phases, in order; each leaves request->phase at the one that is under way */

/* On this node: the sum of its ranks, each stream's part at the stream's rank. */
static void node_first(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    Place place = place_of(request->group);
    request->phase = PHASE_NODE_FIRST;
    if (place.locals > 1 && call->kind == TS_COMM_ALL_REDUCE) {
        const TsSharedWork *work = &request->work;
        int64_t first = place.local < place.streams ? work->runs[work->first_run[place.local]].first : 0;
        start_node(request, ts_at(call->out, first, call->dtype), call->in, true);
    } else if (place.locals > 1 && call->kind == TS_COMM_REDUCE_SCATTER) {
        start_node(request, request->carried, call->in, true);
    } else if (call->kind == TS_COMM_REDUCE_SCATTER) {
        copy_runs(request, request->carried, call->in, NULL);
    }
}

static bool alone_in_stream(Place place)
{
    return place.local < place.streams && place.local + place.streams >= place.locals;
}

/* Between the stream's rank and the others of the stream on this node: their blocks in (all-gather) or out. */
static void hand_over(TsRequest *request, bool in)
{
    const TsGroup *group = request->group;
    const TsCommCall *call = &request->call;
    Place place = place_of(group);
    request->phase = in ? PHASE_HAND_IN : PHASE_HAND_OUT;
    request->library_count = 0;
    if (alone_in_stream(place))
        return;
    int tag = request->messages.tag;
    if (place.local >= place.streams) {
        TsSpan own = ts_call_block(call, group->size, group->rank);
        int to = ts_group_rank_at(group, place.node, place.stream);
        if (in)
            ts_request_send(request, call->in, own.count, to, tag);
        else
            ts_request_receive(request, call->out, own.count, to, tag);
        return;
    }
    int64_t at = 0;
    for (int local = place.local; local < place.locals; local += place.streams) {
        int rank = ts_group_rank_at(group, place.node, local);
        int64_t count = ts_call_block(call, group->size, rank).count;
        void *block = ts_at(request->on_node, at, call->dtype);
        if (local == place.local)
            ts_reduce_pair(in ? block : call->out, in ? call->in : block, NULL, count, call->dtype, TS_SUM);
        else if (in)
            ts_request_receive(request, block, count, rank, tag);
        else
            ts_request_send(request, block, count, rank, tag);
        at += count;
    }
}

/* Between nodes. */
static void ring(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    Place place = place_of(request->group);
    request->phase = PHASE_RING;
    if (place.local >= place.streams)
        return;
    TsMessages *messages = &request->messages;
    messages->call = *call;
    messages->call.first_elem = request->ring_first;
    if (call->kind == TS_COMM_ALL_REDUCE) {
        TsSpan slice = ts_even_part(call->count_elems, place.streams, place.local);
        messages->call.first_elem = NULL;
        messages->call.count_elems = slice.count;
        messages->call.out = ts_at(call->out, slice.first, call->dtype);
        messages->call.in = place.locals > 1 ? messages->call.out : ts_at_const(call->in, slice.first, call->dtype);
    } else if (call->kind == TS_COMM_REDUCE_SCATTER) {
        messages->call.in = request->carried;
        messages->call.out = alone_in_stream(place) ? call->out : request->on_node;
    } else {
        messages->call.in = alone_in_stream(place) ? call->in : request->on_node;
        messages->call.out = request->carried;
    }
    ts_ring_start(messages);
}

/* On this node: each stream's part to all ranks. */
static void node_last(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    Place place = place_of(request->group);
    request->phase = PHASE_NODE_LAST;
    if (place.locals > 1 && call->kind == TS_COMM_ALL_REDUCE) {
        int64_t first =
            place.local < place.streams ? request->work.runs[request->work.first_run[place.local]].first : 0;
        start_node(request, call->out, ts_at(call->out, first, call->dtype), false);
    } else if (place.locals > 1) {
        start_node(request, call->out, request->carried, false);
    } else if (call->kind == TS_COMM_ALL_GATHER) {
        copy_runs(request, request->carried, NULL, call->out);
    }
}

/* Whether what is under way in the present phase has ended. */
static bool phase_over(TsRequest *request, bool *moved)
{
    Place place = place_of(request->group);
    switch (request->phase) {
    case PHASE_TURN:
        return place.locals == 1 || ts_shared_work_turn(&request->work, request->ticket);
    case PHASE_NODE_FIRST:
    case PHASE_NODE_LAST:
        return place.locals == 1 || ts_shared_work_poll(&request->work, moved);
    case PHASE_RING:
        return place.local >= place.streams || ts_messages_poll(&request->messages, moved);
    default:
        return ts_implementation_library.poll(request, moved);
    }
}

/* Begins the phase that follows the present one; false after the last. */
static bool next_phase(TsRequest *request)
{
    TsCommKind kind = request->call.kind;
    switch (request->phase) {
    case PHASE_TURN:
        if (kind == TS_COMM_ALL_GATHER)
            hand_over(request, true);
        else
            node_first(request);
        return true;
    case PHASE_NODE_FIRST:
    case PHASE_HAND_IN:
        ring(request);
        return true;
    case PHASE_RING:
        if (kind == TS_COMM_REDUCE_SCATTER)
            hand_over(request, false);
        else
            node_last(request);
        return true;
    default:
        return false;
    }
}

static bool poll(TsRequest *request, bool *moved)
{
    while (phase_over(request, moved)) {
        *moved = true;
        if (!next_phase(request)) {
            if (request->work.arena)
                ts_shared_work_leave(&request->work);
            return true;
        }
    }
    return false;
}

static void start(TsRequest *request)
{
    TsSharedWork *work = &request->work;
    work->arena = ts_scratch_of(request->group)->arena;
    if (work->arena)
        request->ticket = ts_shared_work_enter(work);
    request->phase = PHASE_TURN;
    describe_runs(request);
    describe_ring(request);
    if (request->call.kind != TS_COMM_ALL_REDUCE)
        need_room(request);
    ts_messages_reserve(&request->messages);
}

const TsImplementation ts_implementation_hierarchical = {
    .name = "hierarchical", .serves = serves, .start = start, .poll = poll};
