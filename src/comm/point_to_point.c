/* SPDX-License-Identifier: Apache-2.0
 *
 * Send and receive: one buffer from one rank to another, in pieces that MPI's `int` takes.
 */
#include "comm/algorithm.h"
#include "comm/group_internal.h"

static bool serves(const TsGroup *group, const TsCall *call)
{
    (void)group;
    return call->kind == TS_COMM_SEND || call->kind == TS_COMM_RECEIVE;
}

/* All pieces at once: messages with one tag keep their order. */
static void start(TsRequest *request)
{
    const TsCall *call = &request->call;
    TsGroup *group = request->group;
    int64_t limit = ts_algorithm_library_elems(call->dtype), pieces = ts_pieces(call->count_elems, limit);
    int tag = ts_group_label_tag(group, call->label), element_bytes = (int)ts_dtype_bytes(call->dtype);
    ts_request_need_library(request, (int)pieces);
    request->library_count = (int)pieces;
    for (int64_t i = 0; i < pieces; i++) {
        TsSpan piece = ts_span_piece((TsSpan){0, call->count_elems}, limit, i);
        int bytes = (int)piece.count * element_bytes;
        if (call->kind == TS_COMM_SEND)
            TS_MPI(MPI_Isend(ts_at_const(call->in, piece.first, call->dtype), bytes, MPI_BYTE, call->peer, tag,
                             group->comm, &request->library[i]));
        else
            TS_MPI(MPI_Irecv(ts_at(call->out, piece.first, call->dtype), bytes, MPI_BYTE, call->peer, tag, group->comm,
                             &request->library[i]));
    }
    request->messages.sent = call->kind == TS_COMM_SEND ? pieces : 0;
}

static bool poll(TsRequest *request, bool *moved)
{
    return ts_implementation_library.poll(request, moved);
}

const TsImplementation ts_implementation_point_to_point = {
    .name = "point-to-point", .serves = serves, .start = start, .poll = poll};
