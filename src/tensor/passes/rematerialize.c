/* SPDX-License-Identifier: Apache-2.0
 *
 * Rematerialize: what the backward pass reads of the forward pass is computed again, right before it is read, instead
 * of being kept (Chen et al. 2016). The copies are made of the same ops on the same numbers, and random numbers are
 * functions of where they are wanted: no bit of the result changes.
 *
 * A block is what has one numbered layer in its path ("backbone/layer_03"). What one block takes from another is always
 * kept, so that nothing is computed again more than once. Messages are not sent again: what a collective brought is
 * kept, but for parameters, which are gathered for the backward pass anyway.
 *
 * To meet a limit, nodes are taken in the order of the bytes that they free for each flop, as many as it takes, by the
 * arena that the passes behind this one come to, and those given back again, the costliest first, without which the
 * limit is met too. The same is done in the order of flops alone; what takes less work is taken.
 */
#include "tensor/passes/passes.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/redistribute.h"

enum { OUTSIDE = -1 };

typedef struct Chooser {
    const TsGraph *graph;
    int32_t *block;  /* (paths): OUTSIDE, or the number of the first path that has the same block */
    bool *candidate; /* (nodes): of the forward pass, and may be computed again */
    bool *needed;    /* (values): the backward pass reads it, or a view of it */
    bool *at_rest;   /* (values): of parameters and states alone */
    bool has_blocks;
} Chooser;

/* ---- blocks ---- */

/* The length of a path up to the end of its first numbered part; 0: there is none. */
static size_t block_length(const char *path)
{
    for (const char *at = path; *at;) {
        size_t length = strcspn(at, "/"), digits = 0;
        while (digits < length && at[length - 1 - digits] >= '0' && at[length - 1 - digits] <= '9')
            digits++;
        if (digits && digits < length && at[length - 1 - digits] == '_')
            return (size_t)(at - path) + length;
        at += length + (at[length] == '/');
    }
    return 0;
}

typedef struct BlockName {
    const char *path;
    size_t length;
    int32_t index;
} BlockName;

static int by_name(const void *left, const void *right)
{
    const BlockName *a = left, *b = right;
    int order = strncmp(a->path, b->path, a->length < b->length ? a->length : b->length);
    if (!order)
        order = (a->length > b->length) - (a->length < b->length);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static void find_blocks(Chooser *chooser)
{
    const TsGraph *graph = chooser->graph;
    BlockName *name = ts_alloc(((size_t)graph->paths + 1) * sizeof *name);
    int32_t count = 0;
    for (int32_t p = 0; p < graph->paths; p++) {
        size_t length = block_length(graph->path[p].text);
        chooser->block[p] = OUTSIDE;
        if (length)
            name[count++] = (BlockName){graph->path[p].text, length, p};
    }
    qsort(name, (size_t)count, sizeof *name, by_name);
    for (int32_t i = 0, first = 0; i < count; i++) {
        if (name[i].length != name[first].length || strncmp(name[i].path, name[first].path, name[i].length))
            first = i;
        chooser->block[name[i].index] = name[first].index;
    }
    chooser->has_blocks = count > 0;
    ts_free(name);
}

static int32_t block_of(const Chooser *chooser, int32_t n)
{
    return chooser->block[chooser->graph->node[n].path];
}

/* ---- what may be computed again ---- */

/* A gather of a parameter for the forward pass: the backward pass has one of its own. */
static bool is_forward_gather(const Chooser *chooser, const TsNode *node)
{
    return node->op == &ts_move_op[TS_MOVE_ALL_GATHER] && !node->backward && chooser->at_rest[node->first_out];
}

static bool may_be_made_again(const Chooser *chooser, const TsNode *node)
{
    return !node->backward && node->inputs > 0 && !(node->op->flags & (TS_OP_EFFECT | TS_OP_VIEW)) &&
           !ts_op_is_collective(node->op) && !chooser->at_rest[node->first_out];
}

static void find_at_rest(Chooser *chooser)
{
    const TsGraph *graph = chooser->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool at_rest = node->op == &ts_bound_op &&
                       graph->bound[((const TsBoundAttributes *)node->attributes)->bound].binding.kind != TS_BIND_INPUT;
        if (node->inputs == 1)
            at_rest = chooser->at_rest[*ts_node_in(graph, node)];
        for (int k = 0; k < node->outputs; k++)
            chooser->at_rest[node->first_out + k] = at_rest;
    }
}

/* The value that a view shows. */
static int32_t shown_by(const TsGraph *graph, int32_t value)
{
    const TsNode *node = &graph->node[graph->value[value].node];
    while (node->op->flags & TS_OP_VIEW) {
        value = *ts_node_in(graph, node);
        node = &graph->node[graph->value[value].node];
    }
    return value;
}

