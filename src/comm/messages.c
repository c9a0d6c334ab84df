/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/messages.h"

#include <limits.h>

#include "base/memory.h"
#include "comm/group_internal.h"
#include "comm/reduce.h"

TsSpan ts_call_block(const TsCommCall *call, int parts, int part)
{
    if (!call->first_elem)
        return ts_even_part(call->count_elems, parts, part);
    return (TsSpan){call->first_elem[part], call->first_elem[part + 1] - call->first_elem[part]};
}

int64_t ts_call_largest_block(const TsCommCall *call, int parts)
{
    if (!call->first_elem)
        return ts_even_part(call->count_elems, parts, 0).count;
    int64_t largest = 0;
    for (int part = 0; part < parts; part++) {
        int64_t count = ts_call_block(call, parts, part).count;
        largest = count > largest ? count : largest;
    }
    return largest;
}

/* A message's length as MPI wants it: the one place where counts are narrowed. */
static int message_bytes(int64_t elems, TsDtype dtype)
{
    int64_t bytes = elems * (int64_t)ts_dtype_bytes(dtype);
    TS_CHECK(bytes >= 0 && bytes <= INT_MAX, "a message of %lld bytes", (long long)bytes);
    return (int)bytes;
}

static void post(TsMessages *messages, TsLane *slot, int tag)
{
    MPI_Comm comm = messages->group->comm;
    TsDtype dtype = messages->call.dtype;
    TsRound *round = &slot->round;
    slot->requests[0] = slot->requests[1] = MPI_REQUEST_NULL;
    if (round->receive_elems)
        TS_MPI(MPI_Irecv(round->receive, message_bytes(round->receive_elems, dtype), MPI_BYTE, round->from, tag, comm,
                         &slot->requests[0]));
    if (round->send_elems) {
        TS_MPI(MPI_Isend(round->send, message_bytes(round->send_elems, dtype), MPI_BYTE, round->to, tag, comm,
                         &slot->requests[1]));
        messages->sent++;
    }
}

/* Puts the slot's next round under way, or the first round of the next lane; false if there is none. Slot s carries
 * lanes s, s + TS_LANES, …: messages of one slot have one tag, and meet in order. */
static bool next_round(TsMessages *messages, int s)
{
    TsLane *slot = &messages->slot[s];
    size_t lane_scratch = messages->scratch_bytes / TS_LANES;
    while (slot->lane < messages->lanes) {
        slot->round = (TsRound){0};
        if (messages->round_of(messages, &slot->round, slot->lane, slot->index,
                               messages->scratch + (size_t)s * lane_scratch)) {
            post(messages, slot, messages->tag + s);
            return true;
        }
        slot->lane += TS_LANES;
        slot->index = 0;
    }
    return false;
}

void ts_messages_reserve(TsMessages *messages)
{
    messages->tag = ts_group_next_tag(messages->group);
    for (int s = 1; s < TS_LANES; s++)
        ts_group_next_tag(messages->group);
}

void ts_messages_start(TsMessages *messages)
{
    size_t piece_bytes = ((size_t)messages->piece_elems * ts_dtype_bytes(messages->call.dtype) + 63) & ~(size_t)63;
    size_t scratch_bytes = piece_bytes * (size_t)messages->scratch_pieces * TS_LANES;
    if (scratch_bytes > messages->scratch_bytes) {
        ts_free(messages->scratch);
        messages->scratch = ts_alloc(scratch_bytes);
        messages->scratch_bytes = scratch_bytes;
    }
    messages->ended_lanes = 0;
    for (int s = 0; s < TS_LANES; s++) {
        messages->slot[s] = (TsLane){.lane = s};
        if (!next_round(messages, s))
            messages->ended_lanes++;
    }
}

bool ts_messages_poll(TsMessages *messages, bool *moved)
{
    for (int s = 0; s < TS_LANES && messages->ended_lanes < TS_LANES; s++) {
        TsLane *slot = &messages->slot[s];
        while (slot->lane < messages->lanes) {
            int over = 0;
            TS_MPI(MPI_Testall(2, slot->requests, &over, MPI_STATUSES_IGNORE));
            if (!over)
                break;
            *moved = true;
            TsRound *round = &slot->round;
            ts_reduce_pair(round->out, round->a, round->b, round->elems, messages->call.dtype,
                           messages->call.reduction);
            slot->index++;
            if (!next_round(messages, s)) {
                messages->ended_lanes++;
                break;
            }
        }
    }
    return messages->ended_lanes == TS_LANES;
}
