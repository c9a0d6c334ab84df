/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/bucket.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/ops/rows.h"
#include "tensor/redistribute.h"

/* A collective that may share a bucket. */
typedef struct Candidate {
    int32_t node;
    int32_t turn; /* by which members are chosen: when it is ready, or, at rest, when it is needed */
    int32_t next; /* of the same bucket; -1: the last */
    double bytes;
    bool deferred, at_rest;
    bool alone; /* what varies between micro-batches, or is waited for by what does not wait for others */
} Candidate;

typedef struct Finder {
    const TsGraph *graph;
    const TsPieces *pieces;
    TsMeshShape mesh_shape;
    TsBuckets found;
    Candidate *candidate; /* (candidates), by turn */
    int32_t *ready;       /* (values): the place in the order after which it is there */
    bool *waited;         /* (values): a node that is no sink reads it, through views */
    bool *added_to;       /* (values): one that adds rows to it, and may be far behind, reads it */
    int32_t candidates;
} Finder;

static bool is_view(const TsNode *node)
{
    return (node->op->flags & TS_OP_VIEW) != 0;
}

/* The value that this one is a view of. */
static int32_t source_of(const TsGraph *graph, int32_t value)
{
    const TsNode *node = &graph->node[graph->value[value].node];
    while (is_view(node)) {
        value = *ts_node_in(graph, node);
        node = &graph->node[graph->value[value].node];
    }
    return value;
}

static double bytes_of(const Finder *finder, TsPlacement placement, int32_t value)
{
    const TsGraph *graph = finder->graph;
    double bytes =
        (double)ts_shape_elems(graph->value[value].shape) * (double)ts_dtype_bytes(graph->value[value].dtype);
    TsAxisSet axes = ts_placement_axes(placement);
    for (int axis = 1; axis < TS_AXES; axis++)
        if ((axes & TS_AXIS_BIT(axis)) && finder->mesh_shape.size[axis] > 1)
            bytes /= finder->mesh_shape.size[axis];
    return bytes;
}

static bool may_be_deferred(const TsNode *node)
{
    return ts_op_is_collective(node->op) && node->op != &ts_move_op[TS_MOVE_ALL_TO_ALL];
}

static int32_t piece_of(const Finder *finder, int32_t value)
{
    return finder->pieces->of_node[finder->graph->value[value].node];
}

/* A sink reads a collective, and nothing of its piece reads it; what it reads may come at any time. */
static void find_sinks(Finder *finder)
{
    const TsGraph *graph = finder->graph;
    bool *read = ts_calloc((size_t)graph->values + 1, sizeof *read);
    for (int32_t n = 0; n < graph->nodes; n++)
        for (int i = 0; i < graph->node[n].inputs; i++) {
            int32_t in = ts_node_in(graph, &graph->node[n])[i];
            read[in] |= finder->pieces->of_node[n] == piece_of(finder, in);
        }
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool sink = (!ts_op_is_move(node->op) || ts_op_gathers_time(node->op)) && !is_view(node) &&
                    !(node->op->flags & TS_OP_EFFECT) &&
                    node->op != &ts_op_d_take_added, /* a sum, but of activations */
            reads = false;
        for (int k = 0; k < node->outputs; k++)
            sink &= !read[node->first_out + k];
        for (int i = 0; i < node->inputs; i++) {
            int32_t source = source_of(graph, ts_node_in(graph, node)[i]);
            reads |= may_be_deferred(&graph->node[graph->value[source].node]) &&
                     piece_of(finder, source) == finder->pieces->of_node[n];
        }
        finder->found.is_sink[n] = sink && reads && node->outputs > 0;
    }
    ts_free(read);
}

static void find_readers(Finder *finder)
{
    const TsGraph *graph = finder->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int i = 0; i < node->inputs && !is_view(node); i++) {
            int32_t source = source_of(graph, ts_node_in(graph, node)[i]);
            bool adds_rows = node->op == &ts_op_d_take_added && i == 0;
            finder->added_to[source] |= adds_rows;
            finder->waited[source] |=
                !finder->found.is_sink[n] && !adds_rows && piece_of(finder, source) == finder->pieces->of_node[n];
        }
    }
}