static void find_candidates(Chooser *chooser)
{
    const TsGraph *graph = chooser->graph;
    for (int32_t n = 0; n < graph->nodes; n++)
        chooser->candidate[n] = may_be_made_again(chooser, &graph->node[n]);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++) {
            int32_t value = shown_by(graph, ts_node_in(graph, node)[i]), maker = graph->value[value].node;
            if (node->backward)
                chooser->needed[value] = true;
            else if (!(node->op->flags & TS_OP_VIEW) && block_of(chooser, maker) != block_of(chooser, n))
                chooser->candidate[maker] &= block_of(chooser, n) == OUTSIDE && block_of(chooser, maker) == OUTSIDE;
        }
    }
    for (int32_t b = 0; b < graph->bounds; b++) { /* what is there at the end anyway */
        const TsBound *bound = &graph->bound[b];
        if (bound->binding.kind == TS_BIND_OUTPUT)
            chooser->candidate[graph->value[shown_by(graph, bound->value)].node] = false;
        if (bound->assigned >= 0)
            chooser->candidate[graph->value[shown_by(graph, bound->assigned)].node] = false;
    }
}

static Chooser create_chooser(const TsGraph *graph)
{
    size_t nodes = (size_t)graph->nodes + 1, values = (size_t)graph->values + 1;
    Chooser chooser = {.graph = graph,
                       .block = ts_alloc(((size_t)graph->paths + 1) * sizeof *chooser.block),
                       .candidate = ts_calloc(nodes, sizeof *chooser.candidate),
                       .needed = ts_calloc(values, sizeof *chooser.needed),
                       .at_rest = ts_calloc(values, sizeof *chooser.at_rest)};
    find_blocks(&chooser);
    find_at_rest(&chooser);
    find_candidates(&chooser);
    return chooser;
}

static void free_chooser(Chooser *chooser)
{
    ts_free(chooser->block);
    ts_free(chooser->candidate);
    ts_free(chooser->needed);
    ts_free(chooser->at_rest);
}

/* ---- the new graph ---- */

typedef struct Writer {
    const Chooser *chooser;
    const bool *again; /* (nodes) */
    TsRewrite rewrite;
    int32_t *copy; /* (values): what was computed again, in the new graph; -1: not yet */
} Writer;

/* Adds a copy of `node` for the backward pass; `in` are values of the new graph. */
static void add_copy(Writer *writer, const TsNode *node, const int32_t *in)
{
    TsGraph *to = writer->rewrite.to;
    TsTensor few[16], *operand = node->inputs > 16 ? ts_alloc((size_t)node->inputs * sizeof *operand) : few;
    TsTensor out[TS_MAX_OUTPUTS];
    TsMoveStep step;
    const void *attributes = node->attributes;
    bool gathers = is_forward_gather(writer->chooser, node);
    if (gathers) { /* the one that the backward pass has, where it has one */
        memcpy(&step, node->attributes, sizeof step);
        step.round = 1;
        attributes = &step;
    }
    for (int i = 0; i < node->inputs; i++)
        operand[i] = (TsTensor){to, in[i]};
    to->current_path = node->path;
    to->backward = true;
    to->again = !gathers;
    ts_graph_add_to(to, out, node->op, operand, node->inputs, attributes);
    for (int k = 0; k < node->outputs; k++) {
        writer->copy[node->first_out + k] = out[k].id;
        to->value[out[k].id].placement = writer->rewrite.from->value[node->first_out + k].placement;
    }
    if (operand != few)
        ts_free(operand);
}

/* The value of the new graph that the backward pass reads for `value`. */
static int32_t read_again(Writer *writer, int32_t value)
{
    const TsGraph *from = writer->rewrite.from;
    const TsNode *node = &from->node[from->value[value].node];
    if (writer->copy[value] >= 0)
        return writer->copy[value];
    bool view = node->op->flags & TS_OP_VIEW;
    if (!writer->again[from->value[value].node] && !view && !is_forward_gather(writer->chooser, node))
        return writer->rewrite.value[value];
    int32_t few[16], *in = node->inputs > 16 ? ts_alloc((size_t)node->inputs * sizeof *in) : few;
    bool changed = !view;
    for (int i = 0; i < node->inputs; i++) {
        int32_t operand = ts_node_in(from, node)[i];
        in[i] = read_again(writer, operand);
        changed |= in[i] != writer->rewrite.value[operand];
    }
    if (changed)
        add_copy(writer, node, in);
    else
        writer->copy[value] = writer->rewrite.value[value];
    if (in != few)
        ts_free(in);
    return writer->copy[value];
}

static bool leads_to_again(const Writer *writer, int32_t value)
{
    const TsGraph *from = writer->rewrite.from;
    return writer->again[from->value[shown_by(from, value)].node];
}

