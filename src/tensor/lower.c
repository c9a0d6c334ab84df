/* SPDX-License-Identifier: Apache-2.0
 *
 * Lowering: from schedule and layout to the actions that a Program runs, and the pointers that follow what is bound.
 */
#include "tensor/program_internal.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/label.h"

/* Where a value lies now: NULL where that is up to what gets bound. */
static void *address(const TsProgram *program, TsLocation location)
{
    if (location.buffer < 0)
        return NULL;
    const TsBuffer *buffer = &program->layout.buffer[location.buffer];
    unsigned char *base = buffer->kind == TS_BUFFER_ARENA      ? program->arena
                          : buffer->kind == TS_BUFFER_CONSTANT ? program->constants
                                                               : NULL;
    return base ? base + buffer->offset_bytes + location.offset_bytes : NULL;
}

/* Where program->range has the blocks of a value: those of a shape and a placement stand there once. */
static int32_t range_of(TsProgram *program, int32_t value)
{
    const TsValue *about = &program->graph->value[value];
    int micros = program->pieces.micros;
    TsBlockRange *last = program->range + (int64_t)program->ranges * micros;
    for (int m = 0; m < micros; m++)
        last[m] = ts_placement_local(about->placement, about->shape, program->mesh[m]);
    for (int32_t r = 0; r < program->ranges; r++) {
        const TsBlockRange *range = program->range + (int64_t)r * micros;
        int same = 0;
        while (same < micros && ts_shape_equal(range[same].shape, last[same].shape) &&
               !memcmp(range[same].first, last[same].first, sizeof last->first))
            same++;
        if (same == micros)
            return r;
    }
    program->ranges++;
    program->range =
        ts_realloc(program->range, ((size_t)program->ranges + 1) * (size_t)micros * sizeof *program->range);
    return program->ranges - 1;
}

/* Fills the block of a value, and notes it if it follows what is bound, or differs between micro-batches. */
static void fill_block(TsProgram *program, TsBlock *block, int32_t value)
{
    TsLocation location = program->layout.location[value];
    const TsBuffer *buffer = location.buffer >= 0 ? &program->layout.buffer[location.buffer] : NULL;
    void **data = &block->data;
    *block = ts_layout_block(&program->layout, program->graph, value);
    block->data = address(program, location);
    if (ts_placement_varies(program->graph->value[value].placement)) {
        TsVaryingBlock *varying = &program->varying_block[program->varying_blocks++];
        *varying = (TsVaryingBlock){.block = block,
                                    .data = block->data,
                                    .slot_bytes = buffer ? buffer->slot_bytes : 0,
                                    .packed = buffer && buffer->kind == TS_BUFFER_BOUND,
                                    .range = range_of(program, value)};
        data = &varying->data;
    }
    if (buffer && buffer->kind == TS_BUFFER_BOUND)
        program->patch[program->patches++] =
            (TsPatch){.data = data, .offset_bytes = location.offset_bytes, .bound = buffer->bound};
}

static TsCall make_call(TsProgram *program, const TsNode *node)
{
    TsBlock *block = program->block + program->blocks;
    for (int i = 0; i < node->inputs; i++)
        fill_block(program, &block[i], ts_node_in(program->graph, node)[i]);
    for (int k = 0; k < node->outputs; k++)
        fill_block(program, &block[node->inputs + k], node->first_out + k);
    program->blocks += node->inputs + node->outputs;
    return (TsCall){.attributes = node->attributes,
                    .inputs = node->inputs,
                    .outputs = node->outputs,
                    .in = block,
                    .out = block + node->inputs,
                    .threads = program->options.threads,
                    .micros = program->pieces.micros,
                    .tree = program->options.reproducible,
                    .fixed = program->options.reproducible};
}

