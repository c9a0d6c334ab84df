/* SPDX-License-Identifier: Apache-2.0
 *
 * Ring: each rank talks with its two neighbours only; every link carries each byte once.
 *
 * Reduce-scatter on n ranks takes n - 1 rounds. In round t the rank at i sends the running sum of block i - t - 1 and
 * receives that of block i - t - 2, to which it adds its own; the last it adds to is block i. So block i is summed in
 * the order i + 1, i + 2, …, i: the same bits on every call. All-gather sends on, in round t, block i - t. All-reduce
 * is the one after the other. A lane carries one piece of every block (Patarasuk and Yuan, Bandwidth optimal all-reduce
 * algorithms for clusters of workstations, 2009; the lanes make it a pipeline).
 */
#include "comm/ring.h"

#include "comm/algorithm.h"
#include "comm/group_internal.h"

static int wrap(int index, int size)
{
    index %= size;
    return index < 0 ? index + size : index;
}

static int member(const TsMessages *messages, int index)
{
    index = wrap(index, messages->size);
    return messages->members ? messages->members[index] : index;
}

/* The lane's piece of a block, in the whole. */
static TsSpan piece_of(const TsMessages *messages, int block, int64_t lane)
{
    TsSpan span = ts_call_block(&messages->call, messages->size, wrap(block, messages->size));
    return ts_span_piece(span, messages->piece_elems, lane);
}

/* Round `t` of the sum: `out` is where the piece of the own block ends. */
static void reduce_round(const TsMessages *messages, TsRound *round, int64_t lane, int t, void *out, char *scratch)
{
    const TsCommCall *call = &messages->call;
    TsSpan sent = piece_of(messages, messages->index - t - 1, lane);
    TsSpan received = piece_of(messages, messages->index - t - 2, lane);
    char *even = scratch, *odd = ts_at(scratch, messages->piece_elems, call->dtype);
    char *landing = t % 2 ? odd : even, *before = t % 2 ? even : odd;
    round->send = t == 0 ? ts_at_const(call->in, sent.first, call->dtype) : before;
    round->send_elems = sent.count;
    round->to = member(messages, messages->index + 1);
    round->receive = landing;
    round->receive_elems = round->elems = received.count;
    round->from = member(messages, messages->index - 1);
    round->out = t == messages->size - 2 ? out : landing;
    round->a = landing;
    round->b = ts_at_const(call->in, received.first, call->dtype);
}

/* Round `t` of handing blocks on; `own` is the piece of the own block. */
static void gather_round(const TsMessages *messages, TsRound *round, int64_t lane, int t, const void *own)
{
    const TsCommCall *call = &messages->call;
    TsSpan sent = piece_of(messages, messages->index - t, lane);
    TsSpan received = piece_of(messages, messages->index - t - 1, lane);
    round->send = t == 0 ? own : ts_at(call->out, sent.first, call->dtype);
    round->send_elems = sent.count;
    round->to = member(messages, messages->index + 1);
    round->receive = ts_at(call->out, received.first, call->dtype);
    round->receive_elems = received.count;
    round->from = member(messages, messages->index - 1);
}

static bool all_reduce_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    int64_t turns = messages->size - 1;
    TsSpan own = piece_of(messages, messages->index, lane);
    void *out = ts_at(messages->call.out, own.first, messages->call.dtype);
    if (index < turns)
        reduce_round(messages, round, lane, (int)index, out, scratch);
    else if (index < 2 * turns)
        gather_round(messages, round, lane, (int)(index - turns), out);
    return index < 2 * turns;
}

static bool reduce_scatter_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    void *out = ts_at(messages->call.out, lane * messages->piece_elems, messages->call.dtype);
    if (index < messages->size - 1)
        reduce_round(messages, round, lane, (int)index, out, scratch);
    return index < messages->size - 1;
}

static bool all_gather_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    (void)scratch;
    const TsCommCall *call = &messages->call;
    const void *own = ts_at_const(call->in, lane * messages->piece_elems, call->dtype);
    if (index >= messages->size - 1)
        return false;
    gather_round(messages, round, lane, (int)index, own);
    if (index == 0) {
        TsSpan block = piece_of(messages, messages->index, lane);
        round->out = ts_at(call->out, block.first, call->dtype);
        round->a = own;
        round->elems = block.count;
    }
    return true;
}

