/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes between a traced Graph and a Program, in their order. program.c calls them one after another.
 *
 *     prune     drops what no output, assignment or effect needs
 *     scatter_tables  where gradients are scattered as they come: that of a table that is read twice, in two parts
 *     place     gives every value a Placement, and puts in the moves between them
 *     rematerialize  computes again for the backward pass what would take memory until then
 *     join_maxima    reads logits once where all their classes are here
 *     join_tables    adds the rows of one gradient of a table to another in place
 *     fuse      makes one node of several whose results need not be in memory
 *     pieces    which nodes run once for each micro-batch, and which once a step
 *     schedule  orders the nodes of each piece; collectives begin early and end late, small ones in buckets (bucket.h)
 *     allocate  gives every value a place in memory
 *
 * differentiate has run before, where the trace asked for gradients. Passes see global shapes alone, so all ranks order
 * the same collectives in the same way; only `allocate` knows what this rank holds. None of them is collective.
 */
#pragma once

#include "tensor/node.h"

/* ---- rewriting ---- */

/* A graph in the making from another one: paths and bindings are taken over, nodes one by one. */
typedef struct TsRewrite {
    const TsGraph *from; /* borrowed */
    TsGraph *to;         /* owned, until ts_rewrite_end */
    int32_t *value;      /* (from->values): the value of `to` that stands for it; -1: none yet */
} TsRewrite;

TsRewrite ts_rewrite_begin(const TsGraph *from);

/* Makes nodes that are added to `to` bear the path and direction of `node`. */
void ts_rewrite_locate(TsRewrite *rewrite, const TsNode *node);

/* Copies a node, with the inputs that rewrite->value gives; sets rewrite->value of its outputs. */
void ts_rewrite_copy(TsRewrite *rewrite, const TsNode *node);

/* The same with other inputs: `in` are values of `to`. */
void ts_rewrite_add(TsRewrite *rewrite, const TsNode *node, const int32_t *in);

/* Frees what was made so far, and leaves `from` alone. */
void ts_rewrite_abandon(TsRewrite *rewrite);

/* Sets what outputs and assignments are given, where the pass has not; frees everything but `from` and the graph that
 * is returned; or `from` too. */
TsGraph *ts_rewrite_finish(TsRewrite *rewrite);
TsGraph *ts_rewrite_end(TsRewrite *rewrite);

/* ---- prune, place: they own the graph they are given, and give one back ---- */

TsGraph *ts_pass_prune(TsGraph *graph);

/* join_tables, below, ahead of place: where sums are TS_SUMS_SCATTERED. With micro-batches it changes nothing: both
 * parts are scattered together, in each of them. */
TsGraph *ts_pass_scatter_tables(TsGraph *graph, TsMeshShape mesh_shape);

/* When sums of parts are taken. */
typedef enum TsSums {
    TS_SUMS_ONCE,      /* over ranks where that moves least, but once for all micro-batches together */
    TS_SUMS_SCATTERED, /* what ends cut among ranks: in each micro-batch, see scatter_first in ts_redistribute_plan */
    TS_SUMS_LAST,      /* as late as can be: the same terms in the same sums however the batch is cut */
} TsSums;

/* An error where a placement cannot be; then *graph is as it was. */
TS_MUST_USE TsStatus ts_pass_place(TsGraph **graph, TsMeshShape mesh_shape, TsSums sums);

/* ---- rematerialize ---- */

/* The arena that a graph comes to in the passes behind; frees it. The same on all ranks. */
typedef size_t TsArenaOf(const void *context, TsGraph *graph);

/* An error where a limit cannot be met, with what can; then *graph is as it was. */
TS_MUST_USE TsStatus ts_pass_rematerialize(TsGraph **graph, TsMemoryPolicy policy, TsArenaOf *arena_of,
                                           const void *context);

/* For tests, which try all there are: how many nodes could be computed again to meet a limit, at most 64; and a graph
 * in which those of the bit set `again` are, with what they need. `graph` is as place left it, and stays so. */
int ts_rematerialize_offers(const TsGraph *graph);
TsGraph *ts_rematerialize_chosen(const TsGraph *graph, uint64_t again);

/* ---- pieces ---- */

/* Which nodes run together. Pieces follow one another; those with odd numbers run once for each micro-batch, the others
 * once. Without micro-batches there is one piece. */
typedef struct TsPieces {
    int32_t *of_node; /* (nodes), owned */
    int32_t pieces;
    int micros; /* at least 1 */
} TsPieces;

TsPieces ts_pass_pieces(const TsGraph *graph, TsMeshShape mesh_shape);
void ts_pieces_free(TsPieces *pieces);

static inline bool ts_piece_repeats(int32_t piece)
{
    return piece % 2 == 1;
}

/* Maxima of logits and the sums of their exponentials become one node, where no move stands between them. */
TsGraph *ts_pass_join_maxima(TsGraph *graph);

