/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/passes.h"

#include <stdio.h>

#include "base/memory.h"
#include "random_graph.h"
#include "tensor/redistribute.h"
#include "test.h"

/* A graph after all passes, as one rank of a mesh sees it. */
typedef struct Passed {
    TsMesh *mesh;
    TsGraph *graph;
    TsPieces *pieces; /* owned: the schedule borrows it */
    TsProgramSchedule schedule;
    TsLayout layout;
} Passed;

static Passed run_passes(TsGraph *graph, TsMeshShape shape, int rank, bool plain, bool frugal)
{
    Passed passed = {.mesh = ts_mesh_describe(shape, rank)};
    TEST_OK(ts_graph_status(graph));
    passed.graph = ts_pass_prune(graph);
    TsScheduleOptions options = {.bucket_bytes = 4000, .plain = plain, .frugal = frugal}; /* some are larger */
    TEST_OK(ts_pass_place(&passed.graph, ts_mesh_shape(passed.mesh), frugal ? TS_SUMS_SCATTERED : TS_SUMS_ONCE));
    passed.pieces = ts_alloc(sizeof *passed.pieces);
    *passed.pieces = ts_pass_pieces(passed.graph, ts_mesh_shape(passed.mesh));
    passed.schedule = ts_pass_schedule(passed.graph, passed.pieces, ts_mesh_shape(passed.mesh), options);
    passed.layout = ts_pass_allocate(passed.graph, &passed.schedule, &passed.mesh, 1, false, plain);
    return passed;
}

static void free_passed(Passed *passed)
{
    ts_layout_free(&passed->layout);
    ts_schedule_free(&passed->schedule);
    ts_pieces_free(passed->pieces);
    ts_free(passed->pieces);
    ts_graph_free(&passed->graph);
    ts_mesh_free(&passed->mesh);
}

static TsGraph *trace_random(uint64_t seed, uint64_t places, bool gradients)
{
    RandomGraph random = {.shapes = seed, .places = places, .constrain = true};
    TsGraph *graph = ts_graph_create();
    TsTensor loss = random_trace(&random, graph, 36), d[RANDOM_PARAMETERS];
    ts_output("loss", loss, ts_replicated);
    if (gradients) {
        ts_gradients(d, loss, random.leaf, RANDOM_PARAMETERS);
        for (int i = 0; i < RANDOM_PARAMETERS - 1; i++) {
            char name[16];
            snprintf(name, sizeof name, "d/%d", i);
            if (seed % 2)
                ts_assign(random.leaf[i], ts_sub(random.leaf[i], d[i]));
            else
                ts_output(name, d[i], ts_replicated);
        }
    }
    return graph;
}

/* ---- what lies where, step by step ---- */

/* Which value each byte of every buffer belongs to while the schedule is gone through. Buffers that are bound come
 * after the arena. */
typedef struct Memory {
    const Passed *passed;
    int32_t *owner; /* (bytes): the value that was written there last, or -1 */
    size_t *base;   /* (buffers) */
    int32_t *shown; /* (values): the value whose bytes it shows: itself, or what it is a view of */
    int wrong;
    int buckets; /* of several that were met */
} Memory;

static size_t bytes_of(const Passed *passed, int32_t value)
{
    return (size_t)ts_shape_elems(passed->layout.block[value].shape) *
           ts_dtype_bytes(passed->graph->value[value].dtype);
}

static int32_t *bytes_at(Memory *memory, int32_t value)
{
    TsLocation location = memory->passed->layout.location[value];
    return memory->owner + memory->base[location.buffer] + location.offset_bytes;
}

static void write(Memory *memory, int32_t value)
{
    for (size_t i = 0; i < bytes_of(memory->passed, value); i++)
        bytes_at(memory, value)[i] = value;
}

static void expect_there(Memory *memory, int32_t value, int32_t step)
{
    int32_t shown = memory->shown[value];
    for (size_t i = 0; i < bytes_of(memory->passed, value); i++)
        if (bytes_at(memory, value)[i] != shown) {
            if (!memory->wrong++) {
                const TsGraph *graph = memory->passed->graph;
                int32_t other = bytes_at(memory, value)[i];
                fprintf(stderr, "step %d: value %d (%s) was overwritten by %d (%s)\n", step, value,
                        graph->node[graph->value[value].node].op->name, other,
                        other < 0 ? "nothing" : graph->node[graph->value[other].node].op->name);
            }
            return;
        }
}

/* Values that take no step of their own: views and cuts that lie in their input show what that shows. */
static void find_shown(Memory *memory)
{
    const Passed *passed = memory->passed;
    const TsGraph *graph = passed->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int k = 0; k < node->outputs; k++)
            memory->shown[node->first_out + k] = node->first_out + k;
        if (!node->inputs)
            continue;
        int32_t in = *ts_node_in(graph, node), out = node->first_out;
        if ((node->op->flags & TS_OP_VIEW) ||
            (node->op == &ts_move_op[TS_MOVE_CUT] &&
             passed->layout.location[in].buffer == passed->layout.location[out].buffer))
            memory->shown[out] = memory->shown[in];
    }
}

/* What a bucket takes is copied when it begins, what it brings is written when it ends. */
static void walk_bucket(Memory *memory, int32_t s)
{
    const Passed *passed = memory->passed;
    TsProgramStep step = passed->schedule.step[s];
    for (int32_t k = 0; k < step.members; k++) {
        const TsNode *node = &passed->graph->node[ts_step_node(&passed->schedule, step, k)];
        if (step.kind == TS_STEP_BEGIN)
            expect_there(memory, *ts_node_in(passed->graph, node), s);
        else
            write(memory, node->first_out);
    }
    memory->buckets += step.kind == TS_STEP_BEGIN;
}

