/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocate: a place in memory for every value of a scheduled graph.
 *
 * Views lie where their input lies. What is assigned or given out is written to its binding directly where nothing
 * still reads what was there before; else it is copied when all steps are done. An op that may works in place. All
 * else shares one arena: buffers are laid out from the largest to the smallest, each at the lowest offset that is free
 * during its life.
 */
#include "tensor/passes/passes.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/passes/pack.h"
#include "tensor/redistribute.h"

enum { ALIGNMENT = 64 };

typedef struct Allocator {
    const TsGraph *graph;
    const TsProgramSchedule *schedule;
    TsMesh *const *mesh; /* (micros) */
    int micros;
    bool tree; /* sums over micro-batches are trees */
    TsLayout layout;
    int32_t *root;         /* (values): the value whose memory this one is a view of; itself if none */
    size_t *offset_bytes;  /* (values): where in it */
    int32_t *first, *last; /* (values): of roots: the steps of the writer's beginning and of the last reader's end */
    int32_t *begin, *end;  /* (nodes): the steps in which a node runs */
    bool *slots;           /* (values): of roots: kept for each micro-batch, because a later piece reads it */
    int32_t *read, *write; /* (nodes): the last step that reads its inputs, and the first that writes its outputs */
    int32_t buffer_capacity;
    bool plain;
} Allocator;

/* Of the largest of its micro-batches. */
static size_t value_bytes(const Allocator *allocator, int32_t value)
{
    const TsValue *about = &allocator->graph->value[value];
    int64_t elems = ts_shape_elems(allocator->layout.block[value].shape);
    for (int m = 1; m < allocator->micros && ts_placement_varies(about->placement); m++) {
        int64_t other = ts_shape_elems(ts_placement_local(about->placement, about->shape, allocator->mesh[m]).shape);
        elems = other > elems ? other : elems;
    }
    return (size_t)elems * ts_dtype_bytes(about->dtype);
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int32_t piece_of(const Allocator *allocator, int32_t value)
{
    return allocator->schedule->pieces->of_node[allocator->graph->value[value].node];
}

static int32_t add_buffer(Allocator *allocator, TsBuffer buffer)
{
    TsLayout *layout = &allocator->layout;
    if (layout->buffers == allocator->buffer_capacity) {
        allocator->buffer_capacity = allocator->buffer_capacity ? 2 * allocator->buffer_capacity : 256;
        layout->buffer = ts_realloc(layout->buffer, (size_t)allocator->buffer_capacity * sizeof *layout->buffer);
    }
    if (allocator->plain) {
        buffer.first = 0;
        buffer.last = allocator->schedule->steps;
    }
    buffer.size_bytes = aligned(buffer.slot_bytes ? buffer.slot_bytes * (size_t)allocator->micros : buffer.size_bytes);
    layout->buffer[layout->buffers] = buffer;
    return layout->buffers++;
}

/* ---- who reads what, when ---- */

static bool is_bound(const TsGraph *graph, int32_t value)
{
    return graph->node[graph->value[value].node].op == &ts_bound_op;
}

static bool is_constant(const TsGraph *graph, int32_t value)
{
    return graph->node[graph->value[value].node].op == &ts_constant_op;
}

static void find_steps(Allocator *allocator)
{
    const TsProgramSchedule *schedule = allocator->schedule;
    for (int32_t n = 0; n < allocator->graph->nodes; n++)
        allocator->begin[n] = allocator->end[n] = allocator->read[n] = allocator->write[n] = -1;
    for (int32_t s = 0; s < schedule->steps; s++) {
        TsProgramStep step = schedule->step[s];
        for (int32_t k = 0; k < step.members; k++) {
            int32_t n = ts_step_node(schedule, step, k);
            bool packed = step.members > 1; /* copied out of the inputs when it begins, into the outputs at the end */
            if (step.kind != TS_STEP_END)
                allocator->begin[n] = allocator->write[n] = allocator->read[n] = s;
            if (step.kind != TS_STEP_BEGIN)
                allocator->end[n] = s;
            if (step.kind == TS_STEP_END)
                *(packed ? &allocator->write[n] : &allocator->read[n]) = s;
        }
    }
}

/* A cut whose block lies in its input without gaps, at an aligned place, is a view. */
static bool cut_is_view(const Allocator *allocator, const TsNode *node, size_t *offset_bytes)
{
    if (node->op != &ts_move_op[TS_MOVE_CUT] || ts_placement_varies(allocator->graph->value[node->first_out].placement))
        return false;
    const TsValue *value = &allocator->graph->value[node->first_out];
    TsMove *move = ts_move_create(node->attributes, value->dtype, value->shape, allocator->mesh[0], "cut");
    int64_t elems = ts_move_alias_elems(move);
    ts_move_free(&move);
    *offset_bytes = (size_t)(elems < 0 ? 0 : elems) * ts_dtype_bytes(value->dtype);
    return elems >= 0 && *offset_bytes % ALIGNMENT == 0;
}

static void find_roots(Allocator *allocator)
{
    const TsGraph *graph = allocator->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int k = 0; k < node->outputs; k++) {
            int32_t value = node->first_out + k;
            size_t shift_bytes = 0;
            allocator->root[value] = value;
            allocator->offset_bytes[value] = 0;
            if (k == 0 && ((node->op->flags & TS_OP_VIEW) || cut_is_view(allocator, node, &shift_bytes))) {
                int32_t source = *ts_node_in(graph, node);
                allocator->root[value] = allocator->root[source];
                allocator->offset_bytes[value] = allocator->offset_bytes[source] + shift_bytes;
            }
        }
    }
}

