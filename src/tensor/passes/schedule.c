/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedule: the order in which nodes run, and where collectives begin and end.
 *
 * Nodes keep the order of the trace where they can (order.h). Collectives run in buckets (bucket.h). A bucket begins
 * as soon as its inputs are there and ends right before the first reader of its outputs. What takes more memory than it
 * brings, the gathers of parameters, begins at most so many bytes early: a parameter is gathered while the layer before
 * computes, not at the start of the step. What nothing waits for, the reductions of gradients, ends where all that is
 * under way holds so many bytes that memory counts, or at the end. All this holds within a piece; one piece runs after
 * another. But what sums over all micro-batches wait for, the reductions of gradients that are accumulated, need not
 * wait for the end of the last one: such buckets begin in its backward pass, by steps that the earlier ones leave out.
 * They reduce sums that are there in any case, and are not counted.
 */
#include "tensor/passes/passes.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/passes/bucket.h"
#include "tensor/passes/order.h"
#include "tensor/redistribute.h"

/* Gathers that have begun before they are needed: so many, or so many buckets' bytes. */
enum { LOOK_AHEAD = 2, FRUGAL_AHEAD = 1, LOOK_AHEAD_BUCKETS = 4 };

/* Bytes of reductions under way that nothing waits for: so many buckets', but at least the largest; or, where memory is
 * what counts, fewer, and a larger one by itself. */
enum { PENDING_BUCKETS = 8, FRUGAL_BUCKETS = 2 };

/* ---- steps ---- */

/* How far a bucket has come. */
typedef struct Progress {
    bool begun, ended;
    bool pending;    /* its bytes count among those that are */
    int32_t readers; /* of what grows: that have not run yet */
} Progress;

typedef struct Scheduler {
    const TsGraph *graph;
    TsProgramSchedule schedule;
    TsBuckets buckets;
    Progress *progress; /* (buckets) */
    bool *there;        /* (values): computed */
    bool *feeds;        /* (nodes): makes what is reduced, where memory is what counts */
    bool *postponed;    /* (nodes): a sink that was met, and waits for what is deferred */
    double pending_bytes, most_pending_bytes, most_ahead_bytes;
    double gathered_bytes, most_gathered_bytes; /* of what has grown and is still read */
    int32_t pending;                            /* buckets whose bytes are pending */
    int look_ahead;
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
                        .first_member = bucket->first,
                        .last = bucket->piece > scheduler->piece};
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
    scheduler->progress[b].pending = bucket->deferred && bucket->piece == scheduler->piece;
    scheduler->pending += scheduler->progress[b].pending;
    scheduler->pending_bytes += scheduler->progress[b].pending ? bucket->bytes : 0;
    scheduler->gathered_bytes += bucket->grows ? bucket->bytes : 0;
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
static void end_oldest(Scheduler *scheduler, int32_t left);

static void run_node(Scheduler *scheduler, int32_t n)
{
    const TsNode *node = &scheduler->graph->node[n];
    end_sources(scheduler, n);
    if (scheduler->feeds[n])
        end_oldest(scheduler, 0); /* before there is one more */
    if (ts_node_takes_a_step(node))
        add_step(scheduler, TS_STEP_RUN, n);
    for (int k = 0; k < node->outputs; k++)
        scheduler->there[node->first_out + k] = true;
    for (int i = 0; i < node->inputs && ts_node_takes_a_step(node); i++) {
        int32_t b = bucket_behind(scheduler, ts_node_in(scheduler->graph, node)[i]);
        if (b >= 0 && scheduler->buckets.bucket[b].grows && --scheduler->progress[b].readers == 0)
            scheduler->gathered_bytes -= scheduler->buckets.bucket[b].bytes;
    }
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
    scheduler->pending -= scheduler->progress[b].pending;
    scheduler->pending_bytes -= scheduler->progress[b].pending ? bucket->bytes : 0;
    if (bucket->deferred)
        run_postponed(scheduler, b);
}

