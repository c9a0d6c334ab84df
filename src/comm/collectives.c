/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/collectives.h"

#include "comm/algorithm.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"

/* The call that a transfer asks for, checked. */
static TsCommCall call_of(TsGroup *group, TsCommKind kind, const TsTransfer *transfer, int peer)
{
    bool by_blocks = kind == TS_COMM_REDUCE_SCATTER || kind == TS_COMM_ALL_GATHER;
    bool reduces = kind == TS_COMM_ALL_REDUCE || kind == TS_COMM_REDUCE_SCATTER;
    TsCommCall call = {.kind = kind,
                       .out = transfer->out,
                       .in = transfer->in,
                       .count_elems = transfer->count_elems,
                       .dtype = transfer->dtype,
                       .reduction = transfer->reduction,
                       .peer = peer,
                       .label = transfer->label};
    const char *label = transfer->label ? transfer->label : "no label";
    if (by_blocks) {
        TS_CHECK(transfer->first_elem && transfer->first_elem[0] == 0, "%s (%s) on %s: blocks must begin at 0",
                 ts_comm_kind_name(kind), label, group->name);
        call.first_elem = transfer->first_elem;
        call.count_elems = transfer->first_elem[group->size];
    }
    TS_CHECK(call.count_elems >= 0, "%s (%s) on %s: %lld elements", ts_comm_kind_name(kind), label, group->name,
             (long long)call.count_elems);
    TS_CHECK(!reduces || ts_reduce_knows(call.dtype), "%s (%s) on %s: %s cannot be reduced", ts_comm_kind_name(kind),
             label, group->name, ts_dtype_name(call.dtype));
    return call;
}

static TsRequest *begin(TsGroup *group, TsCommCall call, TsAlgorithm algorithm)
{
    return ts_request_begin(group, ts_algorithm_choose(group, &call, algorithm), call);
}

/* Begins and ends. */
static void run(TsGroup *group, TsCommCall call, TsAlgorithm algorithm)
{
    const TsImplementation *implementation = ts_algorithm_choose(group, &call, algorithm);
    if (implementation == &ts_implementation_shared && ts_shared_quick(group, &call))
        return;
    TsRequest *request = ts_request_begin(group, implementation, call);
    ts_request_end(&request);
}

static void finish(TsRequest *request)
{
    ts_request_end(&request);
}

TsRequest *ts_all_reduce_begin(TsGroup *group, TsTransfer transfer)
{
    return begin(group, call_of(group, TS_COMM_ALL_REDUCE, &transfer, -1), transfer.algorithm);
}

void ts_all_reduce(TsGroup *group, TsTransfer transfer)
{
    run(group, call_of(group, TS_COMM_ALL_REDUCE, &transfer, -1), transfer.algorithm);
}

TsRequest *ts_reduce_scatter_begin(TsGroup *group, TsTransfer transfer)
{
    return begin(group, call_of(group, TS_COMM_REDUCE_SCATTER, &transfer, -1), transfer.algorithm);
}

void ts_reduce_scatter(TsGroup *group, TsTransfer transfer)
{
    run(group, call_of(group, TS_COMM_REDUCE_SCATTER, &transfer, -1), transfer.algorithm);
}

TsRequest *ts_all_gather_begin(TsGroup *group, TsTransfer transfer)
{
    return begin(group, call_of(group, TS_COMM_ALL_GATHER, &transfer, -1), transfer.algorithm);
}

void ts_all_gather(TsGroup *group, TsTransfer transfer)
{
    run(group, call_of(group, TS_COMM_ALL_GATHER, &transfer, -1), transfer.algorithm);
}

TsRequest *ts_all_to_all_begin(TsGroup *group, TsExchange exchange)
{
    TsCommCall call = {.kind = TS_COMM_ALL_TO_ALL,
                       .out = exchange.out,
                       .in = exchange.in,
                       .first_elem = exchange.send_first,
                       .receive_first = exchange.receive_first,
                       .dtype = exchange.dtype,
                       .peer = -1,
                       .label = exchange.label};
    return begin(group, call, exchange.algorithm);
}

void ts_all_to_all(TsGroup *group, TsExchange exchange)
{
    finish(ts_all_to_all_begin(group, exchange));
}

void ts_broadcast(TsGroup *group, TsTransfer transfer, int root)
{
    TS_CHECK(root >= 0 && root < group->size, "broadcast on %s of %d ranks from rank %d", group->name, group->size,
             root);
    run(group, call_of(group, TS_COMM_BROADCAST, &transfer, root), transfer.algorithm);
}

void ts_barrier(TsGroup *group, const char *label)
{
    TsCommCall call = {.kind = TS_COMM_BARRIER, .peer = -1, .label = label};
    run(group, call, TS_ALGORITHM_AUTO);
}

static TsRequest *begin_message(TsGroup *group, TsCommKind kind, const TsTransfer *transfer, int peer)
{
    TS_CHECK(peer >= 0 && peer < group->size, "%s on %s of %d ranks: rank %d", ts_comm_kind_name(kind), group->name,
             group->size, peer);
    return ts_request_begin(group, &ts_implementation_point_to_point, call_of(group, kind, transfer, peer));
}

TsRequest *ts_send_begin(TsGroup *group, TsTransfer transfer, int to)
{
    return begin_message(group, TS_COMM_SEND, &transfer, to);
}

void ts_send(TsGroup *group, TsTransfer transfer, int to)
{
    finish(ts_send_begin(group, transfer, to));
}

TsRequest *ts_receive_begin(TsGroup *group, TsTransfer transfer, int from)
{
    return begin_message(group, TS_COMM_RECEIVE, &transfer, from);
}

void ts_receive(TsGroup *group, TsTransfer transfer, int from)
{
    finish(ts_receive_begin(group, transfer, from));
}