static void find_lives(Allocator *allocator)
{
    const TsGraph *graph = allocator->graph;
    for (int32_t v = 0; v < graph->values; v++) {
        allocator->first[v] = allocator->write[graph->value[v].node];
        allocator->last[v] = allocator->end[graph->value[v].node];
    }
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++) {
            int32_t root = allocator->root[ts_node_in(graph, node)[i]], end = allocator->read[n];
            int32_t piece = allocator->schedule->pieces->of_node[n];
            if (end >= 0 && ts_piece_repeats(piece) && piece_of(allocator, root) != piece) {
                end = allocator->schedule->first_of[piece + 1]; /* it is read again in the next micro-batch */
                allocator->slots[root] |=
                    ts_placement_varies(graph->value[root].placement) && !is_constant(graph, root);
            }
            if (end > allocator->last[root])
                allocator->last[root] = end;
        }
    }
    for (int32_t b = 0; b < graph->bounds; b++)
        if (graph->bound[b].binding.kind == TS_BIND_OUTPUT)
            allocator->slots[allocator->root[graph->bound[b].value]] |=
                ts_placement_varies(graph->value[graph->bound[b].value].placement);
    for (int32_t v = 0; v < graph->values; v++) {
        const TsNode *node = &graph->node[graph->value[v].node];
        int32_t piece = piece_of(allocator, v);
        if (allocator->begin[graph->value[v].node] < 0 || (!allocator->slots[v] && !ts_op_gathers_time(node->op)))
            continue; /* else something is added in each micro-batch */
        allocator->first[v] = allocator->schedule->first_of[piece];
        if (allocator->last[v] < allocator->schedule->first_of[piece + 1])
            allocator->last[v] = allocator->schedule->first_of[piece + 1];
    }
}

/* ---- what is bound ---- */

/* Whether all that reads `root`, but for node `maker` itself, has ended before `maker` begins. */
static bool read_before(const Allocator *allocator, int32_t root, int32_t maker)
{
    const TsGraph *graph = allocator->graph;
    if (allocator->last[root] < allocator->write[maker])
        return true;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        if (n == maker || allocator->read[n] < allocator->write[maker])
            continue;
        for (int i = 0; i < node->inputs; i++)
            if (allocator->root[ts_node_in(graph, node)[i]] == root)
                return false;
    }
    return true;
}

/* Whether `maker` reads `root` only as the input that its output k, at `offset_bytes`, may overwrite. */
static bool overwrites_only(const Allocator *allocator, int32_t root, int32_t value, size_t offset_bytes)
{
    const TsGraph *graph = allocator->graph;
    const TsNode *maker = &graph->node[graph->value[value].node];
    for (int i = 0; i < maker->inputs; i++) {
        int32_t in = ts_node_in(graph, maker)[i];
        if (allocator->root[in] != root)
            continue;
        bool may = (maker->op->flags & TS_OP_IN_PLACE) &&
                   (i == graph->value[value].output || (maker->op->flags & TS_OP_IN_PLACE_ANY));
        if (!may || allocator->offset_bytes[in] != offset_bytes ||
            graph->value[in].dtype != graph->value[value].dtype ||
            !ts_shape_equal(allocator->layout.block[in].shape, allocator->layout.block[value].shape))
            return false;
    }
    return true;
}