static void copy_backward(Writer *writer, const TsNode *node)
{
    TsRewrite *rewrite = &writer->rewrite;
    int32_t few[16], *in = node->inputs > 16 ? ts_alloc((size_t)node->inputs * sizeof *in) : few;
    for (int i = 0; i < node->inputs; i++) {
        int32_t value = ts_node_in(rewrite->from, node)[i];
        in[i] = leads_to_again(writer, value) ? read_again(writer, value) : rewrite->value[value];
    }
    ts_rewrite_add(rewrite, node, in);
    for (int k = 0; k < node->outputs; k++)
        rewrite->to->value[rewrite->value[node->first_out + k]].placement =
            rewrite->from->value[node->first_out + k].placement;
    if (in != few)
        ts_free(in);
}

/* The graph in which the nodes of `again` are computed once more for the backward pass. `graph` stays as it is. */
static TsGraph *write(const Chooser *chooser, const bool *again)
{
    const TsGraph *graph = chooser->graph;
    Writer writer = {.chooser = chooser,
                     .again = again,
                     .rewrite = ts_rewrite_begin(graph),
                     .copy = ts_alloc(((size_t)graph->values + 1) * sizeof *writer.copy)};
    memset(writer.copy, 0xff, (size_t)graph->values * sizeof *writer.copy);
    for (int32_t n = 0; n < graph->nodes; n++)
        if (graph->node[n].backward && graph->node[n].inputs)
            copy_backward(&writer, &graph->node[n]);
        else
            ts_rewrite_copy(&writer.rewrite, &graph->node[n]);
    ts_free(writer.copy);
    return ts_pass_prune(ts_rewrite_finish(&writer.rewrite));
}

/* ---- policies ---- */

static bool *choose_by_block(const Chooser *chooser, bool outside_too)
{
    const TsGraph *graph = chooser->graph;
    bool *again = ts_calloc((size_t)graph->nodes + 1, sizeof *again);
    for (int32_t n = 0; n < graph->nodes; n++)
        again[n] = chooser->candidate[n] && (outside_too || block_of(chooser, n) != OUTSIDE);
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
static double flops_of(const Chooser *chooser, TsNodeRoom *room, int32_t n, int depth)
{
    enum { DEEP = 16 };
    const TsGraph *graph = chooser->graph;
    const TsNode *node = &graph->node[n];
    TsNodeView view = ts_node_view(room, graph, node);
    TsCost cost = ts_node_cost(&view);
    double flops = cost.flops + cost.bytes; /* what moves takes time too */
    for (int i = 0; i < node->inputs && depth < DEEP; i++) {
        int32_t value = shown_by(graph, ts_node_in(graph, node)[i]), maker = graph->value[value].node;
        if (!chooser->needed[value] && chooser->candidate[maker])
            flops += flops_of(chooser, room, maker, depth + 1);
    }
    return flops;
}

static Offer *list_offers(const Chooser *chooser, int32_t *count)
{
    const TsGraph *graph = chooser->graph;
    Offer *offer = ts_alloc(((size_t)graph->nodes + 1) * sizeof *offer);
    TsNodeRoom room = {.capacity = 0};
    int32_t last_block = OUTSIDE;
    *count = 0;
    for (int32_t n = 0; n < graph->nodes; n++)
        if (!graph->node[n].backward && block_of(chooser, n) != OUTSIDE)
            last_block = block_of(chooser, n);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool late = chooser->has_blocks && (block_of(chooser, n) == OUTSIDE || block_of(chooser, n) == last_block);
        double bytes = 0;
        for (int k = 0; k < node->outputs; k++) {
            const TsValue *value = &graph->value[node->first_out + k];
            if (chooser->needed[node->first_out + k])
                bytes += (double)ts_shape_elems(value->shape) * (double)ts_dtype_bytes(value->dtype);
        }
        if (chooser->candidate[n] && bytes > 0)
            offer[(*count)++] =
                (Offer){.node = n, .late = late, .bytes = bytes, .flops = flops_of(chooser, &room, n, 0)};
    }
    ts_node_room_free(&room);
    qsort(offer, (size_t)*count, sizeof *offer, by_worth);
    return offer;
}