/* What a collective brings is there as soon as what it takes: it may begin then. */
static void find_ready(Finder *finder, const int32_t *order)
{
    const TsGraph *graph = finder->graph;
    for (int32_t i = 0; i < graph->nodes; i++) {
        const TsNode *node = &graph->node[order[i]];
        int32_t at = node->op == &ts_bound_op || node->op == &ts_constant_op ? -1 : i;
        if (is_view(node) || ts_op_is_collective(node->op))
            at = finder->ready[*ts_node_in(graph, node)];
        for (int k = 0; k < node->outputs; k++)
            finder->ready[node->first_out + k] = at;
    }
}

static void add_candidates(Finder *finder, const int32_t *order)
{
    const TsGraph *graph = finder->graph;
    for (int32_t i = 0; i < graph->nodes; i++) {
        const TsNode *node = &graph->node[order[i]];
        if (!ts_op_is_collective(node->op))
            continue;
        const TsMoveStep *step = node->attributes;
        int32_t in = *ts_node_in(graph, node), out = node->first_out, source = source_of(graph, in);
        bool gathers = node->op == &ts_move_op[TS_MOVE_ALL_GATHER];
        Candidate *candidate = &finder->candidate[finder->candidates++];
        *candidate = (Candidate){.node = order[i],
                                 .next = -1,
                                 .alone = finder->added_to[out] || ts_placement_varies(step->from) ||
                                          ts_placement_varies(step->to),
                                 .bytes = bytes_of(finder, gathers ? step->to : step->from, out),
                                 .deferred = may_be_deferred(node) && !finder->waited[out],
                                 .at_rest = gathers && graph->node[graph->value[source].node].op == &ts_bound_op};
        candidate->turn = candidate->deferred ? finder->ready[in] : i;
    }
}

static int by_turn(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    return x->turn != y->turn ? (x->turn > y->turn) - (x->turn < y->turn) : (x->node > y->node) - (x->node < y->node);
}

static bool alike(const Finder *finder, const Candidate *a, const Candidate *b)
{
    const TsGraph *graph = finder->graph;
    const TsNode *x = &graph->node[a->node], *y = &graph->node[b->node];
    const TsMoveStep *p = x->attributes, *q = y->attributes;
    return finder->pieces->of_node[a->node] == finder->pieces->of_node[b->node] && x->op == y->op &&
           p->axes == q->axes && p->round == q->round && p->from.reduction == q->from.reduction &&
           x->backward == y->backward && a->deferred == b->deferred && a->at_rest == b->at_rest &&
           graph->value[x->first_out].dtype == graph->value[y->first_out].dtype;
}

/* A bucket that still takes members. */
typedef struct Open {
    int32_t first, last, count; /* candidates */
    double bytes;
} Open;

static void close_bucket(Finder *finder, const Open *open)
{
    TsBuckets *found = &finder->found;
    const Candidate *first = &finder->candidate[open->first];
    TsBucket *bucket = &found->bucket[found->buckets];
    *bucket = (TsBucket){.first = found->members,
                         .piece = finder->pieces->of_node[first->node],
                         .bytes = open->bytes,
                         .deferred = first->deferred};
    for (int32_t c = open->first; c >= 0; c = finder->candidate[c].next) {
        const Candidate *member = &finder->candidate[c];
        const TsMoveStep *step = finder->graph->node[member->node].attributes;
        int32_t out = finder->graph->node[member->node].first_out;
        bucket->grows |= bytes_of(finder, step->to, out) > bytes_of(finder, step->from, out);
        found->of_node[member->node] = found->buckets;
        found->member[found->members++] = member->node;
        bucket->count++;
    }
    bucket->grows &= !first->deferred; /* it is written where it belongs, which takes no memory of the arena */
    found->buckets++;
}