/* Whether a value is written again and again before it is done. */
static bool made_in_rounds(const Allocator *allocator, int32_t value)
{
    return ts_piece_repeats(piece_of(allocator, value));
}

/* Writes `value` at an offset of a binding's memory directly, if that can be. `target` is the value that stands for
 * what is there before; -1 for an output, of which nothing is. */
static bool write_directly(Allocator *allocator, int32_t value, int32_t buffer, size_t offset_bytes, int32_t target)
{
    const TsGraph *graph = allocator->graph;
    if (allocator->offset_bytes[value] == 0 &&
        value_bytes(allocator, value) == value_bytes(allocator, allocator->root[value]))
        value = allocator->root[value]; /* a view of all of it */
    if (allocator->plain || allocator->root[value] != value || allocator->layout.location[value].buffer >= 0 ||
        is_bound(graph, value) || is_constant(graph, value) || (target >= 0 && made_in_rounds(allocator, value)))
        return false;
    int32_t maker = graph->value[value].node;
    if (target >= 0 &&
        !(read_before(allocator, target, maker) && overwrites_only(allocator, target, value, offset_bytes)))
        return false;
    allocator->layout.location[value] = (TsLocation){.buffer = buffer, .offset_bytes = offset_bytes};
    return true;
}

/* What an all_gather brings together may be made where it will lie. */
static void write_gathered(Allocator *allocator, int32_t value, int32_t buffer, int32_t target)
{
    const TsGraph *graph = allocator->graph;
    const TsNode *node = &graph->node[graph->value[value].node];
    if (node->op != &ts_move_op[TS_MOVE_ALL_GATHER] || ts_placement_varies(graph->value[value].placement))
        return;
    TsMove *move =
        ts_move_create(node->attributes, graph->value[value].dtype, graph->value[value].shape, allocator->mesh[0], "");
    int64_t elems = ts_move_alias_elems(move);
    ts_move_free(&move);
    size_t offset_bytes = (size_t)(elems < 0 ? 0 : elems) * ts_dtype_bytes(graph->value[value].dtype);
    if (elems >= 0 && offset_bytes % ALIGNMENT == 0)
        write_directly(allocator, *ts_node_in(graph, node), buffer, offset_bytes, target);
}

static bool is_given(const TsGraph *graph, int32_t value)
{
    for (int32_t b = 0; b < graph->bounds; b++)
        if (graph->bound[b].assigned == value ||
            (graph->bound[b].binding.kind == TS_BIND_OUTPUT && graph->bound[b].value == value))
            return true;
    return false;
}

/* What the maker of `value`, an output that is written where it is bound, may overwrite, and nothing needs behind it:
 * -1: nothing. */
static int32_t overwritten(const Allocator *allocator, int32_t value)
{
    const TsGraph *graph = allocator->graph;
    int32_t n = graph->value[value].node;
    const TsNode *maker = &graph->node[n];
    for (int i = 0; i < maker->inputs && (maker->op->flags & TS_OP_IN_PLACE); i++) {
        int32_t in = ts_node_in(graph, maker)[i];
        if ((i == graph->value[value].output || (maker->op->flags & TS_OP_IN_PLACE_ANY)) && allocator->root[in] == in &&
            !is_given(graph, in) && !allocator->slots[in] && graph->value[in].dtype == graph->value[value].dtype &&
            !ts_placement_varies(graph->value[in].placement) &&
            ts_shape_equal(allocator->layout.block[in].shape, allocator->layout.block[value].shape) &&
            read_before(allocator, in, n) && overwrites_only(allocator, in, value, 0))
            return in;
    }
    return -1;
}