/* The call of a bucket: the inputs of its members, then their outputs. */
static TsCall make_bucket_call(TsProgram *program, TsProgramStep step)
{
    TsBlock *block = program->block + program->blocks;
    for (int32_t k = 0; k < step.members; k++) {
        const TsNode *node = &program->graph->node[ts_step_node(&program->schedule, step, k)];
        fill_block(program, &block[k], *ts_node_in(program->graph, node));
        fill_block(program, &block[step.members + k], node->first_out);
    }
    program->blocks += 2 * step.members;
    return (TsCall){.inputs = step.members, .outputs = step.members, .in = block, .out = block + step.members};
}

/* A cut that the layout made a view of its input moves nothing. */
static bool moves_nothing(const TsProgram *program, const TsNode *node)
{
    if (node->op != &ts_move_op[TS_MOVE_CUT] || ts_placement_varies(program->graph->value[node->first_out].placement))
        return false;
    const TsLayout *layout = &program->layout;
    return layout->location[node->first_out].buffer == layout->location[*ts_node_in(program->graph, node)].buffer;
}

/* What the watchdog and the accounting call a node's collective: the layer that it is for, or the op outside of any. */
static const char *label_of(const TsProgram *program, const TsNode *node)
{
    const char *path = program->graph->path[node->path].text;
    return *path && ts_op_is_collective(node->op) && !ts_program_only_described(program) ? ts_label(path)
                                                                                         : node->op->name;
}

/* Sums are trees where the same bits are asked for; of two terms there is but one sum. */
static TsAlgorithm algorithm_of(const TsProgram *program, const TsMoveStep *step)
{
    bool sums = step->kind == TS_MOVE_ALL_REDUCE || step->kind == TS_MOVE_REDUCE_SCATTER;
    int ranks = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if ((step->axes & TS_AXIS_BIT(axis)) && program->mesh_shape.size[axis] > 1)
            ranks *= program->mesh_shape.size[axis];
    return program->options.reproducible && sums && ranks > 2 ? TS_ALGORITHM_TREE : program->options.algorithm;
}

/* The moves of a node: one for each micro-batch where these differ. */
static void make_move(TsProgram *program, TsAction *action, const TsNode *node)
{
    const TsValue *value = &program->graph->value[node->first_out], *source;
    source = &program->graph->value[*ts_node_in(program->graph, node)];
    bool varies = ts_placement_varies(value->placement) || ts_placement_varies(source->placement);
    int micros = varies ? program->pieces.micros : 1;
    TsMove **move = ts_calloc((size_t)micros, sizeof *move);
    for (int m = 0; m < micros; m++) {
        move[m] =
            ts_move_create(node->attributes, value->dtype, value->shape, program->mesh[m], label_of(program, node));
        ts_move_set_algorithm(move[m], algorithm_of(program, node->attributes));
    }
    action->move = move[0];
    if (varies)
        program->varying_move[program->varying_moves++] =
            (TsVaryingMove){.move = move, .action = program->actions, .end = -1};
    else
        ts_free(move);
}

/* The moves of a bucket, which are the same in each micro-batch. */
static TsMoves *make_moves(const TsProgram *program, TsProgramStep step)
{
    TsMoves *moves = ts_moves_create(step.members);
    for (int32_t k = 0; k < step.members; k++) {
        const TsNode *node = &program->graph->node[ts_step_node(&program->schedule, step, k)];
        const TsValue *value = &program->graph->value[node->first_out];
        TsMove *move =
            ts_move_create(node->attributes, value->dtype, value->shape, program->mesh[0], label_of(program, node));
        ts_move_set_algorithm(move, algorithm_of(program, node->attributes));
        ts_moves_add(moves, move);
    }
    return moves;
}

/* The action that ends what action `begun` began. */
static void lower_end(TsProgram *program, int32_t begun, int32_t step)
{
    TsAction *action = &program->action[program->actions];
    *action = program->action[begun];
    action->kind = TS_STEP_END;
    action->step = step;
    action->last = false;
    for (int32_t v = program->varying_moves; v-- > 0;)
        if (program->varying_move[v].action == begun) {
            program->varying_move[v].end = program->actions;
            break;
        }
    program->actions++;
}

