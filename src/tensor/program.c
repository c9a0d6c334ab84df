/* SPDX-License-Identifier: Apache-2.0
 *
 * Program: from a traced Graph, through the passes, to a list of actions, and the loop that runs it.
 */
#include "tensor/program_internal.h"

#include <string.h>

#include "base/check.h"
#include "base/machine.h"
#include "base/memory.h"
#include "comm/watchdog.h"

/* Polled after each node: more would cost more than it hides. */
enum { DRIVEN_REQUESTS = 8 };

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
        passed->graph = ts_pass_fuse(ts_pass_join_tables(ts_pass_join_maxima(passed->graph)));
    TsScheduleOptions scheduling = {.bucket_bytes = options.bucket_bytes ? options.bucket_bytes : TS_BUCKET_BYTES,
                                    .frugal = options.scatter_first,
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
    TS_TRY(ts_memory_status());
    if (!options.without_passes && sums_of(&options) == TS_SUMS_SCATTERED)
        program->graph = ts_pass_scatter_tables(program->graph, program->mesh_shape);
    TS_TRY(ts_memory_status());
    TS_TRY(ts_pass_place(&program->graph, program->mesh_shape, sums_of(&options)));
    if (!options.without_passes) {
        program->graph = ts_pass_prune(program->graph); /* what was made anew where it was wanted */
        TS_TRY(ts_memory_status());
        TS_TRY(ts_pass_rematerialize(&program->graph, options.memory, arena_of, program));
    }
    Passed passed = {.graph = program->graph};
    pass_on(&passed, program, program->mesh);
    program->graph = passed.graph;
    program->pieces = passed.pieces;
    program->schedule = passed.schedule;
    program->schedule.pieces = &program->pieces;
    program->layout = passed.layout;
    return ts_memory_status();
}

static TsStatus make_arena(TsProgram *program)
{
    const double gib = 1024.0 * 1024 * 1024;
    if (ts_program_only_described(program))
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
    TsStatus status = run_passes(program);
    if (!status)
        status = make_arena(program);
    if (!status) {
        ts_program_lower(program);
        status = ts_memory_status();
    }
    if (status) {
        ts_program_free(&program);
        ts_memory_forget_shortage(); /* of what was done behind the error */
    }
    *handle = program;
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

/* Moves on the oldest collectives that are under way. */
static void drive(TsProgram *program)
{
    int32_t open = program->opens, polled = open < DRIVEN_REQUESTS ? open : DRIVEN_REQUESTS, kept = 0;
    for (int32_t i = 0; i < polled; i++)
        if (!ts_request_poll(program->request[program->open[i]]))
            program->open[kept++] = program->open[i];
        else if (program->timeline)
            ts_program_record_over(program, program->open[i]);
    if (kept < polled)
        memmove(program->open + kept, program->open + polled, (size_t)(open - polled) * sizeof *program->open);
    program->opens -= polled - kept;
}

/* Takes a request that ends out of those that are driven. */
static void close_request(TsProgram *program, int32_t request)
{
    int32_t i = 0;
    while (i < program->opens && program->open[i] != request)
        i++;
    if (i == program->opens)
        return;
    program->opens--;
    memmove(program->open + i, program->open + i + 1, (size_t)(program->opens - i) * sizeof *program->open);
}

/* Turns what differs between micro-batches to this one. */
static void turn_to_micro(TsProgram *program, const TsProgramPiece *piece, int micro)
{
    int micros = program->pieces.micros;
    for (int32_t v = piece[0].first_block; v < piece[1].first_block; v++) {
        const TsVaryingBlock *varying = &program->varying_block[v];
        const TsBlockRange *range = &program->range[(int64_t)varying->range * micros + micro];
        size_t before = varying->packed ? ts_program_packed_bytes(program, varying->range, micro, varying->block->dtype)
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
    for (int32_t a = piece[0].first_action; a < piece[1].first_action; a++) {
        if (program->action[a].last && micro + 1 < piece->runs)
            continue;
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
            if (program->opens)
                drive(program);
            break;
        case TS_STEP_BEGIN:
            program->request[action->request] =
                action->moves ? ts_moves_begin(action->moves, call->in, call->scratch)
                              : ts_move_begin(action->move, call->out[0].data, call->in[0].data, call->scratch);
            program->open[program->opens++] = action->request;
            break;
        case TS_STEP_END:
            close_request(program, action->request);
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
    TS_CHECK(!ts_program_only_described(program), "a program for a mesh that is only described is run");
    if (program->unbound)
        for (int32_t b = 0; b < program->graph->bounds; b++)
            TS_CHECK(program->array[b], "nothing is bound to \"%s\"", program->graph->bound[b].binding.name);
    for (int32_t p = 0; p < program->pieces.pieces; p++)
        for (int micro = 0; micro < program->piece[p].runs; micro++) {
            turn_to_micro(program, &program->piece[p], micro);
            run_piece(program, &program->piece[p], micro);
        }
}
