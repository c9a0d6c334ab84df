/* SPDX-License-Identifier: Apache-2.0
 *
 * Redistribute: the same Tensor under another Placement, as a short list of moves of which each is one collective or a
 * local copy.
 *
 *     cut             a whole dim becomes cut: each rank keeps its part, no message
 *     mask            a whole value becomes a sum: one rank keeps it, the others hold zeros, no message
 *     accumulate      a sum over micro-batches becomes whole, one after another, no message
 *     collect         what the micro-batches cut becomes whole, one after another, no message
 *     all_gather      a cut dim becomes whole
 *     all_reduce      a sum becomes whole
 *     reduce_scatter  a sum becomes cut
 *     all_to_all      cuts change places: another dim, another order
 *
 * The list is the same on all ranks. The place pass puts each move into the Graph as a node; a Program makes a TsMove
 * of it, which knows the blocks of this rank and of those that it talks with.
 */
#pragma once

#include "tensor/op.h"

typedef enum TsMoveKind {
    TS_MOVE_CUT,
    TS_MOVE_MASK,
    TS_MOVE_ACCUMULATE, /* over the axis of time: attributes as the others, a kernel of its own (accumulate.c) */
    TS_MOVE_COLLECT,
    TS_MOVE_ALL_GATHER,
    TS_MOVE_ALL_REDUCE,
    TS_MOVE_REDUCE_SCATTER,
    TS_MOVE_ALL_TO_ALL,
    TS_MOVES
} TsMoveKind;

/* What one move does. */
typedef struct TsMoveStep {
    TsPlacement from, to;
    int32_t kind;   /* TsMoveKind */
    TsAxisSet axes; /* along which ranks differ in what they bring or take */
    int32_t round;  /* moves of different rounds are not merged: 1 in the backward pass for what lies at rest */
} TsMoveStep;

enum { TS_MAX_MOVES = 12 };

typedef struct TsMovePlan {
    TsMoveStep step[TS_MAX_MOVES];
    int steps;
    double sent_elems; /* a rank, all steps: of a Tensor of one element, by the formulas for sizes that divide */
} TsMovePlan;

/* The moves from one placement to another, both of them simplified for this mesh. An error where there are none: a
 * Tensor that lives at one coordinate of an axis does not move along it. A sum over ranks and micro-batches is taken
 * over micro-batches first, so that there is one message a step; with `scatter_first`, what ranks then hold parts of is
 * scattered in each micro-batch, so that none of them ever holds a whole sum (ZeRO-2). */
TS_MUST_USE TsStatus ts_redistribute_plan(TsMovePlan *plan, TsPlacement from, TsPlacement to, TsMeshShape mesh_shape,
                                          bool scatter_first);

/* Whether a value at this placement differs from one micro-batch to the next. */
static inline bool ts_placement_varies(TsPlacement placement)
{
    return (ts_placement_axes(placement) | placement.partial) & TS_AXIS_BIT(TS_AXIS_MICRO);
}

/* The rows of the moves, by kind; their attributes are TsMoveStep. Only the executor runs them. */
extern const TsOp ts_move_op[TS_MOVES];

static inline bool ts_op_is_move(const TsOp *op)
{
    return op >= ts_move_op && op < ts_move_op + TS_MOVES;
}

/* Moves that write a part of their output in each micro-batch; they have kernels. */
static inline bool ts_op_gathers_time(const TsOp *op)
{
    return op == ts_move_op + TS_MOVE_ACCUMULATE || op == ts_move_op + TS_MOVE_COLLECT;
}

void ts_accumulate_forward(const TsCall *call);
size_t ts_accumulate_scratch_bytes(const TsCall *call);
void ts_collect_forward(const TsCall *call);

/* Moves that send messages: they begin and end. */
static inline bool ts_op_is_collective(const TsOp *op)
{
    return op >= ts_move_op + TS_MOVE_ALL_GATHER && op < ts_move_op + TS_MOVES;
}

/* ---- running ---- */

typedef struct TsMove TsMove;

/* `mesh` may be NULL (one rank) or only described; `label` is borrowed for the life of the process. Not collective. */
TsMove *ts_move_create(const TsMoveStep *step, TsDtype dtype, TsShape shape, const TsMesh *mesh, const char *label);

/* Which implementation serves its collective; TS_ALGORITHM_AUTO at the start. */
void ts_move_set_algorithm(TsMove *move, TsAlgorithm algorithm);

/* Sets *move to NULL; NULL is fine. */
void ts_move_free(TsMove **move);

size_t ts_move_scratch_bytes(const TsMove *move);

/* Where this rank's block of the output of a `cut` begins in its input, in elements, if it lies there without gaps; or
 * where its input of an all_gather lies in the output, if the blocks of all ranks stand there in order. Else -1. */
int64_t ts_move_alias_elems(const TsMove *move);

/* The bytes that this rank sends, by the ring's formulas: what the accounting counts, but for the
 * rounding of an all_reduce whose elements ranks do not divide. */
double ts_move_sent_bytes(const TsMove *move);

/* Begins: NULL where the move ended at once. Collective on the ranks along step->axes, and so is the end. The buffers
 * are borrowed until ts_move_end. */
TsRequest *ts_move_begin(TsMove *move, void *out, const void *in, void *scratch);

/* Waits for what ts_move_begin gave, and puts what came where it belongs. */
void ts_move_end(TsMove *move, void *out, void *scratch, TsRequest **request);

/* What `rank` of the group has of what is sent, or receives of what is brought: where buckets cut. Of an all_reduce,
 * rank 0 has all. */
int64_t ts_move_part_elems(const TsMove *move, int rank);

/* Copies that part out of the input (of an all_gather: this rank's, the only one that it has) to `packed`, and out of
 * `packed` to the output. */
void ts_move_pack(const TsMove *move, int rank, void *packed, const void *in);
void ts_move_unpack(const TsMove *move, int rank, void *out, const void *packed);

/* ---- several as one ---- */

/* Moves of one kind, group, dtype and reduction that run as one collective: what they bring is packed, each rank's
 * parts side by side, so that the sums are those that each would give by itself wherever ranks own the same elements.
 */
typedef struct TsMoves TsMoves;

/* Room for `count` moves. Not collective. */
TsMoves *ts_moves_create(int count);

/* Adds one, owned from now on. */
void ts_moves_add(TsMoves *moves, TsMove *move);

/* Sets *moves to NULL; NULL is fine. */
void ts_moves_free(TsMoves **moves);

/* Room that is borrowed from begin to end. */
size_t ts_moves_scratch_bytes(const TsMoves *moves);

/* What ts_move_sent_bytes says of all of them. */
double ts_moves_sent_bytes(const TsMoves *moves);

/* Begins, when all have been added; in[k].data is the k-th one's input, and free again afterwards. Collective on the
 * ranks along the axes, and so is the end. */
TsRequest *ts_moves_begin(TsMoves *moves, const TsBlock *in, void *scratch);

/* Waits, and writes out[k].data. */
void ts_moves_end(TsMoves *moves, const TsBlock *out, void *scratch, TsRequest **request);
