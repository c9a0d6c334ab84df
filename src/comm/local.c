/* SPDX-License-Identifier: Apache-2.0
 *
 * Local: collectives of a group of one rank, which are copies.
 */
#include "comm/algorithm.h"
#include "comm/reduce.h"

static bool serves(const TsGroup *group, const TsCommCall *call)
{
    (void)call;
    return ts_group_size(group) == 1;
}

static void start(TsRequest *request)
{
    const TsCommCall *call = &request->call;
    if (call->kind == TS_COMM_ALL_TO_ALL)
        ts_reduce_pair(ts_at(call->out, call->receive_first[0], call->dtype),
                       ts_at_const(call->in, call->first_elem[0], call->dtype), NULL,
                       call->first_elem[1] - call->first_elem[0], call->dtype, TS_SUM);
    else
        ts_reduce_pair(call->out, call->in, NULL, call->count_elems, call->dtype, TS_SUM);
}

static bool poll(TsRequest *request, bool *moved)
{
    (void)request;
    *moved = true;
    return true;
}

const TsImplementation ts_implementation_local = {
    .name = "local", .serves = serves, .start = start, .poll = poll, .sums_bf16 = true};
