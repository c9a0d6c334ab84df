/* SPDX-License-Identifier: Apache-2.0
 *
 * Program: from a traced Graph, through the passes, to a list of actions, and the loop that runs it.
 */
#include "tensor/program_internal.h"

#include <string.h>

#include "base/check.h"
#include "base/machine.h"
#include "base/memory.h"
#include "comm/label.h"
#include "comm/watchdog.h"

/* Polled after each node: more would cost more than it hides. */
enum { DRIVEN_REQUESTS = 4 };

/* ---- passes ---- */

static TsSums sums_of(const TsCompileOptions *options)
{
    return options->reproducible ? TS_SUMS_LAST : options->scatter_first ? TS_SUMS_SCATTERED : TS_SUMS_ONCE;
}

/* The passes behind rematerialize. */
typedef struct Passed {
    TsGraph *graph;
    TsPieces pieces;
    TsProgramSchedule schedule;
    TsLayout layout;
} Passed;

static void pass_on(Passed *passed, const TsProgram *program, TsMesh *const *mesh)
{
    TsCompileOptions options = program->options;
    if (!options.without_passes && !options.without_fusion)
        passed->graph = ts_pass_fuse(passed->graph);
    TsScheduleOptions scheduling = {.bucket_bytes = options.bucket_bytes ? options.bucket_bytes : TS_BUCKET_BYTES,
                                    .plain = options.without_passes};
    passed->pieces = ts_pass_pieces(passed->graph, program->mesh_shape);
    passed->schedule = ts_pass_schedule(passed->graph, &passed->pieces, program->mesh_shape, scheduling);
    passed->layout = ts_pass_allocate(passed->graph, &passed->schedule, mesh, options.threads, options.reproducible,
                                      options.without_passes);
}

/* What the arena would be for the first rank, so that all ranks decide alike. */
static size_t arena_of(const void *context, TsGraph *graph)
{
    const TsProgram *program = context;
    int micros = program->options.micros > 1 ? program->options.micros : 1;
    TsMeshShape shape = program->mesh_shape;
    shape.size[TS_AXIS_MICRO] = 0;
    TsMesh *first = ts_mesh_describe(shape, 0), **mesh = ts_calloc((size_t)micros, sizeof(TsMesh *));
    for (int m = 0; m < micros; m++)
        mesh[m] = micros > 1 ? ts_mesh_at_micro(first, micros, m) : first;
    Passed passed = {.graph = graph};
    pass_on(&passed, program, mesh);
    size_t bytes = passed.layout.arena_bytes;
    ts_layout_free(&passed.layout);
    ts_schedule_free(&passed.schedule);
    ts_pieces_free(&passed.pieces);
    ts_graph_free(&passed.graph);
    for (int m = 0; m < micros && micros > 1; m++)
        ts_mesh_free(&mesh[m]);
    ts_mesh_free(&first);
    ts_free(mesh);
    return bytes;
}

static TsStatus run_passes(TsProgram *program)
{
    TsCompileOptions options = program->options;
    TS_TRY(ts_graph_status(program->graph));
    if (!options.without_passes)
        program->graph = ts_pass_prune(program->graph);
    TS_TRY(ts_pass_place(&program->graph, program->mesh_shape, sums_of(&options)));
    if (!options.without_passes) {
        program->graph = ts_pass_prune(program->graph); /* what was made anew where it was wanted */
        TS_TRY(ts_pass_rematerialize(&program->graph, options.memory, arena_of, program));
    }
    Passed passed = {.graph = program->graph};
    pass_on(&passed, program, program->mesh);
    program->graph = passed.graph;
    program->pieces = passed.pieces;
    program->schedule = passed.schedule;
    program->schedule.pieces = &program->pieces;
    program->layout = passed.layout;
    return TS_OK;
}

static bool only_described(const TsProgram *program)
{
    return program->options.mesh && !ts_mesh_all(program->options.mesh);
}

static TsStatus make_arena(TsProgram *program)
{
    const double gib = 1024.0 * 1024 * 1024;
    if (only_described(program))
        return TS_OK;
    double ranks = program->options.mesh ? ts_group_node_size(ts_mesh_all(program->options.mesh)) : 1;
    double memory_bytes = (double)ts_machine().available_bytes; /* 0: not known */
    double needed_bytes = ((double)program->layout.arena_bytes + (double)program->layout.constant_bytes) * ranks;
    if (memory_bytes > 0 && needed_bytes > memory_bytes)
        return ts_status_error(
            TS_CODE_RESOURCES,
            "a step needs an arena of %.1f GiB a rank, %.1f GiB for the %.0f ranks of this host, "
            "which has %.1f GiB left: computing activations again (memory.recompute), a smaller batch, more "
            "micro-batches, or more ranks along data or model make it smaller",
            (double)program->layout.arena_bytes / gib, needed_bytes / gib, ranks, memory_bytes / gib);
    program->arena = ts_try_alloc(program->layout.arena_bytes + 64);
    program->constants = ts_try_alloc(program->layout.constant_bytes + 64);
    if (!program->arena || !program->constants)
        return ts_status_error(TS_CODE_RESOURCES,
                               "out of memory: a step needs an arena of %zu bytes and constants of %zu bytes: "
                               "computing activations again (memory.recompute), a smaller batch or more micro-batches "
                               "make it smaller",
                               program->layout.arena_bytes, program->layout.constant_bytes);
    return TS_OK;
}

