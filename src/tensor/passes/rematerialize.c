/* SPDX-License-Identifier: Apache-2.0
 *
 * Rematerialize: what the backward pass reads of the forward pass is computed again, right before it is read, instead
 * of being kept (Chen et al. 2016). The copies are made of the same ops on the same numbers, and random numbers are
 * functions of where they are wanted: no bit of the result changes.
 *
 * To meet a limit, nodes are taken in the order of the bytes that they free for each flop, as many as it takes, by the
 * arena that the passes behind this one come to, and those given back again, the costliest first, without which the
 * limit is met too. The same is done in the order of flops alone; what takes less work is taken.
 */
#include "tensor/passes/again.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/memory.h"

/* ---- policies ---- */

static bool *choose_by_block(const TsAgain *found, bool outside_too)
{
    const TsGraph *graph = found->graph;
    bool *again = ts_calloc((size_t)graph->nodes + 1, sizeof *again);
    for (int32_t n = 0; n < graph->nodes; n++)
        again[n] = found->candidate[n] && (outside_too || ts_again_block(found, n) != TS_AGAIN_OUTSIDE);
    return again;
}

/* A node, and what computing it again is worth. */
typedef struct Offer {
    int32_t node;
    bool refused, tried; /* it is not taken; and that was tried */
    bool late; /* outside of blocks, or in the last: the backward pass begins with it, and has it back at once */
    double bytes, flops;
} Offer;

static int by_worth(const void *left, const void *right)
{
    const Offer *a = left, *b = right;
    double mine = a->bytes * b->flops, its = b->bytes * a->flops; /* bytes for each flop */
    if (a->late != b->late)
        return a->late - b->late;
    return mine > its ? -1 : mine < its ? 1 : (a->node > b->node) - (a->node < b->node);
}

static int by_flops(const void *left, const void *right)
{
    const Offer *a = left, *b = right;
    if (a->late != b->late)
        return a->late - b->late;
    return a->flops < b->flops ? -1 : a->flops > b->flops ? 1 : (a->node > b->node) - (a->node < b->node);
}

/* Flops of node n, and of what it needs that would not be there. */
static double flops_of(const TsAgain *found, TsNodeRoom *room, int32_t n, int depth)
{
    enum { DEEP = 16 };
    const TsGraph *graph = found->graph;
    const TsNode *node = &graph->node[n];
    TsNodeView view = ts_node_view(room, graph, node);
    TsCost cost = ts_node_cost(&view);
    double flops = cost.flops + cost.bytes; /* what moves takes time too */
    for (int i = 0; i < node->inputs && depth < DEEP; i++) {
        int32_t value = ts_again_shown(graph, ts_node_in(graph, node)[i]), maker = graph->value[value].node;
        if (!found->needed[value] && found->candidate[maker])
            flops += flops_of(found, room, maker, depth + 1);
    }
    return flops;
}

static Offer *list_offers(const TsAgain *found, int32_t *count)
{
    const TsGraph *graph = found->graph;
    Offer *offer = ts_alloc(((size_t)graph->nodes + 1) * sizeof *offer);
    TsNodeRoom room = {.capacity = 0};
    int32_t last_block = TS_AGAIN_OUTSIDE;
    *count = 0;
    for (int32_t n = 0; n < graph->nodes; n++)
        if (!graph->node[n].backward && ts_again_block(found, n) != TS_AGAIN_OUTSIDE)
            last_block = ts_again_block(found, n);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool late = found->has_blocks &&
                    (ts_again_block(found, n) == TS_AGAIN_OUTSIDE || ts_again_block(found, n) == last_block);
        double bytes = 0;
        for (int k = 0; k < node->outputs; k++) {
            const TsValue *value = &graph->value[node->first_out + k];
            if (found->needed[node->first_out + k])
                bytes += (double)ts_shape_elems(value->shape) * (double)ts_dtype_bytes(value->dtype);
        }
        if (found->candidate[n] && bytes > 0)
            offer[(*count)++] = (Offer){.node = n, .late = late, .bytes = bytes, .flops = flops_of(found, &room, n, 0)};
    }
    ts_node_room_free(&room);
    qsort(offer, (size_t)*count, sizeof *offer, by_worth);
    return offer;
}

/* Those of the first `count` offers that are taken, with what they need and nobody keeps. */
static bool *choose_first(const TsAgain *found, const Offer *offer, int32_t count)
{
    const TsGraph *graph = found->graph;
    bool *again = ts_calloc((size_t)graph->nodes + 1, sizeof *again);
    for (int32_t i = 0; i < count; i++)
        again[offer[i].node] |= !offer[i].refused;
    for (int32_t n = graph->nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].inputs && again[n]; i++) {
            int32_t value = ts_again_shown(graph, ts_node_in(graph, &graph->node[n])[i]),
                    maker = graph->value[value].node;
            again[maker] |= !found->needed[value] && found->candidate[maker];
        }
    return again;
}

static TsStatus cannot_meet(size_t limit_bytes, size_t least_bytes, size_t most_bytes)
{
    const double mib = 1024.0 * 1024;
    return ts_status_error(TS_CODE_RESOURCES,
                           "a limit of %.1f MiB for the arena of a step: it takes %.1f MiB with everything computed "
                           "again in the backward pass, %.1f MiB with nothing",
                           (double)limit_bytes / mib, (double)least_bytes / mib, (double)most_bytes / mib);
}