/* An output may be made where it will lie from its first term on: a sum, and what is reduced in place. */
static void write_terms(Allocator *allocator, int32_t value, int32_t buffer)
{
    while (allocator->root[value] == value && !ts_placement_varies(allocator->graph->value[value].placement)) {
        value = overwritten(allocator, value);
        if (value < 0 || !write_directly(allocator, value, buffer, 0, -1))
            return;
    }
}

static void place_bound(Allocator *allocator)
{
    const TsGraph *graph = allocator->graph;
    TsLayout *layout = &allocator->layout;
    layout->copy = ts_alloc(((size_t)graph->bounds + 1) * sizeof *layout->copy);
    for (int32_t b = 0; b < graph->bounds; b++) {
        const TsBound *bound = &graph->bound[b];
        bool output = bound->binding.kind == TS_BIND_OUTPUT;
        int32_t buffer = add_buffer(allocator, (TsBuffer){.kind = TS_BUFFER_BOUND,
                                                          .bound = b,
                                                          .first = 0,
                                                          .last = allocator->schedule->steps,
                                                          .size_bytes = value_bytes(allocator, bound->value)});
        if (!output)
            layout->location[bound->value] = (TsLocation){.buffer = buffer};
        int32_t given = output ? bound->value : bound->assigned, target = output ? -1 : bound->value;
        if (given < 0)
            continue;
        if (write_directly(allocator, given, buffer, 0, target)) {
            write_gathered(allocator, given, buffer, target);
            if (output)
                write_terms(allocator, given, buffer);
        } else {
            layout->copy[layout->copies++] = (TsFinalCopy){.value = given, .bound = b};
            allocator->last[allocator->root[given]] = allocator->schedule->steps;
        }
    }
}

/* ---- the arena ---- */

/* Whether another operand, or another result, of the node lies in the buffer. */
static bool shares_buffer(const Allocator *allocator, const TsNode *node, int input, int32_t buffer)
{
    for (int k = 0; k < node->outputs; k++)
        if (allocator->layout.location[node->first_out + k].buffer == buffer)
            return true;
    for (int i = 0; i < node->inputs; i++) {
        int32_t root = allocator->root[ts_node_in(allocator->graph, node)[i]];
        if (i != input && allocator->layout.location[root].buffer == buffer)
            return true;
    }
    return false;
}

/* Takes over the memory of input i for output k of `node`, if nothing else needs it. */
static bool take_over(Allocator *allocator, int32_t n, int i, int k)
{
    const TsGraph *graph = allocator->graph;
    TsLayout *layout = &allocator->layout;
    const TsNode *node = &graph->node[n];
    int32_t out = node->first_out + k, in = ts_node_in(graph, node)[i];
    int32_t at = layout->location[allocator->root[in]].buffer;
    if (at < 0 || layout->buffer[at].kind != TS_BUFFER_ARENA || allocator->offset_bytes[in] != 0 ||
        graph->value[in].dtype != graph->value[out].dtype ||
        !ts_shape_equal(layout->block[in].shape, layout->block[out].shape) ||
        value_bytes(allocator, in) != value_bytes(allocator, allocator->root[in]) ||
        layout->buffer[at].last > allocator->end[n] || shares_buffer(allocator, node, i, at))
        return false;
    if (allocator->write[n] < allocator->end[n] && !read_before(allocator, allocator->root[in], n))
        return false; /* a collective writes from its beginning on, while others may still read */
    layout->location[out] = (TsLocation){.buffer = at};
    if (allocator->last[out] > layout->buffer[at].last)
        layout->buffer[at].last = allocator->last[out];
    return true;
}

/* Works in place where the op may: output k over input k, or over any. */
static bool place_in_place(Allocator *allocator, int32_t n, int k)
{
    const TsNode *node = &allocator->graph->node[n];
    if (allocator->plain || !(node->op->flags & TS_OP_IN_PLACE) || allocator->slots[node->first_out + k])
        return false;
    if (k < node->inputs && take_over(allocator, n, k, k))
        return true;
    for (int i = 0; i < node->inputs && (node->op->flags & TS_OP_IN_PLACE_ANY); i++)
        if (i != k && take_over(allocator, n, i, k))
            return true;
    return false;
}

