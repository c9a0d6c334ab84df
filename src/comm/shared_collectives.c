/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared: collectives of a group that lies on one node, in memory that its ranks share. Sums go in rank order.
 *
 * It is work for the cores of the ranks themselves: begin tells the neighbours where the data lies, poll and end do
 * this rank's part.
 */
#include "comm/algorithm.h"
#include "comm/group_internal.h"
#include "comm/scratch.h"

static bool serves(const TsGroup *group, const TsCommCall *call)
{
    return group->nodes == 1 && group->size > 1 &&
           (call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER ||
            call->kind == TS_COMM_ALL_GATHER || call->kind == TS_COMM_BROADCAST || call->kind == TS_COMM_BARRIER);
}

/* Rank j's block of the call: one run. */
static TsSpan block_of(const TsCommCall *call, int size, int rank)
{
    if (call->kind == TS_COMM_BROADCAST || call->kind == TS_COMM_BARRIER)
        return (TsSpan){0, rank == call->peer ? call->count_elems : 0};
    return ts_call_block(call, size, rank);
}

static void describe(TsSharedWork *work, const TsGroup *group, const TsCommCall *call)
{
    int size = group->size;
    work->group = group;
    work->out = call->out;
    work->in = call->in;
    work->count_elems = call->count_elems;
    work->reduces = call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER;
    work->gathers = call->kind != TS_COMM_REDUCE_SCATTER;
    work->dtype = call->dtype;
    work->reduction = call->reduction;
    ts_shared_work_need(work, size, size);
    for (int j = 0; j < size; j++) {
        work->runs[j] = block_of(call, size, j);
        work->first_run[j] = j;
    }
    work->first_run[size] = size;
}

/* Phases: 0 waits for its turn, 1 works. */
static bool poll(TsRequest *request, bool *moved)
{
    TsSharedWork *work = &request->work;
    if (request->phase == 0) {
        if (!ts_shared_work_turn(work, request->ticket))
            return false;
        *moved = true;
        request->phase = 1;
        ts_shared_work_start(work);
    }
    if (!ts_shared_work_poll(work, moved))
        return false;
    ts_shared_work_leave(work);
    return true;
}

static void start(TsRequest *request)
{
    TsSharedWork *work = &request->work;
    work->arena = ts_scratch_of(request->group)->arena;
    request->ticket = ts_shared_work_enter(work);
    describe(work, request->group, &request->call);
    if (ts_shared_work_turn(work, request->ticket)) { /* lets the neighbours begin */
        request->phase = 1;
        ts_shared_work_start(work);
    }
}

bool ts_shared_quick(TsGroup *group, const TsCommCall *call)
{
    TsScratch *scratch = ts_scratch_of(group);
    TsSharedWork *work = &scratch->quick;
    work->arena = scratch->arena;
    if ((size_t)call->count_elems * ts_dtype_bytes(call->dtype) > ts_algorithm_small_bytes() ||
        !ts_shared_work_free_now(work))
        return false;
    TsWatch watch = ts_watch_begin(group, call->kind, call->label, -1);
    ts_request_check(group, call->kind, call->count_elems, call->dtype, call->label);
    double start_s = MPI_Wtime();
    ts_shared_work_enter(work);
    describe(work, group, call);
    ts_shared_work_start(work);
    int64_t turn = 0;
    for (bool moved = false; !ts_shared_work_poll(work, &moved);) {
        if (turn == 64)
            ts_watch_wait(&watch);
        ts_request_breathe(&turn, false);
    }
    ts_shared_work_leave(work);
    ts_watch_end(&watch);
    double seconds = MPI_Wtime() - start_s;
    ts_account_add_wait(seconds);
    ts_account(group, call->kind, call->label, ts_call_sent_elems(group, call) * (int64_t)ts_dtype_bytes(call->dtype),
               0, seconds);
    return true;
}

const TsImplementation ts_implementation_shared = {
    .name = "shared", .serves = serves, .start = start, .poll = poll, .sums_bf16 = true};
