/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedule: the order in which nodes run, and where collectives begin and end.
 *
 * Nodes keep the order of the trace, but for readers of what is assigned, which come before the node that makes the new
 * value where that can be, so that it may be written in place. A collective begins as soon as its input is there and
 * ends right before the first reader of its output. Where its output is larger than its input (all_gather) it begins at
 * most LOOK_AHEAD gathers early: a parameter is gathered while the layer before computes, not at the start of the step.
 * All this holds within a piece; one piece runs after another.
 */
#include "tensor/passes/passes.h"

#include <string.h>

#include "base/memory.h"
#include "tensor/redistribute.h"

enum { LOOK_AHEAD = 2 };

static bool takes_a_step(const TsNode *node)
{
    return !(node->op->flags & TS_OP_VIEW) && node->op != &ts_bound_op && node->op != &ts_constant_op;
}

/* ---- order ---- */

/* An edge that the trace does not have: `before` runs ahead of `after`. Chained by `after`. */
typedef struct Edge {
    int32_t before, next;
} Edge;

typedef struct Order {
    const TsGraph *graph;
    const int32_t *piece; /* (nodes) */
    int32_t *node;        /* (count): what was ordered so far */
    int32_t count;
    Edge *edge;          /* (edges) */
    int32_t *first_edge; /* (nodes): the edges to a node; -1: none */
    int32_t edges, edge_capacity;
    uint8_t *state; /* (nodes): 0 not met, 1 being ordered, 2 done */
} Order;

static void add_edge(Order *order, int32_t before, int32_t after)
{
    if (order->edges == order->edge_capacity) {
        order->edge_capacity = order->edge_capacity ? 2 * order->edge_capacity : 64;
        order->edge = ts_realloc(order->edge, (size_t)order->edge_capacity * sizeof *order->edge);
    }
    order->edge[order->edges] = (Edge){.before = before, .next = order->first_edge[after]};
    order->first_edge[after] = order->edges++;
}

/* Whether `to` needs `from`, directly or not, also by the edges so far. `seen` is room for a flag a node. */
static bool depends_on(const Order *order, int32_t to, int32_t from, bool *seen)
{
    const TsGraph *graph = order->graph;
    memset(seen, 0, (size_t)graph->nodes * sizeof *seen);
    seen[from] = true;
    for (bool changed = true; changed && !seen[to];) { /* edges may lead back: once more round, then */
        changed = false;
        for (int32_t n = 0; n < graph->nodes; n++) {
            const TsNode *node = &graph->node[n];
            bool before = seen[n];
            for (int i = 0; i < node->inputs && !seen[n]; i++)
                seen[n] = seen[graph->value[ts_node_in(graph, node)[i]].node];
            for (int32_t e = order->first_edge[n]; e >= 0 && !seen[n]; e = order->edge[e].next)
                seen[n] = seen[order->edge[e].before];
            changed |= seen[n] != before && order->edges;
        }
    }
    return seen[to];
}

/* Readers of a target that the trace has behind the maker of its new value, and which do not need that value. */
static void add_reader_edges(Order *order)
{
    const TsGraph *graph = order->graph;
    bool *seen = ts_alloc((size_t)graph->nodes + 1);
    int32_t *maker = ts_alloc(((size_t)graph->values + 1) * sizeof *maker); /* who overwrites what a value shows */
    memset(maker, 0xff, (size_t)graph->values * sizeof *maker);
    for (int32_t b = 0; b < graph->bounds; b++)
        if (graph->bound[b].assigned >= 0)
            maker[graph->bound[b].value] = graph->value[graph->bound[b].assigned].node;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        const int32_t *in = ts_node_in(graph, node);
        if (node->op->flags & TS_OP_VIEW)
            maker[node->first_out] = maker[in[0]];
        for (int i = 0; i < node->inputs && takes_a_step(node); i++)
            if (maker[in[i]] >= 0 && maker[in[i]] < n && order->piece[n] <= order->piece[maker[in[i]]] &&
                !depends_on(order, n, maker[in[i]], seen))
                add_edge(order, n, maker[in[i]]);
    }
    ts_free(seen);
    ts_free(maker);
}