static void place_outputs(Allocator *allocator, int32_t n)
{
    const TsGraph *graph = allocator->graph;
    TsLayout *layout = &allocator->layout;
    const TsNode *node = &graph->node[n];
    for (int k = 0; k < node->outputs; k++) {
        int32_t value = node->first_out + k;
        bool constant = node->op == &ts_constant_op;
        if (allocator->root[value] != value || layout->location[value].buffer >= 0)
            continue;
        if (!constant && (allocator->begin[n] < 0 || place_in_place(allocator, n, k)))
            continue;
        layout->location[value].buffer = add_buffer(
            allocator, (TsBuffer){.kind = constant ? TS_BUFFER_CONSTANT : TS_BUFFER_ARENA,
                                  .first = constant ? 0 : allocator->first[value],
                                  .last = allocator->last[value],
                                  .slot_bytes = allocator->slots[value] ? aligned(value_bytes(allocator, value)) : 0,
                                  .size_bytes = value_bytes(allocator, value)});
    }
}

static size_t scratch_bytes(const Allocator *allocator, const TsNode *node, int threads, int micro)
{
    const TsGraph *graph = allocator->graph;
    if (ts_op_is_move(node->op) && !node->op->forward) {
        const TsValue *value = &graph->value[node->first_out];
        TsMove *move =
            ts_move_create(node->attributes, value->dtype, value->shape, allocator->mesh[micro], node->op->name);
        size_t bytes = ts_move_scratch_bytes(move);
        ts_move_free(&move);
        return bytes;
    }
    if (!node->op->scratch_bytes)
        return 0;
    TsBlock *block = ts_calloc((size_t)(node->inputs + node->outputs), sizeof *block);
    for (int i = 0; i < node->inputs + node->outputs; i++) {
        int32_t v = i < node->inputs ? ts_node_in(graph, node)[i] : node->first_out + i - node->inputs;
        block[i] = ts_layout_block(&allocator->layout, graph, v);
        block[i].shape =
            ts_placement_local(graph->value[v].placement, graph->value[v].shape, allocator->mesh[micro]).shape;
    }
    size_t bytes = node->op->scratch_bytes(&(TsCall){.micros = allocator->micros,
                                                     .tree = allocator->tree,
                                                     .fixed = allocator->tree,
                                                     .attributes = node->attributes,
                                                     .inputs = node->inputs,
                                                     .outputs = node->outputs,
                                                     .in = block,
                                                     .out = block + node->inputs,
                                                     .threads = threads});
    ts_free(block);
    return bytes;
}

static size_t bucket_scratch_bytes(const Allocator *allocator, TsProgramStep step)
{
    TsMoves *moves = ts_moves_create(step.members);
    for (int32_t k = 0; k < step.members; k++) {
        const TsNode *node = &allocator->graph->node[ts_step_node(allocator->schedule, step, k)];
        const TsValue *value = &allocator->graph->value[node->first_out];
        ts_moves_add(moves, ts_move_create(node->attributes, value->dtype, value->shape, allocator->mesh[0], ""));
    }
    size_t bytes = ts_moves_scratch_bytes(moves);
    ts_moves_free(&moves);
    return bytes;
}

/* Walks the steps in their order, so that what is taken over in place was given its buffer before. */
static void place_steps(Allocator *allocator, int threads)
{
    const TsProgramSchedule *schedule = allocator->schedule;
    for (int32_t n = 0; n < allocator->graph->nodes; n++)
        if (allocator->graph->node[n].op == &ts_constant_op)
            place_outputs(allocator, n);
    for (int32_t s = 0; s < schedule->steps; s++) {
        TsProgramStep step = schedule->step[s];
        int32_t n = step.node;
        allocator->layout.scratch[s] = step.kind == TS_STEP_END ? allocator->layout.scratch[allocator->begin[n]] : -1;
        for (int32_t k = 0; k < step.members; k++)
            if (s == allocator->write[n])
                place_outputs(allocator, ts_step_node(schedule, step, k));
        if (step.kind == TS_STEP_END)
            continue;
        const TsNode *node = &allocator->graph->node[n];
        int32_t piece = schedule->pieces->of_node[n];
        size_t bytes = step.members > 1 ? bucket_scratch_bytes(allocator, step) : 0;
        for (int m = 0; step.members == 1 && m < (ts_piece_repeats(piece) ? allocator->micros : 1); m++) {
            size_t needed = scratch_bytes(allocator, node, threads, m);
            bytes = needed > bytes ? needed : bytes;
        }
        TsBuffer scratch = {.kind = TS_BUFFER_ARENA, .first = s, .last = allocator->end[n], .size_bytes = bytes};
        if (ts_op_gathers_time(node->op)) { /* what it keeps from one micro-batch to the next */
            scratch.first = schedule->first_of[piece];
            scratch.last = schedule->first_of[piece + 1] - 1;
        }
        if (bytes)
            allocator->layout.scratch[s] = add_buffer(allocator, scratch);
    }
}