/* The gradient of taken rows, and its sum with another gradient of the same table, become one node. */
TsGraph *ts_pass_join_tables(TsGraph *graph);

/* Neighbouring nodes that work on the same block become one. Behind place: what stands between moves stays there. */
TsGraph *ts_pass_fuse(TsGraph *graph);

/* ---- cost ---- */

/* Flops and bytes of a node, of global sizes: what its row says, or the bytes of its inputs and outputs. */
TsCost ts_node_cost(const TsNodeView *node);

/* Those of all nodes that do something, moves too. */
TsCost ts_graph_cost(const TsGraph *graph);

/* ---- schedule ---- */

typedef enum TsProgramStepKind {
    TS_STEP_RUN,   /* the node runs from beginning to end */
    TS_STEP_BEGIN, /* the node's collective begins */
    TS_STEP_END,   /* and is waited for */
} TsProgramStepKind;

typedef struct TsProgramStep {
    TsProgramStepKind kind;
    int32_t node;         /* of several: the first */
    int32_t members;      /* collectives that run as one; of all else 1 */
    int32_t first_member; /* of more than one: schedule->member[first_member, first_member + members) */
    bool last;            /* begins what is of the next piece: the last run of this one, which repeats, alone does so */
} TsProgramStep;

typedef struct TsProgramSchedule {
    TsProgramStep *step;    /* (steps), owned */
    int32_t *first_of;      /* (pieces + 1), owned: where the steps of each piece begin */
    const TsPieces *pieces; /* borrowed */
    int32_t *member;        /* nodes, owned */
    int32_t steps;
} TsProgramSchedule;

enum { TS_BUCKET_BYTES = 4 << 20 };

typedef struct TsScheduleOptions {
    int64_t bucket_bytes; /* small collectives of gradients and parameters run as one up to this size; 0: none do */
    bool frugal;          /* gradients are scattered as they come, so that few of them are whole at a time */
    bool plain;           /* in the order of the trace, collectives end where they begin */
} TsScheduleOptions;

/* Views, bindings and constants take no step. Collectives end in the piece that their nodes are of, and begin in it, or
 * in the last micro-batch before it. */
TsProgramSchedule ts_pass_schedule(const TsGraph *graph, const TsPieces *pieces, TsMeshShape mesh_shape,
                                   TsScheduleOptions options);

/* The k-th node of a step, 0 <= k < step.members. */
static inline int32_t ts_step_node(const TsProgramSchedule *schedule, TsProgramStep step, int32_t k)
{
    return step.members > 1 ? schedule->member[step.first_member + k] : step.node;
}
void ts_schedule_free(TsProgramSchedule *schedule);

/* ---- allocate ---- */

typedef enum TsBufferKind {
    TS_BUFFER_ARENA,    /* shared by values that do not live at the same time */
    TS_BUFFER_BOUND,    /* what is bound from outside */
    TS_BUFFER_CONSTANT, /* written once, before the first run */
} TsBufferKind;

typedef struct TsBuffer {
    TsBufferKind kind;
    int32_t bound;       /* index into graph->bound */
    int32_t first, last; /* the steps in which it lives, both included */
    size_t size_bytes;
    size_t offset_bytes; /* in the arena, or among the constants */
    size_t slot_bytes;   /* each micro-batch has a slot of its own, so far from the one before; 0: one for all, and
                            one behind another in what is bound */
} TsBuffer;

typedef struct TsLocation {
    int32_t buffer; /* -1: the value is nowhere, because nothing needs it */
    size_t offset_bytes;
} TsLocation;

/* A value that is copied to what is bound when all steps are done. */
typedef struct TsFinalCopy {
    int32_t value, bound;
} TsFinalCopy;

typedef struct TsLayout {
    TsBlockRange *block;  /* (values): what this rank holds, in the first micro-batch */
    TsLocation *location; /* (values) */
    int32_t *scratch;     /* (steps): a buffer, or -1 */
    TsBuffer *buffer;     /* (buffers) */
    TsFinalCopy *copy;    /* (copies) */
    int32_t buffers, copies;
    size_t arena_bytes, constant_bytes;
    size_t live_bytes; /* the largest sum of what lives at one step: no arena can be smaller */
} TsLayout;

/* What a kernel is told about a value, but for where its data is. */
TsBlock ts_layout_block(const TsLayout *layout, const TsGraph *graph, int32_t value);

/* `mesh` (micros) is that of each micro-batch; NULL in it: one rank. `plain`: nothing is shared, nothing works in
 * place. `tree`: sums over micro-batches are trees. */
TsLayout ts_pass_allocate(const TsGraph *graph, const TsProgramSchedule *schedule, TsMesh *const *mesh, int threads,
                          bool tree, bool plain);
void ts_layout_free(TsLayout *layout);
