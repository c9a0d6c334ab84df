/* SPDX-License-Identifier: Apache-2.0
 *
 * Tree: reductions along one fixed binary tree over ranks 0..size-1, whatever nodes they lie on.
 *
 *     0   1   2   3   4        The sum of ranks [r, r + 2d) is that of [r, r + d) plus that of [r + d, r + 2d), for
 *     |---'   |---'   |        d = 1, 2, 4, …; rank r holds it. Rank 0 ends with the whole: ((0+1)+(2+3))+4.
 *     |-------'       |
 *     '---------------'        Then it goes down the same tree, or to the rank whose block it is.
 *
 * The same tree within a rank (over its virtual shards) and between ranks gives the same bits on any number of ranks
 * that divides the shards. It is the reference of the other implementations.
 */
#include "comm/algorithm.h"
#include "comm/group_internal.h"

/* What one lane carries: a piece of the whole, and whose it is in the end (or at first); -1: everybody's. */
typedef struct TreeLane {
    TsSpan piece;     /* in the whole */
    int64_t in_block; /* where the piece begins in the owner's block */
    int owner;
} TreeLane;

static TreeLane tree_lane(const TsMessages *messages, int64_t lane)
{
    const TsCommCall *call = &messages->call;
    if (!call->first_elem)
        return (TreeLane){ts_span_piece((TsSpan){0, call->count_elems}, messages->piece_elems, lane), 0, -1};
    int owner = (int)(lane % messages->group->size);
    int64_t piece = lane / messages->group->size;
    TsSpan block = ts_call_block(call, messages->group->size, owner);
    return (TreeLane){ts_span_piece(block, messages->piece_elems, piece), piece * messages->piece_elems, owner};
}

static int levels(int size)
{
    int count = 0;
    while (1 << count < size)
        count++;
    return count;
}

/* Level `level` on the way up: ranks at odd multiples of 2^level send their sum to the even one below, where it lands
 * in `partial + piece` and is added to `sum`. A rank that has not received yet has its own data as its sum. */
static void go_up(const TsMessages *messages, TsRound *round, TreeLane lane, int level, void *sum, void *landing)
{
    const TsCommCall *call = &messages->call;
    int rank = messages->group->rank, distance = 1 << level;
    const void *own = ts_at_const(call->in, lane.piece.first, call->dtype);
    bool received = rank % 2 == 0 && rank + 1 < messages->group->size && level > 0;
    if (rank % (2 * distance) == distance) {
        round->send = received ? sum : own;
        round->send_elems = lane.piece.count;
        round->to = rank - distance;
    } else if (rank % (2 * distance) == 0 && rank + distance < messages->group->size) {
        round->receive = landing;
        round->receive_elems = round->elems = lane.piece.count;
        round->from = rank + distance;
        round->out = sum;
        round->a = received ? sum : own;
        round->b = landing;
    }
}

/* Level `level` on the way down from `root`: `rank` counted from the root. */
static void go_down(const TsMessages *messages, TsRound *round, int64_t elems, int root, int level, void *whole)
{
    int size = messages->group->size, distance = 1 << level;
    int rank = (messages->group->rank - root + size) % size;
    if (rank % (2 * distance) == distance) {
        round->receive = whole;
        round->receive_elems = elems;
        round->from = (rank - distance + root) % size;
    } else if (rank % (2 * distance) == 0 && rank + distance < size) {
        round->send = whole;
        round->send_elems = elems;
        round->to = (rank + distance + root) % size;
    }
}

static bool all_reduce_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    TreeLane what = tree_lane(messages, lane);
    int up = levels(messages->group->size);
    void *out = ts_at(messages->call.out, what.piece.first, messages->call.dtype);
    if (index < up)
        go_up(messages, round, what, (int)index, out, scratch);
    else if (index < 2 * up)
        go_down(messages, round, what.piece.count, 0, 2 * up - 1 - (int)index, out);
    return index < 2 * up;
}