/* Ends the oldest of what nothing waits for where too much of it is under way, but for so many. */
static void end_oldest(Scheduler *scheduler, int32_t left)
{
    for (int32_t s = 0; scheduler->pending > left && scheduler->pending_bytes > scheduler->most_pending_bytes &&
                        s < scheduler->schedule.steps;
         s++) {
        int32_t b = scheduler->buckets.of_node[scheduler->schedule.step[s].node];
        if (b >= 0 && scheduler->progress[b].pending)
            end(scheduler, b);
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

/* Whether it is the turn of a bucket's piece; or of the last micro-batch before it, whose sums it reduces. */
static bool may_begin(const Scheduler *scheduler, const TsBucket *bucket)
{
    return bucket->piece == scheduler->piece ||
           (bucket->piece == scheduler->piece + 1 && ts_piece_repeats(scheduler->piece) && bucket->deferred);
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
        if (scheduler->progress[b].ended || !may_begin(scheduler, bucket))
            continue;
        growing += bucket->grows;
        ahead_bytes += bucket->grows ? bucket->bytes : 0;
        bool early =
            !bucket->grows ||
            ((growing <= scheduler->look_ahead || ahead_bytes <= scheduler->most_ahead_bytes) &&
             scheduler->gathered_bytes + scheduler->pending_bytes + bucket->bytes <= scheduler->most_gathered_bytes);
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
        changed = begin_ready(scheduler) && scheduler->pending > 1 &&
                  scheduler->pending_bytes > scheduler->most_pending_bytes;
        end_oldest(scheduler, 1);
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

/* What depends on the sizes of the buckets, and who reads what grows. */
static void set_limits(Scheduler *scheduler, bool frugal)
{
    const TsGraph *graph = scheduler->graph;
    double largest = 0;
    for (int32_t b = 0; b < scheduler->buckets.buckets; b++) {
        const TsBucket *bucket = &scheduler->buckets.bucket[b];
        if (bucket->deferred && bucket->bytes > scheduler->most_pending_bytes && !frugal)
            scheduler->most_pending_bytes = bucket->bytes;
        if (bucket->grows && bucket->bytes > largest)
            largest = bucket->bytes;
    }
    scheduler->most_gathered_bytes = frugal ? largest + scheduler->most_ahead_bytes : INFINITY;
    for (int32_t n = 0; n < graph->nodes; n++)
        for (int i = 0; i < graph->node[n].inputs && ts_node_takes_a_step(&graph->node[n]); i++) {
            int32_t b = bucket_behind(scheduler, ts_node_in(graph, &graph->node[n])[i]);
            if (b >= 0 && scheduler->buckets.of_node[n] < 0)
                scheduler->progress[b].readers++;
        }
    for (int32_t m = 0; m < scheduler->buckets.members && frugal; m++) {
        int32_t n = scheduler->buckets.member[m];
        if (scheduler->buckets.bucket[scheduler->buckets.of_node[n]].deferred)
            scheduler->feeds[maker_of(graph, *ts_node_in(graph, &graph->node[n])) - graph->node] = true;
    }
}

TsProgramSchedule ts_pass_schedule(const TsGraph *graph, const TsPieces *pieces, TsMeshShape mesh_shape,
                                   TsScheduleOptions options)
{
    size_t nodes = (size_t)graph->nodes + 1;
    int32_t *order = ts_order_nodes(graph, pieces, options);
    int64_t bucket_bytes = options.plain ? 0 : options.bucket_bytes;
    double unit_bytes = (double)(bucket_bytes > TS_BUCKET_BYTES ? bucket_bytes : TS_BUCKET_BYTES);
    Scheduler scheduler = {.graph = graph,
                           .plain = options.plain,
                           .buckets = ts_buckets_find(graph, pieces, order, mesh_shape, bucket_bytes),
                           .postponed = ts_calloc(nodes, sizeof *scheduler.postponed),
                           .there = ts_calloc((size_t)graph->values + 1, sizeof *scheduler.there),
                           .feeds = ts_calloc(nodes, sizeof *scheduler.feeds),
                           .look_ahead = options.frugal ? FRUGAL_AHEAD : LOOK_AHEAD,
                           .most_ahead_bytes = LOOK_AHEAD_BUCKETS * unit_bytes,
                           .most_pending_bytes = (options.frugal ? FRUGAL_BUCKETS : PENDING_BUCKETS) * unit_bytes};
    scheduler.schedule = (TsProgramSchedule){
        .step = ts_alloc(2 * nodes * sizeof(TsProgramStep)),
        .first_of = ts_calloc((size_t)pieces->pieces + 1, sizeof(int32_t)),
        .pieces = pieces,
    };
    scheduler.progress = ts_calloc((size_t)scheduler.buckets.buckets + 1, sizeof *scheduler.progress);
    set_limits(&scheduler, options.frugal);
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
    ts_free(scheduler.feeds);
    return scheduler.schedule;
}

void ts_schedule_free(TsProgramSchedule *schedule)
{
    ts_free(schedule->step);
    ts_free(schedule->first_of);
    ts_free(schedule->member);
    *schedule = (TsProgramSchedule){.steps = 0};
}
