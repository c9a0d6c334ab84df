/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedule: the order in which nodes run, and where collectives begin and end.
 *
 * Nodes keep the order of the trace, but for readers of what is assigned, which come before the node that makes the new
 * value where that can be, so that it may be written in place. Collectives run in buckets (bucket.h). A bucket begins
 * as soon as its inputs are there and ends right before the first reader of its outputs. What takes more memory than it
 * brings, the gathers of parameters, begins at most so many bytes early: a parameter is gathered while the layer before
 * computes, not at the start of the step. What nothing waits for, the reductions of gradients, ends where all that is
 * under way holds so many bytes that memory counts, or at the end. All this holds within a piece; one piece runs after
 * another.
 */
#include "tensor/passes/passes.h"

#include <string.h>

#include "base/memory.h"
#include "tensor/passes/bucket.h"
#include "tensor/redistribute.h"

/* Gathers that have begun before they are needed: so many, or so many buckets' bytes. */
enum { LOOK_AHEAD = 2, LOOK_AHEAD_BUCKETS = 4 };

/* Bytes of reductions under way that nothing waits for: so many buckets', but at least the largest. */
enum { PENDING_BUCKETS = 8 };

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

/* How far a bucket has come. */
typedef struct Progress {
    bool begun, ended;
} Progress;

typedef struct Scheduler {
    const TsGraph *graph;
    TsProgramSchedule schedule;
    TsBuckets buckets;
    Progress *progress; /* (buckets) */
    bool *there;        /* (values): computed */
    bool *postponed;    /* (nodes): a sink that was met, and waits for what is deferred */
    double pending_bytes, most_pending_bytes, most_ahead_bytes;
    bool plain;
    int32_t first_open; /* all before it have ended */
    int32_t piece;      /* that is being scheduled */
} Scheduler;

static void add_step(Scheduler *scheduler, TsProgramStepKind kind, int32_t node)
{
    scheduler->schedule.step[scheduler->schedule.steps++] =
        (TsProgramStep){.kind = kind, .node = node, .members = 1, .first_member = -1};
}

static void add_bucket_step(Scheduler *scheduler, TsProgramStepKind kind, const TsBucket *bucket)
{
    scheduler->schedule.step[scheduler->schedule.steps++] =
        (TsProgramStep){.kind = kind,
                        .node = scheduler->buckets.member[bucket->first],
                        .members = bucket->count,
                        .first_member = bucket->first};
}

/* The node that made `value`, through views. */
static const TsNode *maker_of(const TsGraph *graph, int32_t value)
{
    const TsNode *node = &graph->node[graph->value[value].node];
    while (node->op->flags & TS_OP_VIEW)
        node = &graph->node[graph->value[*ts_node_in(graph, node)].node];
    return node;
}

static bool inputs_are_there(const Scheduler *scheduler, const TsBucket *bucket)
{
    const TsGraph *graph = scheduler->graph;
    for (int32_t m = bucket->first; m < bucket->first + bucket->count; m++) {
        const TsNode *maker = maker_of(graph, *ts_node_in(graph, &graph->node[scheduler->buckets.member[m]]));
        if (maker->op != &ts_bound_op && !scheduler->there[maker->first_out])
            return false;
    }
    return true;
}

static void begin(Scheduler *scheduler, int32_t b)
{
    const TsBucket *bucket = &scheduler->buckets.bucket[b];
    scheduler->progress[b].begun = true;
    if (bucket->deferred)
        scheduler->pending_bytes += bucket->bytes;
    add_bucket_step(scheduler, TS_STEP_BEGIN, bucket);
}

/* The bucket, if any, that `value` comes from, through views; -1: it is no collective's. */
static int32_t bucket_behind(const Scheduler *scheduler, int32_t value)
{
    return scheduler->buckets.of_node[maker_of(scheduler->graph, value) - scheduler->graph->node];
}