static size_t arena_with(const TsAgain *found, const Offer *offer, int32_t count, TsArenaOf *arena_of,
                         const void *context)
{
    if (ts_memory_short()) /* what comes of this is thrown away */
        return 0;
    bool *again = choose_first(found, offer, count);
    size_t bytes = arena_of(context, ts_again_write(found, again));
    ts_free(again);
    return bytes;
}

/* Gives back of the first `count` offers what is not needed. Each try costs the passes behind: so many. */
static void give_back(const TsAgain *found, Offer *offer, int32_t count, size_t limit_bytes, TsArenaOf *arena_of,
                      const void *context)
{
    enum { TRIES = 24 };
    for (int tries = 0; tries < TRIES && tries < count; tries++) {
        int32_t costliest = -1;
        for (int32_t i = 0; i < count; i++)
            if (!offer[i].refused && !offer[i].tried && (costliest < 0 || offer[i].flops > offer[costliest].flops))
                costliest = i;
        if (costliest < 0)
            return;
        offer[costliest].tried = offer[costliest].refused = true;
        offer[costliest].refused = arena_with(found, offer, count, arena_of, context) <= limit_bytes;
    }
}

/* Of the offers in this order, the fewest from the first on with which the arena is small enough, less what is given
 * back; NULL: not with all of them. */
static bool *meet_in_order(const TsAgain *found, Offer *offer, int32_t count, size_t limit_bytes, TsArenaOf *arena_of,
                           const void *context)
{
    int32_t low = 0, high = count;
    for (int32_t i = 0; i < count; i++)
        offer[i].refused = offer[i].tried = false;
    if (arena_with(found, offer, count, arena_of, context) > limit_bytes)
        return NULL;
    while (low + 1 < high) { /* low is too few, high is enough */
        int32_t middle = low + (high - low) / 2;
        if (arena_with(found, offer, middle, arena_of, context) <= limit_bytes)
            high = middle;
        else
            low = middle;
    }
    give_back(found, offer, high, limit_bytes, arena_of, context);
    return choose_first(found, offer, high);
}

/* What all nodes of `again` cost together. */
static double work_of(const TsAgain *found, const bool *again)
{
    const TsGraph *graph = found->graph;
    TsNodeRoom room = {.capacity = 0};
    double work = 0;
    for (int32_t n = 0; n < graph->nodes; n++)
        if (again[n]) {
            TsNodeView view = ts_node_view(&room, graph, &graph->node[n]);
            TsCost cost = ts_node_cost(&view);
            work += cost.flops + cost.bytes;
        }
    ts_node_room_free(&room);
    return work;
}

/* What meets the limit with the least work, of what two orders come to. */
static TsStatus meet_limit(bool **again, const TsAgain *found, size_t limit_bytes, TsArenaOf *arena_of,
                           const void *context)
{
    static int (*const orders[])(const void *, const void *) = {by_worth, by_flops};
    int32_t count;
    Offer *offer = list_offers(found, &count);
    size_t most_bytes = arena_with(found, offer, 0, arena_of, context);
    *again = most_bytes <= limit_bytes ? choose_first(found, offer, 0) : NULL;
    for (int k = 0; k < 2 && most_bytes > limit_bytes; k++) {
        qsort(offer, (size_t)count, sizeof *offer, orders[k]);
        bool *met = meet_in_order(found, offer, count, limit_bytes, arena_of, context);
        if (met && (!*again || work_of(found, met) < work_of(found, *again))) {
            bool *worse = *again;
            *again = met;
            met = worse;
        }
        ts_free(met);
    }
    TsStatus status =
        *again ? TS_OK : cannot_meet(limit_bytes, arena_with(found, offer, count, arena_of, context), most_bytes);
    ts_free(offer);
    return status;
}

int ts_rematerialize_offers(const TsGraph *graph)
{
    TsAgain found = ts_again_find(graph);
    int32_t count;
    Offer *offer = list_offers(&found, &count);
    ts_free(offer);
    ts_again_free(&found);
    TS_CHECK(count <= 64, "%d nodes: all subsets of them are too many", (int)count);
    return count;
}

TsGraph *ts_rematerialize_chosen(const TsGraph *graph, uint64_t taken)
{
    TsAgain found = ts_again_find(graph);
    int32_t count;
    Offer *offer = list_offers(&found, &count);
    for (int32_t i = 0; i < count; i++)
        offer[i].refused = !(taken >> i & 1);
    bool *again = choose_first(&found, offer, count);
    TsGraph *written = ts_again_write(&found, again);
    ts_free(again);
    ts_free(offer);
    ts_again_free(&found);
    return written;
}

TsStatus ts_pass_rematerialize(TsGraph **graph, TsMemoryPolicy policy, TsArenaOf *arena_of, const void *context)
{
    if (policy.recompute == TS_RECOMPUTE_NOTHING)
        return TS_OK;
    TsAgain found = ts_again_find(*graph);
    bool *again = NULL;
    TsStatus status = TS_OK;
    if (policy.recompute == TS_RECOMPUTE_AUTO)
        status = meet_limit(&again, &found, policy.limit_bytes, arena_of, context);
    else
        again = choose_by_block(&found, policy.recompute == TS_RECOMPUTE_EVERYTHING);
    TsGraph *written = status ? NULL : ts_again_write(&found, again);
    ts_free(again);
    ts_again_free(&found);
    if (status) {
        TsStatus lack = ts_memory_status(); /* then it was not tried to the end */
        ts_status_free(lack ? &status : &lack);
        return lack ? lack : status;
    }
    ts_graph_free(graph);
    *graph = written;
    return TS_OK;
}