/* Depth first: a node after everything that it needs, otherwise in the order of the trace. */
static void visit(Order *order, int32_t n)
{
    const TsGraph *graph = order->graph;
    if (order->state[n])
        return;
    order->state[n] = 1;
    if (order->edges) {
        const TsNode *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++)
            visit(order, graph->value[ts_node_in(graph, node)[i]].node);
        for (int32_t e = order->first_edge[n]; e >= 0; e = order->edge[e].next)
            visit(order, order->edge[e].before);
    }
    order->state[n] = 2;
    order->node[order->count++] = n;
}

/* The nodes in the order in which they run; owned by the caller. */
static int32_t *order_nodes(const TsGraph *graph, const TsPieces *pieces, bool plain)
{
    size_t nodes = (size_t)graph->nodes + 1;
    Order order = {.graph = graph,
                   .piece = pieces->of_node,
                   .node = ts_alloc(nodes * sizeof *order.node),
                   .first_edge = ts_alloc(nodes * sizeof *order.first_edge),
                   .state = ts_calloc(nodes, sizeof *order.state)};
    memset(order.first_edge, 0xff, nodes * sizeof *order.first_edge);
    if (!plain)
        add_reader_edges(&order);
    for (int32_t p = 0; p < pieces->pieces; p++)
        for (int32_t n = 0; n < graph->nodes; n++)
            if (pieces->of_node[n] == p)
                visit(&order, n);
    ts_free(order.edge);
    ts_free(order.first_edge);
    ts_free(order.state);
    return order.node;
}

/* ---- steps ---- */

/* The collectives of the graph in their order, and how far each one has come. */
typedef struct Collective {
    int32_t node;
    bool grows; /* its output is larger than its input */
    bool begun, ended;
} Collective;

typedef struct Scheduler {
    const TsGraph *graph;
    TsProgramSchedule schedule;
    Collective *collective; /* (collectives) */
    int32_t *of_node;       /* (nodes): index into collective, or -1 */
    bool *there;            /* (values): computed */
    bool plain;
    int32_t collectives, first_open; /* all before first_open have begun */
    int32_t piece;                   /* that is being scheduled */
} Scheduler;

static void add_step(Scheduler *scheduler, TsProgramStepKind kind, int32_t node)
{
    scheduler->schedule.step[scheduler->schedule.steps++] = (TsProgramStep){.kind = kind, .node = node};
}

static void begin(Scheduler *scheduler, Collective *collective)
{
    collective->begun = true;
    add_step(scheduler, TS_STEP_BEGIN, collective->node);
}

/* Begins what can begin: everything that does not grow, and the next LOOK_AHEAD that do. */
static void begin_what_can(Scheduler *scheduler)
{
    int growing = 0;
    if (scheduler->plain)
        return;
    while (scheduler->first_open < scheduler->collectives && scheduler->collective[scheduler->first_open].ended)
        scheduler->first_open++;
    for (int32_t c = scheduler->first_open; c < scheduler->collectives; c++) {
        Collective *collective = &scheduler->collective[c];
        const TsNode *node = &scheduler->graph->node[collective->node];
        if (collective->ended)
            continue;
        if (scheduler->schedule.pieces->of_node[collective->node] != scheduler->piece)
            break;
        growing += collective->grows;
        if (!collective->begun && scheduler->there[*ts_node_in(scheduler->graph, node)] &&
            (!collective->grows || growing <= LOOK_AHEAD))
            begin(scheduler, collective);
    }
}

static void end(Scheduler *scheduler, Collective *collective)
{
    const TsNode *node = &scheduler->graph->node[collective->node];
    if (collective->ended)
        return;
    if (!collective->begun)
        begin(scheduler, collective);
    collective->ended = true;
    add_step(scheduler, TS_STEP_END, collective->node);
    scheduler->there[node->first_out] = true;
    begin_what_can(scheduler);
}

/* Ends the collective, if it is one, that `value` comes from, through views. */
static void end_source(Scheduler *scheduler, int32_t value)
{
    const TsGraph *graph = scheduler->graph;
    const TsNode *node = &graph->node[graph->value[value].node];
    while (node->op->flags & TS_OP_VIEW) {
        value = *ts_node_in(graph, node);
        node = &graph->node[graph->value[value].node];
    }
    int32_t c = scheduler->of_node[graph->value[value].node];
    if (c >= 0)
        end(scheduler, &scheduler->collective[c]);
}

