/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces: which nodes run together, once a step or once for each micro-batch.
 *
 *     0 once        1 each micro-batch      2 once             3 each micro-batch     4 once
 *     -             weights of losses       their sum, 1 / it  forward, backward      sums of gradients
 *
 * A node repeats if what it takes or gives differs between micro-batches. What is summed or collected over all of them
 * is there in the next piece that runs once. A node stands as early as it must, then as late as it can: what crosses
 * from one repeated piece to another is kept for every micro-batch, so little should. Parameters that are gathered for
 * a repeated piece are gathered in it, each time, and not kept through it.
 */
#include "tensor/passes/passes.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/redistribute.h"

typedef struct Cutter {
    const TsGraph *graph;
    bool *repeats;  /* (nodes) */
    bool *within;   /* (values): of a node that repeats, and not summed up: read where it was made, or kept */
    int32_t *piece; /* (nodes) */
    int32_t pieces;
} Cutter;

static bool varies(const TsGraph *graph, int32_t value)
{
    return ts_placement_varies(graph->value[value].placement);
}

/* Values that follow from parameters and states alone. */
static bool *find_at_rest(const TsGraph *graph)
{
    bool *at_rest = ts_calloc((size_t)graph->values + 1, sizeof *at_rest);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool all = node->inputs > 0;
        if (node->op == &ts_bound_op)
            all = graph->bound[((const TsBoundAttributes *)node->attributes)->bound].binding.kind != TS_BIND_INPUT;
        for (int i = 0; i < node->inputs; i++)
            all &= at_rest[ts_node_in(graph, node)[i]];
        for (int k = 0; k < node->outputs; k++)
            at_rest[node->first_out + k] = all;
    }
    return at_rest;
}

/* Nodes that run once so far, and that only nodes which repeat, or such ones, read. */
static bool *find_read_in_pieces(const Cutter *cutter)
{
    const TsGraph *graph = cutter->graph;
    bool *only = ts_alloc((size_t)graph->nodes + 1);
    for (int32_t n = 0; n < graph->nodes; n++)
        only[n] = !cutter->repeats[n] && graph->node[n].inputs > 0;
    for (int32_t b = 0; b < graph->bounds; b++) {
        const TsBound *bound = &graph->bound[b];
        int32_t given = bound->binding.kind == TS_BIND_OUTPUT ? bound->value : bound->assigned;
        if (given >= 0)
            only[graph->value[given].node] = false;
    }
    for (int32_t n = graph->nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].inputs; i++)
            only[graph->value[ts_node_in(graph, &graph->node[n])[i]].node] &= cutter->repeats[n] || only[n];
    return only;
}

/* What does not differ between micro-batches, but is made again for each: gathered parameters, and what follows. */
static void find_made_again(Cutter *cutter)
{
    const TsGraph *graph = cutter->graph;
    bool *at_rest = find_at_rest(graph), *only = find_read_in_pieces(cutter);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool again = node->op == &ts_move_op[TS_MOVE_ALL_GATHER] && at_rest[node->first_out];
        for (int i = 0; i < node->inputs; i++) {
            int32_t maker = graph->value[ts_node_in(graph, node)[i]].node;
            again |= cutter->repeats[maker] && only[maker];
        }
        cutter->repeats[n] |= only[n] && again;
    }
    ts_free(at_rest);
    ts_free(only);
}

static void find_repeated(Cutter *cutter)
{
    const TsGraph *graph = cutter->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++)
            cutter->repeats[n] |= varies(graph, ts_node_in(graph, node)[i]);
        for (int k = 0; k < node->outputs; k++)
            cutter->repeats[n] |= varies(graph, node->first_out + k) && node->op != &ts_bound_op;
    }
    find_made_again(cutter);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int k = 0; k < node->outputs; k++)
            cutter->within[node->first_out + k] = cutter->repeats[n] && !ts_op_gathers_time(node->op);
    }
}

/* The first piece of its kind from `piece` on. */
static int32_t from_on(const Cutter *cutter, int32_t n, int32_t piece)
{
    return piece + (cutter->repeats[n] != ts_piece_repeats(piece));
}

/* The piece from which on a reader of `value`, which is made in `piece`, finds it. */
static int32_t there_from(const Cutter *cutter, int32_t value, int32_t piece)
{
    return piece + (ts_piece_repeats(piece) && !cutter->within[value]);
}

static void place_early(Cutter *cutter)
{
    const TsGraph *graph = cutter->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        int32_t piece = 0;
        for (int i = 0; i < node->inputs; i++) {
            int32_t in = ts_node_in(graph, node)[i];
            int32_t there = there_from(cutter, in, cutter->piece[graph->value[in].node]);
            piece = there > piece ? there : piece;
        }
        cutter->piece[n] = from_on(cutter, n, piece);
        int32_t behind = cutter->piece[n] + 1 + ts_piece_repeats(cutter->piece[n]); /* the last one runs once */
        cutter->pieces = behind > cutter->pieces ? behind : cutter->pieces;
    }
}

/* The last piece of the kind of node n that is not behind `piece`. */
static int32_t up_to(const Cutter *cutter, int32_t n, int32_t piece)
{
    return piece - (cutter->repeats[n] != ts_piece_repeats(piece));
}

static void place_late(Cutter *cutter)
{
    const TsGraph *graph = cutter->graph;
    int32_t *latest = ts_alloc(((size_t)graph->nodes + 1) * sizeof *latest);
    for (int32_t n = 0; n < graph->nodes; n++)
        latest[n] = cutter->pieces - 1;
    for (int32_t n = graph->nodes; n-- > 0;) {
        const TsNode *node = &graph->node[n];
        int32_t late = up_to(cutter, n, latest[n]);
        TS_CHECK(late >= cutter->piece[n], "%s could run in piece %d at the latest, and not before %d", node->op->name,
                 late, cutter->piece[n]);
        cutter->piece[n] = late;
        for (int i = 0; i < node->inputs; i++) {
            int32_t in = ts_node_in(graph, node)[i], maker = graph->value[in].node;
            int32_t before = late - (cutter->repeats[maker] && !cutter->within[in]); /* summed up: in a piece before */
            latest[maker] = before < latest[maker] ? before : latest[maker];
        }
    }
    ts_free(latest);
}

TsPieces ts_pass_pieces(const TsGraph *graph, TsMeshShape mesh_shape)
{
    size_t nodes = (size_t)graph->nodes + 1;
    int micros = mesh_shape.size[TS_AXIS_MICRO];
    Cutter cutter = {.graph = graph, .pieces = 1, .piece = ts_calloc(nodes, sizeof *cutter.piece)};
    if (micros > 1) {
        cutter.repeats = ts_calloc(nodes, sizeof *cutter.repeats);
        cutter.within = ts_calloc((size_t)graph->values + 1, sizeof *cutter.within);
        find_repeated(&cutter);
        place_early(&cutter);
        place_late(&cutter);
        ts_free(cutter.repeats);
        ts_free(cutter.within);
    }
    return (TsPieces){.of_node = cutter.piece, .pieces = cutter.pieces, .micros = micros > 1 ? micros : 1};
}

void ts_pieces_free(TsPieces *pieces)
{
    ts_free(pieces->of_node);
    *pieces = (TsPieces){.pieces = 0};
}