/* The root's data goes from neighbour to neighbour; pieces follow one another. */
static bool broadcast_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    (void)scratch;
    const TsCommCall *call = &messages->call;
    TsSpan piece = ts_span_piece((TsSpan){0, call->count_elems}, messages->piece_elems, lane);
    int place = wrap(messages->index - call->peer, messages->size); /* from the root */
    void *out = ts_at(call->out, piece.first, call->dtype);
    if (index == 0 && place == 0) {
        *round = (TsRound){.out = out, .a = ts_at_const(call->in, piece.first, call->dtype), .elems = piece.count};
    } else if (index == 0) {
        *round = (TsRound){.receive = out, .receive_elems = piece.count, .from = member(messages, messages->index - 1)};
    } else if (index == 1 && place + 1 < messages->size) {
        *round = (TsRound){.send = out, .send_elems = piece.count, .to = member(messages, messages->index + 1)};
    }
    return index <= 1;
}

/* Lane i: what goes to the rank i places on and comes from the one i places back, one piece a round. */
static bool all_to_all_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    (void)scratch;
    const TsCommCall *call = &messages->call;
    int to = wrap(messages->index + (int)lane, messages->size),
        from = wrap(messages->index - (int)lane, messages->size);
    TsSpan sent = {call->first_elem[to], call->first_elem[to + 1] - call->first_elem[to]};
    TsSpan received = {call->receive_first[from], call->receive_first[from + 1] - call->receive_first[from]};
    int64_t send_rounds = ts_pieces(sent.count, messages->piece_elems);
    int64_t receive_rounds = ts_pieces(received.count, messages->piece_elems);
    if (index >= send_rounds && index >= receive_rounds)
        return false;
    sent = ts_span_piece(sent, messages->piece_elems, index);
    received = ts_span_piece(received, messages->piece_elems, index);
    const void *in = ts_at_const(call->in, sent.first, call->dtype);
    void *out = ts_at(call->out, received.first, call->dtype);
    if (lane == 0)
        *round = (TsRound){.out = out, .a = in, .elems = sent.count};
    else
        *round = (TsRound){.send = in,
                           .send_elems = sent.count,
                           .to = to,
                           .receive = out,
                           .receive_elems = received.count,
                           .from = from};
    return true;
}

void ts_ring_start(TsMessages *messages)
{
    static TsRoundOf *const round_of[TS_COMM_KINDS] = {
        [TS_COMM_ALL_REDUCE] = all_reduce_round, [TS_COMM_REDUCE_SCATTER] = reduce_scatter_round,
        [TS_COMM_ALL_GATHER] = all_gather_round, [TS_COMM_BROADCAST] = broadcast_round,
        [TS_COMM_ALL_TO_ALL] = all_to_all_round,
    };
    const TsCommCall *call = &messages->call;
    messages->round_of = round_of[call->kind];
    messages->piece_elems = ts_algorithm_piece_elems(call->dtype);
    messages->scratch_pieces = call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER ? 2 : 0;
    if (call->kind == TS_COMM_ALL_TO_ALL)
        messages->lanes = messages->size;
    else if (call->kind == TS_COMM_BROADCAST)
        messages->lanes = ts_pieces(call->count_elems, messages->piece_elems);
    else
        messages->lanes = ts_pieces(ts_call_largest_block(call, messages->size), messages->piece_elems);
    ts_messages_start(messages);
}

static bool serves(const TsGroup *group, const TsCommCall *call)
{
    (void)group;
    return call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER ||
           call->kind == TS_COMM_ALL_GATHER || call->kind == TS_COMM_BROADCAST || call->kind == TS_COMM_ALL_TO_ALL;
}

static void start(TsRequest *request)
{
    TsMessages *messages = &request->messages;
    messages->group = request->group;
    messages->call = request->call;
    messages->members = NULL;
    messages->size = request->group->size;
    messages->index = request->group->rank;
    ts_messages_reserve(messages);
    ts_ring_start(messages);
}

static bool poll(TsRequest *request, bool *moved)
{
    return ts_messages_poll(&request->messages, moved);
}

const TsImplementation ts_implementation_ring = {.name = "ring", .serves = serves, .start = start, .poll = poll};
