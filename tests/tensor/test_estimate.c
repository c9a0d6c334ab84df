/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/estimate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "comm/accounting.h"
#include "tensor/batch.h"
#include "tensor/ops.h"
#include "test.h"

enum { LAYERS = 4, ROWS = 24, WIDTH = 24 }; /* all numbers of ranks divide them */

/* Kernels cut at rest along data (ZeRO-3), biases whole (all-reduce), the last kernel cut along model. */
static TsGraph *trace(void)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(ROWS, WIDTH), rows), of[2 * LAYERS], d[2 * LAYERS];
    char name[32];
    for (int i = 0; i < LAYERS; i++) {
        snprintf(name, sizeof name, "kernel/%d", i);
        of[2 * i] = ts_parameter(graph, name, TS_F32, ts_shape(WIDTH, WIDTH),
                                 i == LAYERS - 1 ? ts_shard(ts_replicated, 1, TS_AXIS_MODEL) : rows);
        snprintf(name, sizeof name, "bias/%d", i);
        of[2 * i + 1] = ts_parameter(graph, name, TS_F32, ts_shape(WIDTH), ts_replicated);
        x = ts_add(ts_gelu(ts_dot(x, of[2 * i], (TsDot){0})), of[2 * i + 1]);
    }
    ts_gradients(d, ts_sum(ts_mul(x, x), -1, false), of, 2 * LAYERS);
    for (int k = 0; k < 2 * LAYERS; k++) {
        snprintf(name, sizeof name, "d/%d", k);
        ts_output(name, d[k],
                  k % 2                 ? ts_replicated
                  : k == 2 * LAYERS - 2 ? ts_shard(ts_replicated, 1, TS_AXIS_MODEL)
                                        : rows);
    }
    return graph;
}

static TsMeshShape shape_of(int ranks)
{
    return (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks == 4 ? 2 : ranks, [TS_AXIS_MODEL] = ranks == 4 ? 2 : 1}};
}

static const TsMachineModel machine = {.flops = 1e11,
                                       .memory_bandwidth = 1e10,
                                       .ranks_per_node = 1,
                                       .link = {.latency_s = 1e-5, .bandwidth = 1e9},
                                       .local = {.latency_s = 1e-6, .bandwidth = 1e10}};

static const TsCommKind kind_of[TS_MOVES] = {[TS_MOVE_ALL_GATHER] = TS_COMM_ALL_GATHER,
                                             [TS_MOVE_ALL_REDUCE] = TS_COMM_ALL_REDUCE,
                                             [TS_MOVE_REDUCE_SCATTER] = TS_COMM_REDUCE_SCATTER,
                                             [TS_MOVE_ALL_TO_ALL] = TS_COMM_ALL_TO_ALL};

static int64_t of_all_ranks(int64_t bytes)
{
    int64_t sum = 0;
    ts_all_reduce(test_world, (TsTransfer){.out = &sum, .in = &bytes, .count_elems = 1, .dtype = TS_I64, .label = "t"});
    return sum;
}

/* By kind and axes, what a described mesh plans for is what a run sends. */
static void plans_what_a_run_sends(void)
{
    TsMesh *mesh = NULL;
    TsProgram *program = NULL, *planned = NULL;
    int ranks = ts_group_size(test_world);
    TEST_OK(ts_mesh_create(&mesh, test_world, shape_of(ranks)));
    TsMesh *described = ts_mesh_describe(shape_of(ranks), ts_group_rank(test_world));
    TEST_OK(ts_program_compile(&program, trace(), (TsCompileOptions){.mesh = mesh}));
    TEST_OK(ts_program_compile(&planned, trace(), (TsCompileOptions){.mesh = described}));
    CU_ASSERT_EQUAL(ts_program_arena_bytes(program), ts_program_arena_bytes(planned));
    TsBatch *arrays = ts_batch_create();
    for (int i = 0; i < ts_program_bindings(program); i++) {
        TsBinding binding = ts_program_binding(program, i);
        ts_batch_put(arrays, binding.name,
                     ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){0}));
        ts_program_bind(program, binding.name, ts_batch_find(arrays, binding.name));
    }
    TsEstimate *estimate = ts_calloc(1, sizeof *estimate);
    ts_program_estimate(estimate, planned, &machine);
    CU_ASSERT_TRUE(ranks == 1 ? estimate->collectives == 0 : estimate->collectives >= 2);
    ts_account_reset();
    ts_program_run(program);
    int64_t planned_bytes = 0, sent_bytes = 0;
    for (TsAxisSet axes = 2; axes < 1u << TS_AXES; axes += 2)
        sent_bytes += ts_account_total(axes, TS_COMM_KINDS).bytes;
    for (int i = 0; i < estimate->collectives; i++) {
        const TsEstimateCollective *row = &estimate->collective[i];
        TsAccountRow sent = ts_account_total(row->axes, kind_of[row->kind]);
        CU_ASSERT_EQUAL(row->calls, sent.calls);
        planned_bytes += (int64_t)llround(row->bytes);
        CU_ASSERT_EQUAL(of_all_ranks((int64_t)llround(row->bytes)), of_all_ranks(sent.bytes));
    }
    CU_ASSERT_EQUAL(of_all_ranks(planned_bytes), of_all_ranks(sent_bytes)); /* and nothing else */
    ts_free(estimate);
    ts_program_free(&program);
    ts_program_free(&planned);
    ts_batch_free(&arrays);
    ts_mesh_free(&described);
    ts_mesh_free(&mesh);
}

/* Seconds of a run on 1000 described ranks, so many a node. */
static TsEstimate estimate_on(TsMachineModel model, int data)
{
    TsMesh *described = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_DATA] = data}}, data - 1);
    TsProgram *planned = NULL;
    TsEstimate estimate = {0};
    TEST_OK(ts_program_compile(&planned, trace(), (TsCompileOptions){.mesh = described}));
    ts_program_estimate(&estimate, planned, &model);
    ts_program_free(&planned);
    ts_mesh_free(&described);
    return estimate;
}

static double half(const void *context, const char *op)
{
    (void)context;
    (void)op;
    return 0.5;
}

static void follows_the_machine(void)
{
    TsMachineModel model = machine;
    TsEstimate base = estimate_on(model, 8);
    CU_ASSERT_TRUE(base.link_s > 0 && base.waiting_s > 0 && base.waiting_s <= base.link_s && base.flops > 0);
    CU_ASSERT_DOUBLE_EQUAL(base.seconds, base.compute_s + base.inside_s + base.waiting_s, 1e-12);
    model.link.bandwidth /= 2;
    CU_ASSERT_TRUE(estimate_on(model, 8).link_s > base.link_s);
    model = machine;
    model.efficiency = half;
    CU_ASSERT_DOUBLE_EQUAL(estimate_on(model, 8).compute_s, 2 * base.compute_s, 1e-12);
    model = machine;
    model.ranks_per_node = 8; /* nothing goes through links, all is work of the node */
    TsEstimate inside = estimate_on(model, 8);
    CU_ASSERT_TRUE(inside.link_s == 0 && inside.waiting_s == 0 && inside.inside_s > base.inside_s);
    model.ranks_per_node = 4; /* what is summed up in a node goes through its link once */
    CU_ASSERT_TRUE(estimate_on(model, 8).link_s > 0);
    CU_ASSERT_TRUE(estimate_on(machine, 1000).link_s > base.link_s); /* more messages */
}

TEST_MAIN("estimate", {"plans what a run sends", plans_what_a_run_sends}, {"follows the machine", follows_the_machine})