/* Fills buckets in the order of turns; one kind of collective fills one bucket at a time. */
static void fill_buckets(Finder *finder, double bucket_bytes)
{
    Open *open = ts_alloc(((size_t)finder->candidates + 1) * sizeof *open);
    int32_t opens = 0;
    for (int32_t c = 0; c < finder->candidates; c++) {
        Candidate *candidate = &finder->candidate[c];
        bool shares =
            (candidate->deferred || candidate->at_rest) && !candidate->alone && candidate->bytes < bucket_bytes;
        int32_t o = 0;
        while (shares && o < opens && !alike(finder, &finder->candidate[open[o].first], candidate))
            o++;
        if (!shares) {
            close_bucket(finder, &(Open){.first = c, .last = c, .count = 1, .bytes = candidate->bytes});
        } else if (o < opens && open[o].bytes + candidate->bytes <= bucket_bytes) {
            finder->candidate[open[o].last].next = c;
            open[o].last = c;
            open[o].count++;
            open[o].bytes += candidate->bytes;
        } else {
            if (o < opens)
                close_bucket(finder, &open[o]);
            else
                opens++;
            open[o] = (Open){.first = c, .last = c, .count = 1, .bytes = candidate->bytes};
        }
    }
    for (int32_t o = 0; o < opens; o++)
        close_bucket(finder, &open[o]);
    ts_free(open);
}

/* Buckets in the order in which `order` has their first members. */
static void sort_buckets(Finder *finder, const int32_t *order)
{
    TsBuckets *found = &finder->found;
    TsBucket *sorted = ts_alloc(((size_t)found->buckets + 1) * sizeof *sorted);
    int32_t *place = ts_alloc(((size_t)found->buckets + 1) * sizeof *place), count = 0;
    memset(place, 0xff, (size_t)found->buckets * sizeof *place);
    for (int32_t i = 0; i < finder->graph->nodes; i++) {
        int32_t bucket = found->of_node[order[i]];
        if (bucket >= 0 && place[bucket] < 0) {
            place[bucket] = count;
            sorted[count++] = found->bucket[bucket];
        }
    }
    for (int32_t n = 0; n < finder->graph->nodes; n++)
        if (found->of_node[n] >= 0)
            found->of_node[n] = place[found->of_node[n]];
    ts_free(found->bucket);
    ts_free(place);
    found->bucket = sorted;
}

TsBuckets ts_buckets_find(const TsGraph *graph, const TsPieces *pieces, const int32_t *order, TsMeshShape mesh_shape,
                          int64_t bucket_bytes)
{
    size_t nodes = (size_t)graph->nodes + 1, values = (size_t)graph->values + 1;
    Finder finder = {.graph = graph,
                     .pieces = pieces,
                     .mesh_shape = mesh_shape,
                     .found = {.bucket = ts_alloc(nodes * sizeof(TsBucket)),
                               .member = ts_alloc(nodes * sizeof(int32_t)),
                               .of_node = ts_alloc(nodes * sizeof(int32_t)),
                               .is_sink = ts_calloc(nodes, sizeof(bool))},
                     .candidate = ts_alloc(nodes * sizeof *finder.candidate),
                     .ready = ts_alloc(values * sizeof *finder.ready),
                     .waited = ts_calloc(values, sizeof *finder.waited),
                     .added_to = ts_calloc(values, sizeof *finder.added_to)};
    memset(finder.found.of_node, 0xff, nodes * sizeof(int32_t));
    find_sinks(&finder);
    find_readers(&finder);
    find_ready(&finder, order);
    add_candidates(&finder, order);
    qsort(finder.candidate, (size_t)finder.candidates, sizeof *finder.candidate, by_turn);
    fill_buckets(&finder, (double)bucket_bytes);
    sort_buckets(&finder, order);
    ts_free(finder.candidate);
    ts_free(finder.ready);
    ts_free(finder.waited);
    ts_free(finder.added_to);
    return finder.found;
}

void ts_buckets_free(TsBuckets *buckets)
{
    ts_free(buckets->bucket);
    ts_free(buckets->of_node);
    ts_free(buckets->is_sink);
    *buckets = (TsBuckets){.buckets = 0};
}