static void begin_piece(TsProgram *program, int32_t piece)
{
    program->piece[piece] = (TsProgramPiece){.first_action = program->actions,
                                             .first_block = program->varying_blocks,
                                             .first_move = program->varying_moves,
                                             .runs = ts_piece_repeats(piece) ? program->pieces.micros : 1};
}

static void lower_steps(TsProgram *program)
{
    const TsGraph *graph = program->graph;
    const TsLayout *layout = &program->layout;
    int32_t *begun_by = ts_alloc(((size_t)graph->nodes + 1) * sizeof *begun_by);
    int32_t piece = 0;
    for (int32_t s = 0; s < program->schedule.steps; s++) {
        TsProgramStep step = program->schedule.step[s];
        const TsNode *node = &graph->node[step.node];
        while (piece < program->pieces.pieces && program->schedule.first_of[piece] <= s)
            begin_piece(program, piece++);
        TsAction *action = &program->action[program->actions];
        if (moves_nothing(program, node))
            continue;
        if (step.kind == TS_STEP_END) {
            lower_end(program, begun_by[step.node], s);
            continue;
        }
        *action = (TsAction){.kind = step.kind,
                             .op = node->op,
                             .call = step.members > 1 ? make_bucket_call(program, step) : make_call(program, node),
                             .step = s,
                             .last = step.last};
        if (layout->scratch[s] >= 0)
            action->call.scratch = address(program, (TsLocation){.buffer = layout->scratch[s]});
        if (step.members > 1)
            action->moves = make_moves(program, step);
        else if (ts_op_is_move(node->op) && !node->op->forward)
            make_move(program, action, node);
        if (step.kind == TS_STEP_BEGIN)
            action->request = program->requests++;
        begun_by[step.node] = program->actions++;
    }
    while (piece < program->pieces.pieces)
        begin_piece(program, piece++);
    ts_free(begun_by);
}

size_t ts_program_packed_bytes(const TsProgram *program, int32_t range, int micro, TsDtype dtype)
{
    int64_t elems = 0;
    for (int m = 0; m < micro; m++)
        elems += ts_shape_elems(program->range[(int64_t)range * program->pieces.micros + m].shape);
    return (size_t)elems * ts_dtype_bytes(dtype);
}

/* Copies what a binding is given, of one micro-batch where these differ: block[0] to block[1]. */
static void lower_copy(TsProgram *program, TsFinalCopy copy, int32_t range, int micro)
{
    TsBlock *block = program->block + program->blocks;
    TsLocation from = program->layout.location[copy.value];
    const TsBuffer *buffer = &program->layout.buffer[from.buffer];
    size_t packed = 0;
    program->blocks += 2;
    block[0] = ts_layout_block(&program->layout, program->graph, copy.value);
    if (range >= 0) {
        packed = ts_program_packed_bytes(program, range, micro, block[0].dtype);
        block[0].shape = program->range[(int64_t)range * program->pieces.micros + micro].shape;
    }
    block[1] = block[0];
    from.offset_bytes += buffer->kind == TS_BUFFER_BOUND ? packed : (size_t)micro * buffer->slot_bytes;
    block[0].data = address(program, from);
    if (buffer->kind == TS_BUFFER_BOUND)
        program->patch[program->patches++] =
            (TsPatch){.data = &block[0].data, .offset_bytes = from.offset_bytes, .bound = buffer->bound};
    program->patch[program->patches++] = (TsPatch){.data = &block[1].data, .offset_bytes = packed, .bound = copy.bound};
    program->action[program->actions++] =
        (TsAction){.kind = TS_STEP_RUN,
                   .op = &ts_copy_op,
                   .call = {.inputs = 1, .outputs = 1, .in = &block[0], .out = &block[1], .threads = 1},
                   .step = program->schedule.steps};
}