/* ---- lowering ---- */

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
    return *path && ts_op_is_collective(node->op) && !only_described(program) ? ts_label(path) : node->op->name;
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
                             .step = s};
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

/* Bytes of the micro-batches before `micro`. */
static size_t packed_bytes(const TsProgram *program, int32_t range, int micro, TsDtype dtype)
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
        packed = packed_bytes(program, range, micro, block[0].dtype);
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

static void lower(TsProgram *program)
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

/* The mesh as it is at each micro-batch. */
static void make_meshes(TsProgram *program)
{
    int micros = program->options.micros > 1 ? program->options.micros : 1;
    program->mesh = ts_calloc((size_t)micros, sizeof *program->mesh);
    if (micros > 1) {
        program->mesh_shape.size[TS_AXIS_MICRO] = micros;
        for (int m = 0; m < micros; m++)
            program->mesh[m] = ts_mesh_at_micro(program->options.mesh, micros, m);
    } else {
        program->mesh[0] = (TsMesh *)program->options.mesh; /* not owned, and not changed */
    }
}

TsStatus ts_program_compile(TsProgram **handle, TsGraph *graph, TsCompileOptions options)
{
    TsProgram *program = ts_calloc(1, sizeof *program);
    program->graph = graph;
    program->options = options;
    if (program->options.threads < 1)
        program->options.threads = 1;
    if (options.mesh)
        program->mesh_shape = ts_mesh_shape(options.mesh);
    make_meshes(program);
    *handle = NULL;
    TsStatus status = run_passes(program);
    if (!status)
        status = make_arena(program);
    if (!status) {
        lower(program);
        *handle = program;
    } else {
        ts_program_free(&program);
    }
    return status;
}

void ts_program_free(TsProgram **handle)
{
    TsProgram *program = *handle;
    if (!program)
        return;
    int micros = program->options.micros > 1 ? program->options.micros : 1;
    for (int32_t v = 0; v < program->varying_moves; v++) {
        program->action[program->varying_move[v].action].move = NULL;
        for (int m = 0; m < micros; m++)
            ts_move_free(&program->varying_move[v].move[m]);
        ts_free(program->varying_move[v].move);
    }
    for (int32_t a = 0; a < program->actions; a++)
        if (program->action[a].kind != TS_STEP_END) {
            ts_move_free(&program->action[a].move);
            ts_moves_free(&program->action[a].moves);
        }
    for (int m = 0; m < micros && micros > 1; m++)
        ts_mesh_free(&program->mesh[m]);
    ts_free(program->mesh);
    ts_free(program->piece);
    ts_free(program->varying_block);
    ts_free(program->varying_move);
    ts_free(program->range);
    ts_pieces_free(&program->pieces);
    ts_graph_free(&program->graph);
    ts_schedule_free(&program->schedule);
    ts_layout_free(&program->layout);
    ts_free(program->action);
    ts_free(program->block);
    ts_free(program->patch);
    ts_free(program->first_patch);
    ts_free(program->array);
    ts_free(program->request);
    ts_free(program->open);
    ts_free(program->begun_s);
    ts_free(program->arena);
    ts_free(program->constants);
    ts_free(program);
    *handle = NULL;
}

/* ---- binding ---- */

void ts_program_bind(TsProgram *program, const char *name, TsArray *array)
{
    int32_t found = ts_graph_find_bound(program->graph, name);
    TS_CHECK(found >= 0, "the program has no input, parameter, state or output \"%s\"", name);
    const TsBinding *binding = &program->graph->bound[found].binding;
    TS_CHECK(array->dtype == binding->dtype && ts_shape_equal(array->shape, binding->shape),
             "\"%s\" is %s %s, and %s %s is bound to it", name, ts_dtype_name(binding->dtype),
             ts_shape_text(binding->shape).text, ts_dtype_name(array->dtype), ts_shape_text(array->shape).text);
    TS_CHECK(ts_placement_equal(ts_placement_simplify(array->placement, program->mesh_shape),
                                ts_placement_simplify(binding->placement, program->mesh_shape)),
             "\"%s\" lies \"%s\", and an array that lies \"%s\" is bound to it", name,
             ts_placement_text(binding->placement).text, ts_placement_text(array->placement).text);
    int micros = ts_placement_varies(ts_placement_simplify(binding->placement, program->mesh_shape))
                     ? program->pieces.micros
                     : 1;
    TS_CHECK(array->micros == micros, "\"%s\" has %d micro-batches, and an array of %d is bound to it", name, micros,
             array->micros);
    TS_CHECK(array->data || !ts_array_local_bytes(array), "\"%s\": an array without values is bound to it", name);
    program->unbound -= !program->array[found];
    program->array[found] = array;
    for (int32_t p = program->first_patch[found]; p < program->first_patch[found + 1]; p++)
        *program->patch[p].data = (unsigned char *)array->data + program->patch[p].offset_bytes;
}