/* Those of the first `count` offers that are taken, with what they need and nobody keeps. */
static bool *choose_first(const Chooser *chooser, const Offer *offer, int32_t count)
{
    const TsGraph *graph = chooser->graph;
    bool *again = ts_calloc((size_t)graph->nodes + 1, sizeof *again);
    for (int32_t i = 0; i < count; i++)
        again[offer[i].node] |= !offer[i].refused;
    for (int32_t n = graph->nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].inputs && again[n]; i++) {
            int32_t value = shown_by(graph, ts_node_in(graph, &graph->node[n])[i]), maker = graph->value[value].node;
            again[maker] |= !chooser->needed[value] && chooser->candidate[maker];
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

static size_t arena_with(const Chooser *chooser, const Offer *offer, int32_t count, TsArenaOf *arena_of,
                         const void *context)
{
    bool *again = choose_first(chooser, offer, count);
    size_t bytes = arena_of(context, write(chooser, again));
    ts_free(again);
    return bytes;
}

/* Gives back of the first `count` offers what is not needed. Each try costs the passes behind: so many. */
static void give_back(const Chooser *chooser, Offer *offer, int32_t count, size_t limit_bytes, TsArenaOf *arena_of,
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
        offer[costliest].refused = arena_with(chooser, offer, count, arena_of, context) <= limit_bytes;
    }
}

/* Of the offers in this order, the fewest from the first on with which the arena is small enough, less what is given
 * back; NULL: not with all of them. */
static bool *meet_in_order(const Chooser *chooser, Offer *offer, int32_t count, size_t limit_bytes, TsArenaOf *arena_of,
                           const void *context)
{
    int32_t low = 0, high = count;
    for (int32_t i = 0; i < count; i++)
        offer[i].refused = offer[i].tried = false;
    if (arena_with(chooser, offer, count, arena_of, context) > limit_bytes)
        return NULL;
    while (low + 1 < high) { /* low is too few, high is enough */
        int32_t middle = low + (high - low) / 2;
        if (arena_with(chooser, offer, middle, arena_of, context) <= limit_bytes)
            high = middle;
        else
            low = middle;
    }
    give_back(chooser, offer, high, limit_bytes, arena_of, context);
    return choose_first(chooser, offer, high);
}

/* What all nodes of `again` cost together. */
static double work_of(const Chooser *chooser, const bool *again)
{
    const TsGraph *graph = chooser->graph;
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
static TsStatus meet_limit(bool **again, const Chooser *chooser, size_t limit_bytes, TsArenaOf *arena_of,
                           const void *context)
{
    static int (*const orders[])(const void *, const void *) = {by_worth, by_flops};
    int32_t count;
    Offer *offer = list_offers(chooser, &count);
    size_t most_bytes = arena_with(chooser, offer, 0, arena_of, context);
    *again = most_bytes <= limit_bytes ? choose_first(chooser, offer, 0) : NULL;
    for (int k = 0; k < 2 && most_bytes > limit_bytes; k++) {
        qsort(offer, (size_t)count, sizeof *offer, orders[k]);
        bool *met = meet_in_order(chooser, offer, count, limit_bytes, arena_of, context);
        if (met && (!*again || work_of(chooser, met) < work_of(chooser, *again))) {
            bool *worse = *again;
            *again = met;
            met = worse;
        }
        ts_free(met);
    }
    TsStatus status =
        *again ? TS_OK : cannot_meet(limit_bytes, arena_with(chooser, offer, count, arena_of, context), most_bytes);
    ts_free(offer);
    return status;
}

int ts_rematerialize_offers(const TsGraph *graph)
{
    Chooser chooser = create_chooser(graph);
    int32_t count;
    Offer *offer = list_offers(&chooser, &count);
    ts_free(offer);
    free_chooser(&chooser);
    TS_CHECK(count <= 64, "%d nodes: all subsets of them are too many", (int)count);
    return count;
}

TsGraph *ts_rematerialize_chosen(const TsGraph *graph, uint64_t taken)
{
    Chooser chooser = create_chooser(graph);
    int32_t count;
    Offer *offer = list_offers(&chooser, &count);
    for (int32_t i = 0; i < count; i++)
        offer[i].refused = !(taken >> i & 1);
    bool *again = choose_first(&chooser, offer, count);
    TsGraph *written = write(&chooser, again);
    ts_free(again);
    ts_free(offer);
    free_chooser(&chooser);
    return written;
}

TsStatus ts_pass_rematerialize(TsGraph **graph, TsMemoryPolicy policy, TsArenaOf *arena_of, const void *context)
{
    if (policy.recompute == TS_RECOMPUTE_NOTHING)
        return TS_OK;
    Chooser chooser = create_chooser(*graph);
    bool *again = NULL;
    TsStatus status = TS_OK;
    if (policy.recompute == TS_RECOMPUTE_AUTO)
        status = meet_limit(&again, &chooser, policy.limit_bytes, arena_of, context);
    else
        again = choose_by_block(&chooser, policy.recompute == TS_RECOMPUTE_EVERYTHING);
    TsGraph *written = status ? NULL : write(&chooser, again);
    ts_free(again);
    free_chooser(&chooser);
    if (status)
        return status;
    ts_graph_free(graph);
    *graph = written;
    return TS_OK;
}