/* Actions that copy what was not written in place, after all others. */
static void lower_copies(TsProgram *program)
{
    for (int32_t c = 0; c < program->layout.copies; c++) {
        TsFinalCopy copy = program->layout.copy[c];
        bool varies = ts_placement_varies(program->graph->value[copy.value].placement);
        int32_t range = varies ? range_of(program, copy.value) : -1;
        for (int micro = 0; micro < (varies ? program->pieces.micros : 1); micro++)
            lower_copy(program, copy, range, micro);
    }
}

static void fill_constants(TsProgram *program)
{
    for (int32_t n = 0; n < program->graph->nodes; n++) {
        const TsNode *node = &program->graph->node[n];
        if (node->op != &ts_constant_op || program->layout.location[node->first_out].buffer < 0)
            continue;
        TsLocation location = program->layout.location[node->first_out];
        TsBlock block = ts_layout_block(&program->layout, program->graph, node->first_out);
        block.data = address(program, location);
        if (ts_placement_varies(program->graph->value[node->first_out].placement)) /* for the largest micro-batch */
            block.shape =
                ts_shape((int64_t)(program->layout.buffer[location.buffer].size_bytes / ts_dtype_bytes(block.dtype)));
        node->op->forward(&(TsCall){.attributes = node->attributes, .outputs = 1, .out = &block, .threads = 1});
    }
}

/* Sorts the patches by what is bound, so that binding one array touches its own. */
static void index_patches(TsProgram *program)
{
    int32_t bounds = program->graph->bounds, *next = ts_calloc((size_t)bounds + 1, sizeof *next);
    TsPatch *sorted = ts_alloc(((size_t)program->patches + 1) * sizeof *sorted);
    program->first_patch = ts_calloc((size_t)bounds + 1, sizeof *program->first_patch);
    for (int32_t p = 0; p < program->patches; p++)
        program->first_patch[program->patch[p].bound + 1]++;
    for (int32_t b = 0; b < bounds; b++)
        program->first_patch[b + 1] += program->first_patch[b];
    memcpy(next, program->first_patch, (size_t)bounds * sizeof *next);
    for (int32_t p = 0; p < program->patches; p++)
        sorted[next[program->patch[p].bound]++] = program->patch[p];
    ts_free(program->patch);
    ts_free(next);
    program->patch = sorted;
}

void ts_program_lower(TsProgram *program)
{
    const TsGraph *graph = program->graph;
    size_t copies = (size_t)program->layout.copies * (size_t)program->pieces.micros;
    size_t blocks = (size_t)graph->operands + (size_t)graph->values + 2 * copies;
    program->action = ts_alloc(((size_t)program->schedule.steps + copies + 1) * sizeof *program->action);
    program->block = ts_alloc((blocks + 1) * sizeof *program->block);
    program->patch = ts_alloc((blocks + copies + 1) * sizeof *program->patch);
    program->varying_block = ts_alloc((blocks + 1) * sizeof *program->varying_block);
    program->varying_move = ts_alloc(((size_t)program->schedule.steps + 1) * sizeof *program->varying_move);
    program->range = ts_alloc((size_t)program->pieces.micros * sizeof *program->range);
    program->piece = ts_alloc(((size_t)program->pieces.pieces + 1) * sizeof *program->piece);
    lower_steps(program);
    lower_copies(program);
    begin_piece(program, program->pieces.pieces);
    index_patches(program);
    if (program->constants)
        fill_constants(program);
    program->request = ts_calloc((size_t)program->requests + 1, sizeof(TsRequest *));
    program->open = ts_alloc(((size_t)program->requests + 1) * sizeof *program->open);
    program->array = ts_calloc((size_t)graph->bounds + 1, sizeof(TsArray *));
    program->unbound = graph->bounds;
}