/* Whether a sink may run: all that is deferred among its inputs has ended. */
static bool may_run(const Scheduler *scheduler, int32_t n)
{
    const TsNode *node = &scheduler->graph->node[n];
    for (int i = 0; i < node->inputs; i++) {
        int32_t b = bucket_behind(scheduler, ts_node_in(scheduler->graph, node)[i]);
        if (b >= 0 && scheduler->buckets.bucket[b].deferred && !scheduler->progress[b].ended)
            return false;
    }
    return true;
}

static void end_sources(Scheduler *scheduler, int32_t n);

static void run_node(Scheduler *scheduler, int32_t n)
{
    const TsNode *node = &scheduler->graph->node[n];
    end_sources(scheduler, n);
    if (takes_a_step(node))
        add_step(scheduler, TS_STEP_RUN, n);
    for (int k = 0; k < node->outputs; k++)
        scheduler->there[node->first_out + k] = true;
}

/* Runs the sinks that have waited for this bucket. */
static void run_postponed(Scheduler *scheduler, int32_t b)
{
    for (int32_t n = 0; n < scheduler->graph->nodes; n++) {
        const TsNode *node = &scheduler->graph->node[n];
        bool reads = false;
        for (int i = 0; i < node->inputs && scheduler->postponed[n]; i++)
            reads |= bucket_behind(scheduler, ts_node_in(scheduler->graph, node)[i]) == b;
        if (reads && may_run(scheduler, n)) {
            scheduler->postponed[n] = false;
            run_node(scheduler, n);
        }
    }
}

static void end(Scheduler *scheduler, int32_t b)
{
    const TsBucket *bucket = &scheduler->buckets.bucket[b];
    if (scheduler->progress[b].ended)
        return;
    if (!scheduler->progress[b].begun)
        begin(scheduler, b);
    scheduler->progress[b].ended = true;
    add_bucket_step(scheduler, TS_STEP_END, bucket);
    for (int32_t m = bucket->first; m < bucket->first + bucket->count; m++)
        scheduler->there[scheduler->graph->node[scheduler->buckets.member[m]].first_out] = true;
    if (bucket->deferred) {
        scheduler->pending_bytes -= bucket->bytes;
        run_postponed(scheduler, b);
    }
}

/* Ends the collectives that a node's inputs come from. */
static void end_sources(Scheduler *scheduler, int32_t n)
{
    const TsNode *node = &scheduler->graph->node[n];
    for (int i = 0; i < node->inputs; i++) {
        int32_t b = bucket_behind(scheduler, ts_node_in(scheduler->graph, node)[i]);
        if (b >= 0)
            end(scheduler, b);
    }
}

/* Begins what can begin: everything that does not grow, and the next few that do. True if something began. */
static bool begin_ready(Scheduler *scheduler)
{
    const TsBuckets *buckets = &scheduler->buckets;
    int growing = 0;
    double ahead_bytes = 0;
    bool any = false;
    while (scheduler->first_open < buckets->buckets && scheduler->progress[scheduler->first_open].ended)
        scheduler->first_open++;
    for (int32_t b = scheduler->first_open; b < buckets->buckets; b++) {
        const TsBucket *bucket = &buckets->bucket[b];
        if (scheduler->progress[b].ended || bucket->piece != scheduler->piece)
            continue;
        growing += bucket->grows;
        ahead_bytes += bucket->grows ? bucket->bytes : 0;
        bool early = !bucket->grows || growing <= LOOK_AHEAD || ahead_bytes <= scheduler->most_ahead_bytes;
        if (early && !scheduler->progress[b].begun && inputs_are_there(scheduler, bucket)) {
            begin(scheduler, b);
            any = true;
        }
    }
    return any;
}

/* Begins what can begin, and ends the oldest of what nothing waits for where too much of it is under way. */
static void begin_what_can(Scheduler *scheduler)
{
    bool changed = !scheduler->plain;
    while (changed) {
        changed = begin_ready(scheduler) && scheduler->pending_bytes > scheduler->most_pending_bytes;
        for (int32_t s = 0; scheduler->pending_bytes > scheduler->most_pending_bytes && s < scheduler->schedule.steps;
             s++) {
            int32_t b = scheduler->buckets.of_node[scheduler->schedule.step[s].node];
            if (b >= 0 && scheduler->buckets.bucket[b].deferred)
                end(scheduler, b);
        }
    }
}