static void run(Scheduler *scheduler, int32_t n)
{
    const TsGraph *graph = scheduler->graph;
    const TsNode *node = &graph->node[n];
    if (node->op->flags & TS_OP_VIEW) {
        /* A view of what a collective brings is there when that has ended, which its readers see to. */
        int32_t source = *ts_node_in(graph, node);
        if (!scheduler->there[source])
            return;
    } else {
        for (int i = 0; i < node->inputs; i++)
            end_source(scheduler, ts_node_in(graph, node)[i]);
        if (scheduler->of_node[n] >= 0) {
            if (scheduler->plain)
                end(scheduler, &scheduler->collective[scheduler->of_node[n]]);
            return;
        }
        if (takes_a_step(node))
            add_step(scheduler, TS_STEP_RUN, n);
    }
    for (int k = 0; k < node->outputs; k++)
        scheduler->there[node->first_out + k] = true;
    if (takes_a_step(node) || (node->op->flags & TS_OP_VIEW) || node->op == &ts_bound_op)
        begin_what_can(scheduler);
}

static double elems_of(const TsGraph *graph, TsMeshShape mesh_shape, TsPlacement placement, int32_t value)
{
    double elems = (double)ts_shape_elems(graph->value[value].shape);
    TsAxisSet axes = ts_placement_axes(placement);
    for (int axis = 1; axis < TS_AXES; axis++)
        if ((axes & TS_AXIS_BIT(axis)) && mesh_shape.size[axis] > 1)
            elems /= mesh_shape.size[axis];
    return elems;
}

static void find_collectives(Scheduler *scheduler, const int32_t *order, TsMeshShape mesh_shape)
{
    const TsGraph *graph = scheduler->graph;
    for (int32_t i = 0; i < graph->nodes; i++) {
        const TsNode *node = &graph->node[order[i]];
        scheduler->of_node[order[i]] = -1;
        if (!ts_op_is_collective(node->op))
            continue;
        const TsMoveStep *step = node->attributes;
        scheduler->of_node[order[i]] = scheduler->collectives;
        scheduler->collective[scheduler->collectives++] =
            (Collective){.node = order[i],
                         .grows = elems_of(graph, mesh_shape, step->to, node->first_out) >
                                  elems_of(graph, mesh_shape, step->from, node->first_out)};
    }
}

/* Begins the piece that node n belongs to, if it is not in the same as the one before: what has begun ends. */
static void turn_to_piece(Scheduler *scheduler, int32_t piece)
{
    if (piece == scheduler->piece)
        return;
    for (int32_t c = scheduler->first_open; c < scheduler->collectives; c++)
        if (scheduler->schedule.pieces->of_node[scheduler->collective[c].node] == scheduler->piece)
            end(scheduler, &scheduler->collective[c]);
    while (scheduler->piece < piece)
        scheduler->schedule.first_of[++scheduler->piece] = scheduler->schedule.steps;
}

TsProgramSchedule ts_pass_schedule(const TsGraph *graph, const TsPieces *pieces, TsMeshShape mesh_shape, bool plain)
{
    size_t nodes = (size_t)graph->nodes + 1;
    int32_t *order = order_nodes(graph, pieces, plain);
    Scheduler scheduler = {.graph = graph,
                           .plain = plain,
                           .collective = ts_alloc(nodes * sizeof *scheduler.collective),
                           .of_node = ts_alloc(nodes * sizeof *scheduler.of_node),
                           .there = ts_calloc((size_t)graph->values + 1, sizeof *scheduler.there)};
    scheduler.schedule.step = ts_alloc(2 * nodes * sizeof *scheduler.schedule.step);
    scheduler.schedule.first_of = ts_calloc((size_t)pieces->pieces + 1, sizeof *scheduler.schedule.first_of);
    scheduler.schedule.pieces = pieces;
    find_collectives(&scheduler, order, mesh_shape);
    for (int32_t i = 0; i < graph->nodes; i++) {
        turn_to_piece(&scheduler, pieces->of_node[order[i]]);
        run(&scheduler, order[i]);
    }
    turn_to_piece(&scheduler, pieces->pieces);
    ts_free(order);
    ts_free(scheduler.collective);
    ts_free(scheduler.of_node);
    ts_free(scheduler.there);
    return scheduler.schedule;
}

void ts_schedule_free(TsProgramSchedule *schedule)
{
    ts_free(schedule->step);
    ts_free(schedule->first_of);
    *schedule = (TsProgramSchedule){.steps = 0};
}