static void walk(Memory *memory)
{
    const Passed *passed = memory->passed;
    const TsGraph *graph = passed->graph;
    for (int32_t n = 0; n < graph->nodes; n++)
        if (graph->node[n].op == &ts_bound_op || graph->node[n].op == &ts_constant_op)
            if (passed->layout.location[graph->node[n].first_out].buffer >= 0)
                write(memory, graph->node[n].first_out);
    for (int32_t s = 0; s < passed->schedule.steps; s++) {
        TsProgramStep step = passed->schedule.step[s];
        const TsNode *node = &graph->node[step.node];
        if (step.members > 1) {
            walk_bucket(memory, s);
            continue;
        }
        if (memory->shown[node->first_out] != node->first_out)
            continue;
        for (int i = 0; i < node->inputs; i++) {
            int32_t in = ts_node_in(graph, node)[i];
            bool replaced = passed->schedule.step[s].kind == TS_STEP_END && bytes_of(passed, in) &&
                            bytes_at(memory, in)[0] == node->first_out; /* in place, or gathered into */
            if (!replaced)
                expect_there(memory, in, s);
        }
        for (int k = 0; k < node->outputs; k++)
            write(memory, node->first_out + k);
    }
    for (int32_t b = 0; b < graph->bounds; b++) { /* what goes out is still there */
        int32_t given =
            graph->bound[b].binding.kind == TS_BIND_OUTPUT ? graph->bound[b].value : graph->bound[b].assigned;
        if (given >= 0)
            expect_there(memory, given, passed->schedule.steps);
    }
}

/* Gives how many buckets of several it has. */
static int expect_nothing_overwritten(const Passed *passed)
{
    const TsLayout *layout = &passed->layout;
    size_t total = layout->arena_bytes;
    Memory memory = {.passed = passed,
                     .base = ts_calloc((size_t)layout->buffers + 1, sizeof *memory.base),
                     .shown = ts_calloc((size_t)passed->graph->values + 1, sizeof *memory.shown)};
    for (int32_t b = 0; b < layout->buffers; b++) {
        memory.base[b] = layout->buffer[b].kind == TS_BUFFER_ARENA ? layout->buffer[b].offset_bytes : total;
        if (layout->buffer[b].kind != TS_BUFFER_ARENA)
            total += layout->buffer[b].size_bytes;
        CU_ASSERT_EQUAL(layout->buffer[b].offset_bytes % 64, 0);
    }
    memory.owner = ts_alloc((total + 1) * sizeof *memory.owner);
    memset(memory.owner, 0xff, (total + 1) * sizeof *memory.owner);
    find_shown(&memory);
    walk(&memory);
    CU_ASSERT_EQUAL(memory.wrong, 0);
    ts_free(memory.base);
    ts_free(memory.shown);
    ts_free(memory.owner);
    return memory.buckets;
}

static const TsMeshShape meshes[] = {{.size = {0}},
                                     {.size = {[TS_AXIS_DATA] = 2}},
                                     {.size = {[TS_AXIS_DATA] = 2, [TS_AXIS_MODEL] = 2}},
                                     {.size = {[TS_AXIS_DATA] = 3, [TS_AXIS_MODEL] = 2}}};
static const int ranks_of[] = {1, 2, 4, 6};

static void overwrites_nothing_that_is_needed(void)
{
    int buckets = 0;
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (int m = 0; m < 4; m++)
            for (int rank = 0; rank < ranks_of[m]; rank++)
                for (int way = 0; way < 3; way++) {
                    Passed passed = run_passes(trace_random(seed, 10 * seed + (uint64_t)m, true), meshes[m], rank,
                                               way == 1, way == 2);
                    buckets += expect_nothing_overwritten(&passed);
                    free_passed(&passed);
                }
    CU_ASSERT(buckets > 20);
}

/* ---- how much ---- */

static void packs_close_to_the_largest_live_set(void)
{
    size_t arena_bytes = 0, live_bytes = 0, plain_bytes = 0;
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (int plain = 0; plain < 2; plain++) {
            Passed passed = run_passes(trace_random(seed, seed, true), meshes[0], 0, plain, false);
            if (plain) {
                plain_bytes += passed.layout.arena_bytes;
            } else {
                arena_bytes += passed.layout.arena_bytes;
                live_bytes += passed.layout.live_bytes;
                CU_ASSERT((double)passed.layout.arena_bytes <= 1.1 * (double)passed.layout.live_bytes);
                CU_ASSERT(passed.layout.arena_bytes >= passed.layout.live_bytes);
            }
            free_passed(&passed);
        }
    CU_ASSERT(arena_bytes < plain_bytes / 2);
    CU_ASSERT(live_bytes > 0);
}

/* A chain of element-by-element ops needs one buffer, and none where it ends in what is bound. */
static void works_in_place(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(1000), ts_replicated);
    TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(1000), ts_replicated);
    ts_output("sum", ts_sum(ts_tanh(ts_exp(ts_scale(x, 2))), -1, false), ts_replicated);
    ts_assign(w, ts_add(w, x));
    Passed passed = run_passes(graph, meshes[0], 0, false, false);
    CU_ASSERT_EQUAL(passed.layout.arena_bytes, 4032);
    CU_ASSERT_EQUAL(passed.layout.copies, 0);
    free_passed(&passed);
}

TEST_MAIN("allocate", {"overwrites nothing that is needed", overwrites_nothing_that_is_needed},
          {"packs close to the largest live set", packs_close_to_the_largest_live_set},
          {"works in place", works_in_place})