static void run(Scheduler *scheduler, int32_t n)
{
    const TsGraph *graph = scheduler->graph;
    const TsNode *node = &graph->node[n];
    int32_t b = scheduler->buckets.of_node[n];
    if (node->op->flags & TS_OP_VIEW)
        return; /* it is there when what it shows is */
    if (b >= 0) {
        end_sources(scheduler, n);
        if (scheduler->plain)
            end(scheduler, b);
    } else if (scheduler->buckets.is_sink[n] && !scheduler->plain && !may_run(scheduler, n)) {
        scheduler->postponed[n] = true;
        return;
    } else {
        run_node(scheduler, n);
    }
    if (node->op != &ts_constant_op)
        begin_what_can(scheduler);
}

/* Begins the next pieces, up to this one: what has begun ends. */
static void turn_to_piece(Scheduler *scheduler, int32_t piece)
{
    const TsBuckets *buckets = &scheduler->buckets;
    while (scheduler->piece < piece) {
        for (int32_t b = 0; b < buckets->buckets; b++)
            if (buckets->bucket[b].piece == scheduler->piece) {
                end(scheduler, b);
                begin_what_can(scheduler);
            }
        scheduler->schedule.first_of[++scheduler->piece] = scheduler->schedule.steps;
    }
}

TsProgramSchedule ts_pass_schedule(const TsGraph *graph, const TsPieces *pieces, TsMeshShape mesh_shape,
                                   TsScheduleOptions options)
{
    size_t nodes = (size_t)graph->nodes + 1;
    int32_t *order = order_nodes(graph, pieces, options.plain);
    int64_t bucket_bytes = options.plain ? 0 : options.bucket_bytes;
    double unit_bytes = (double)(bucket_bytes > TS_BUCKET_BYTES ? bucket_bytes : TS_BUCKET_BYTES);
    Scheduler scheduler = {.graph = graph,
                           .plain = options.plain,
                           .buckets = ts_buckets_find(graph, pieces, order, mesh_shape, bucket_bytes),
                           .postponed = ts_calloc(nodes, sizeof *scheduler.postponed),
                           .there = ts_calloc((size_t)graph->values + 1, sizeof *scheduler.there),
                           .most_ahead_bytes = LOOK_AHEAD_BUCKETS * unit_bytes,
                           .most_pending_bytes = PENDING_BUCKETS * unit_bytes};
    scheduler.schedule = (TsProgramSchedule){
        .step = ts_alloc(2 * nodes * sizeof(TsProgramStep)),
        .first_of = ts_calloc((size_t)pieces->pieces + 1, sizeof(int32_t)),
        .pieces = pieces,
    };
    scheduler.progress = ts_calloc((size_t)scheduler.buckets.buckets + 1, sizeof *scheduler.progress);
    for (int32_t b = 0; b < scheduler.buckets.buckets; b++) {
        const TsBucket *bucket = &scheduler.buckets.bucket[b];
        if (bucket->deferred && bucket->bytes > scheduler.most_pending_bytes)
            scheduler.most_pending_bytes = bucket->bytes;
    }
    for (int32_t i = 0; i < graph->nodes; i++) {
        turn_to_piece(&scheduler, pieces->of_node[order[i]]);
        run(&scheduler, order[i]);
    }
    turn_to_piece(&scheduler, pieces->pieces);
    scheduler.schedule.member = scheduler.buckets.member;
    ts_buckets_free(&scheduler.buckets);
    ts_free(order);
    ts_free(scheduler.progress);
    ts_free(scheduler.postponed);
    ts_free(scheduler.there);
    return scheduler.schedule;
}

void ts_schedule_free(TsProgramSchedule *schedule)
{
    ts_free(schedule->step);
    ts_free(schedule->first_of);
    ts_free(schedule->member);
    *schedule = (TsProgramSchedule){.steps = 0};
}
