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

static TsStatus run_passes(TsProgram *program)
{
    TsCompileOptions options = program->options;
    TS_TRY(ts_graph_status(program->graph));
    if (!options.without_passes)
        program->graph = ts_pass_prune(program->graph);
    TS_TRY(ts_pass_place(&program->graph, program->mesh_shape));
    if (!options.without_passes)
        program->graph = ts_pass_prune(program->graph); /* what was made anew where it was wanted */
    program->schedule = ts_pass_schedule(program->graph, program->mesh_shape, options.without_passes);
    program->layout =
        ts_pass_allocate(program->graph, &program->schedule, options.mesh, options.threads, options.without_passes);
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
            "which has %.1f GiB left: a smaller batch, more micro-batches, or more ranks along data or "
            "model make it smaller",
            (double)program->layout.arena_bytes / gib, needed_bytes / gib, ranks, memory_bytes / gib);
    program->arena = ts_alloc(program->layout.arena_bytes + 64);
    program->constants = ts_alloc(program->layout.constant_bytes + 64);
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

/* Fills the block of a value, and notes it if it follows what is bound. */
static void fill_block(TsProgram *program, TsBlock *block, int32_t value)
{
    TsLocation location = program->layout.location[value];
    *block = ts_layout_block(&program->layout, program->graph, value);
    block->data = address(program, location);
    if (location.buffer >= 0 && program->layout.buffer[location.buffer].kind == TS_BUFFER_BOUND)
        program->patch[program->patches++] = (TsPatch){.data = &block->data,
                                                       .offset_bytes = location.offset_bytes,
                                                       .bound = program->layout.buffer[location.buffer].bound};
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
                    .threads = program->options.threads};
}

/* A cut that the layout made a view of its input moves nothing. */
static bool moves_nothing(const TsProgram *program, const TsNode *node)
{
    if (node->op != &ts_move_op[TS_MOVE_CUT])
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

static void lower_steps(TsProgram *program)
{
    const TsGraph *graph = program->graph;
    const TsLayout *layout = &program->layout;
    int32_t *begun_by = ts_alloc(((size_t)graph->nodes + 1) * sizeof *begun_by);
    for (int32_t s = 0; s < program->schedule.steps; s++) {
        TsProgramStep step = program->schedule.step[s];
        const TsNode *node = &graph->node[step.node];
        TsAction *action = &program->action[program->actions];
        if (moves_nothing(program, node))
            continue;
        if (step.kind == TS_STEP_END) {
            *action = program->action[begun_by[step.node]];
            action->kind = TS_STEP_END;
            action->step = s;
            program->actions++;
            continue;
        }
        *action = (TsAction){.kind = step.kind, .op = node->op, .call = make_call(program, node), .step = s};
        if (layout->scratch[s] >= 0)
            action->call.scratch = address(program, (TsLocation){.buffer = layout->scratch[s]});
        if (ts_op_is_move(node->op)) {
            action->move =
                ts_move_create(node->attributes, graph->value[node->first_out].dtype,
                               graph->value[node->first_out].shape, program->options.mesh, label_of(program, node));
            ts_move_set_algorithm(action->move, program->options.algorithm);
        }
        if (step.kind == TS_STEP_BEGIN)
            action->request = program->requests++;
        begun_by[step.node] = program->actions++;
    }
    ts_free(begun_by);
}

/* Actions that copy what was not written in place, after all others. */
static void lower_copies(TsProgram *program)
{
    for (int32_t c = 0; c < program->layout.copies; c++) {
        TsFinalCopy copy = program->layout.copy[c];
        TsBlock *block = program->block + program->blocks;
        program->blocks += 2;
        fill_block(program, &block[0], copy.value);
        block[1] = block[0];
        block[1].data = NULL;
        program->patch[program->patches++] = (TsPatch){.data = &block[1].data, .bound = copy.bound};
        program->action[program->actions++] =
            (TsAction){.kind = TS_STEP_RUN,
                       .op = &ts_copy_op,
                       .call = {.inputs = 1, .outputs = 1, .in = &block[0], .out = &block[1], .threads = 1},
                       .step = program->schedule.steps};
    }
}

static void fill_constants(TsProgram *program)
{
    for (int32_t n = 0; n < program->graph->nodes; n++) {
        const TsNode *node = &program->graph->node[n];
        if (node->op != &ts_constant_op || program->layout.location[node->first_out].buffer < 0)
            continue;
        TsBlock block = ts_layout_block(&program->layout, program->graph, node->first_out);
        block.data = address(program, program->layout.location[node->first_out]);
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
    size_t blocks = (size_t)graph->operands + (size_t)graph->values + 2 * (size_t)program->layout.copies;
    program->action =
        ts_alloc(((size_t)program->schedule.steps + (size_t)program->layout.copies + 1) * sizeof *program->action);
    program->block = ts_alloc((blocks + 1) * sizeof *program->block);
    program->patch = ts_alloc((blocks + (size_t)program->layout.copies + 1) * sizeof *program->patch);
    lower_steps(program);
    lower_copies(program);
    index_patches(program);
    if (program->constants)
        fill_constants(program);
    program->request = ts_calloc((size_t)program->requests + 1, sizeof(TsRequest *));
    program->open = ts_alloc(((size_t)program->requests + 1) * sizeof *program->open);
    program->array = ts_calloc((size_t)graph->bounds + 1, sizeof(TsArray *));
    program->unbound = graph->bounds;
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
    for (int32_t a = 0; a < program->actions; a++)
        if (program->action[a].kind != TS_STEP_END)
            ts_move_free(&program->action[a].move);
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

void ts_program_run(TsProgram *program)
{
    TS_CHECK(!only_described(program), "a program for a mesh that is only described is run");
    if (program->unbound)
        for (int32_t b = 0; b < program->graph->bounds; b++)
            TS_CHECK(program->array[b], "nothing is bound to \"%s\"", program->graph->bound[b].binding.name);
    int32_t open = 0;
    for (int32_t a = 0; a < program->actions; a++) {
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
                ts_move_begin(action->move, call->out[0].data, call->in[0].data, call->scratch);
            program->open[open++] = action->request;
            break;
        case TS_STEP_END:
            open = close_request(program, open, action->request);
            ts_move_end(action->move, call->out[0].data, call->scratch, &program->request[action->request]);
            break;
        }
        if (program->timeline)
            ts_program_record_action(program, action, begin_s);
    }
}