static bool reduce_scatter_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    TreeLane what = tree_lane(messages, lane);
    TsDtype dtype = messages->call.dtype;
    int up = levels(messages->group->size), rank = messages->group->rank;
    void *sum = scratch, *landing = ts_at(scratch, messages->piece_elems, dtype);
    void *out = ts_at(messages->call.out, what.in_block, dtype);
    if (index < up) {
        go_up(messages, round, what, (int)index, sum, landing);
    } else if (index == up && rank == 0 && what.owner == 0) {
        *round = (TsRound){.out = out, .a = sum, .elems = what.piece.count};
    } else if (index == up && rank == 0) {
        *round = (TsRound){.send = sum, .send_elems = what.piece.count, .to = what.owner};
    } else if (index == up && rank == what.owner) {
        *round = (TsRound){.receive = out, .receive_elems = what.piece.count, .from = 0};
    }
    return index <= up;
}

/* Round 0 puts the own block in its place; then each block goes down the tree that begins at its owner. */
static bool all_gather_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    (void)scratch;
    TreeLane what = tree_lane(messages, lane);
    TsDtype dtype = messages->call.dtype;
    int down = levels(messages->group->size);
    void *out = ts_at(messages->call.out, what.piece.first, dtype);
    if (index == 0 && what.owner == messages->group->rank)
        *round =
            (TsRound){.out = out, .a = ts_at_const(messages->call.in, what.in_block, dtype), .elems = what.piece.count};
    else if (index > 0 && index <= down)
        go_down(messages, round, what.piece.count, what.owner, down - (int)index, out);
    return index <= down;
}

static bool broadcast_round(const TsMessages *messages, TsRound *round, int64_t lane, int64_t index, char *scratch)
{
    (void)scratch;
    TreeLane what = tree_lane(messages, lane);
    TsDtype dtype = messages->call.dtype;
    int down = levels(messages->group->size), root = messages->call.peer;
    void *out = ts_at(messages->call.out, what.piece.first, dtype);
    if (index == 0 && messages->group->rank == root)
        *round = (TsRound){
            .out = out, .a = ts_at_const(messages->call.in, what.piece.first, dtype), .elems = what.piece.count};
    else if (index > 0 && index <= down)
        go_down(messages, round, what.piece.count, root, down - (int)index, out);
    return index <= down;
}

static bool serves(const TsGroup *group, const TsCommCall *call)
{
    (void)group;
    return call->kind == TS_COMM_ALL_REDUCE || call->kind == TS_COMM_REDUCE_SCATTER ||
           call->kind == TS_COMM_ALL_GATHER || call->kind == TS_COMM_BROADCAST;
}

static void start(TsRequest *request)
{
    static TsRoundOf *const round_of[TS_COMM_KINDS] = {[TS_COMM_ALL_REDUCE] = all_reduce_round,
                                                       [TS_COMM_REDUCE_SCATTER] = reduce_scatter_round,
                                                       [TS_COMM_ALL_GATHER] = all_gather_round,
                                                       [TS_COMM_BROADCAST] = broadcast_round};
    TsMessages *messages = &request->messages;
    int size = request->group->size;
    messages->group = request->group;
    messages->call = request->call;
    messages->round_of = round_of[request->call.kind];
    messages->piece_elems = ts_algorithm_piece_elems(request->call.dtype);
    messages->scratch_pieces = 2;
    if (request->call.first_elem)
        messages->lanes = size * ts_pieces(ts_call_largest_block(&request->call, size), messages->piece_elems);
    else
        messages->lanes = ts_pieces(request->call.count_elems, messages->piece_elems);
    ts_messages_reserve(messages);
    ts_messages_start(messages);
}

static bool poll(TsRequest *request, bool *moved)
{
    return ts_messages_poll(&request->messages, moved);
}

const TsImplementation ts_implementation_tree = {.name = "tree", .serves = serves, .start = start, .poll = poll};