static void place_views(Allocator *allocator)
{
    TsLocation *location = allocator->layout.location;
    for (int32_t v = 0; v < allocator->graph->values; v++) {
        int32_t root = allocator->root[v];
        if (root != v && location[root].buffer >= 0)
            location[v] = (TsLocation){.buffer = location[root].buffer,
                                       .offset_bytes = location[root].offset_bytes + allocator->offset_bytes[v]};
    }
}

TsBlock ts_layout_block(const TsLayout *layout, const TsGraph *graph, int32_t value)
{
    TsBlock block = {
        .dtype = graph->value[value].dtype, .shape = layout->block[value].shape, .global = graph->value[value].shape};
    memcpy(block.first, layout->block[value].first, sizeof block.first);
    return block;
}

static void pack_constants(TsLayout *layout)
{
    for (int32_t b = 0; b < layout->buffers; b++)
        if (layout->buffer[b].kind == TS_BUFFER_CONSTANT) {
            layout->buffer[b].offset_bytes = layout->constant_bytes;
            layout->constant_bytes += layout->buffer[b].size_bytes;
        }
}

TsLayout ts_pass_allocate(const TsGraph *graph, const TsProgramSchedule *schedule, TsMesh *const *mesh, int threads,
                          bool tree, bool plain)
{
    size_t values = (size_t)graph->values + 1, nodes = (size_t)graph->nodes + 1;
    Allocator allocator = {.graph = graph,
                           .schedule = schedule,
                           .mesh = mesh,
                           .micros = schedule->pieces->micros,
                           .tree = tree,
                           .slots = ts_calloc(values, sizeof *allocator.slots),
                           .plain = plain,
                           .root = ts_alloc(values * sizeof *allocator.root),
                           .offset_bytes = ts_alloc(values * sizeof *allocator.offset_bytes),
                           .first = ts_alloc(values * sizeof *allocator.first),
                           .last = ts_alloc(values * sizeof *allocator.last),
                           .begin = ts_alloc(nodes * sizeof *allocator.begin),
                           .end = ts_alloc(nodes * sizeof *allocator.end),
                           .read = ts_alloc(nodes * sizeof *allocator.read),
                           .write = ts_alloc(nodes * sizeof *allocator.write)};
    TsLayout *layout = &allocator.layout;
    layout->block = ts_alloc(values * sizeof *layout->block);
    layout->location = ts_alloc(values * sizeof *layout->location);
    layout->scratch = ts_alloc(((size_t)schedule->steps + 1) * sizeof *layout->scratch);
    for (int32_t v = 0; v < graph->values; v++) {
        layout->block[v] = ts_placement_local(graph->value[v].placement, graph->value[v].shape, mesh[0]);
        layout->location[v] = (TsLocation){.buffer = -1};
    }
    find_steps(&allocator);
    find_roots(&allocator);
    find_lives(&allocator);
    place_bound(&allocator);
    place_steps(&allocator, threads);
    place_views(&allocator);
    pack_constants(layout);
    ts_pack_buffers(layout, schedule->steps);
    ts_free(allocator.root);
    ts_free(allocator.slots);
    ts_free(allocator.offset_bytes);
    ts_free(allocator.first);
    ts_free(allocator.last);
    ts_free(allocator.begin);
    ts_free(allocator.end);
    ts_free(allocator.read);
    ts_free(allocator.write);
    return *layout;
}

void ts_layout_free(TsLayout *layout)
{
    ts_free(layout->block);
    ts_free(layout->location);
    ts_free(layout->scratch);
    ts_free(layout->buffer);
    ts_free(layout->copy);
    *layout = (TsLayout){.buffers = 0};
}
