/* SPDX-License-Identifier: Apache-2.0
 *
 * Send and receive: one buffer from one rank to another, in pieces that MPI's `int` takes.
 */
#include "comm/algorithm.h"
#include "comm/group_internal.h"

static bool serves(const TsGroup *group, const TsCommCall *call)
{
    (void)group;
    return call->kind == TS_COMM_SEND || call->kind == TS_COMM_RECEIVE;
}

static void start(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    int tag = ts_group_label_tag(request->group, call->label); /* messages with one tag keep their order */
    if (call->kind == TS_COMM_SEND)
        ts_request_send(request, call->in, call->count_elems, call->peer, tag);
    else
        ts_request_receive(request, call->out, call->count_elems, call->peer, tag);
}

static bool poll(TsRequest *request, bool *moved)
{
    return ts_implementation_library.poll(request, moved);
}

const TsImplementation ts_implementation_point_to_point = {
    .name = "point-to-point", .serves = serves, .start = start, .poll = poll};