int ts_program_bindings(const TsProgram *program)
{
    return program->graph->bounds;
}

TsBinding ts_program_binding(const TsProgram *program, int index)
{
    TS_CHECK(index >= 0 && index < program->graph->bounds, "binding %d of %d", index, program->graph->bounds);
    return program->graph->bound[index].binding;
}

size_t ts_program_arena_bytes(const TsProgram *program)
{
    return program->layout.arena_bytes;
}

void ts_program_cost(const TsProgram *program, double *flops, double *bytes)
{
    TsCost cost = ts_graph_cost(program->graph);
    *flops = cost.flops;
    *bytes = cost.bytes;
}

size_t ts_program_constant_bytes(const TsProgram *program)
{
    return program->layout.constant_bytes;
}

/* ---- running ---- */

/* Moves on the oldest collectives that are under way. Gives how many are left in `open`. */
static int32_t drive(TsProgram *program, int32_t open)
{
    int32_t polled = open < DRIVEN_REQUESTS ? open : DRIVEN_REQUESTS, kept = 0;
    for (int32_t i = 0; i < polled; i++)
        if (!ts_request_poll(program->request[program->open[i]]))
            program->open[kept++] = program->open[i];
        else if (program->timeline)
            ts_program_record_over(program, program->open[i]);
    if (kept < polled) {
        memmove(program->open + kept, program->open + polled, (size_t)(open - polled) * sizeof *program->open);
        open -= polled - kept;
    }
    return open;
}

/* Takes a request that ends out of those that are driven. */
static int32_t close_request(TsProgram *program, int32_t open, int32_t request)
{
    for (int32_t i = 0; i < open; i++)
        if (program->open[i] == request) {
            memmove(program->open + i, program->open + i + 1, (size_t)(open - i - 1) * sizeof *program->open);
            return open - 1;
        }
    return open;
}

/* Turns what differs between micro-batches to this one. */
static void turn_to_micro(TsProgram *program, const TsProgramPiece *piece, int micro)
{
    int micros = program->pieces.micros;
    for (int32_t v = piece[0].first_block; v < piece[1].first_block; v++) {
        const TsVaryingBlock *varying = &program->varying_block[v];
        const TsBlockRange *range = &program->range[(int64_t)varying->range * micros + micro];
        size_t before = varying->packed ? packed_bytes(program, varying->range, micro, varying->block->dtype)
                                        : (size_t)micro * varying->slot_bytes;
        varying->block->data = varying->data ? (unsigned char *)varying->data + before : NULL;
        varying->block->shape = range->shape;
        memcpy(varying->block->first, range->first, sizeof range->first);
    }
    for (int32_t v = piece[0].first_move; v < piece[1].first_move; v++) {
        const TsVaryingMove *varying = &program->varying_move[v];
        program->action[varying->action].move = varying->move[micro];
        if (varying->end >= 0)
            program->action[varying->end].move = varying->move[micro];
    }
}

/* One run: of a piece, for a micro-batch. */
static void run_piece(TsProgram *program, const TsProgramPiece *piece, int micro)
{
    int32_t open = 0;
    for (int32_t a = piece[0].first_action; a < piece[1].first_action; a++) {
        program->action[a].call.micro = micro;
        TsAction *action = &program->action[a];
        const TsCall *call = &action->call;
        double begin_s = program->timeline ? ts_timeline_now() : 0;
        switch (action->kind) {
        case TS_STEP_RUN:
            if (action->move)
                ts_move_begin(action->move, call->out[0].data, call->in[0].data, call->scratch);
            else
                action->op->forward(call);
            ts_watch_alive(action->op->name); /* a step may compute for long between its collectives */
            if (open)
                open = drive(program, open);
            break;
        case TS_STEP_BEGIN:
            program->request[action->request] =
                action->moves ? ts_moves_begin(action->moves, call->in, call->scratch)
                              : ts_move_begin(action->move, call->out[0].data, call->in[0].data, call->scratch);
            program->open[open++] = action->request;
            break;
        case TS_STEP_END:
            open = close_request(program, open, action->request);
            if (action->moves)
                ts_moves_end(action->moves, call->out, call->scratch, &program->request[action->request]);
            else
                ts_move_end(action->move, call->out[0].data, call->scratch, &program->request[action->request]);
            break;
        }
        if (program->timeline)
            ts_program_record_action(program, action, begin_s);
    }
}

void ts_program_run(TsProgram *program)
{
    TS_CHECK(!only_described(program), "a program for a mesh that is only described is run");
    if (program->unbound)
        for (int32_t b = 0; b < program->graph->bounds; b++)
            TS_CHECK(program->array[b], "nothing is bound to \"%s\"", program->graph->bound[b].binding.name);
    for (int32_t p = 0; p < program->pieces.pieces; p++)
        for (int micro = 0; micro < program->piece[p].runs; micro++) {
            turn_to_micro(program, &program->piece[p], micro);
            run_piece(program, &program->piece[p], micro);
        }
}
