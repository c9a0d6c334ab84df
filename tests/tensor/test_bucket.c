/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/bucket.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "comm/accounting.h"
#include "tensor/batch.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

enum { LAYERS = 7, ROWS = 12, WIDTH = 5 }; /* no number of ranks divides the width */

typedef enum Way {
    WHOLE,   /* parameters and gradients on every rank: all-reduce */
    SCATTER, /* gradients cut: reduce-scatter */
    AT_REST, /* parameters cut too: all-gather, forward and backward, and reduce-scatter */
    ADDED,   /* gradients cut, and added to what was there */
    WAYS
} Way;

static const char *name_of(const char *what, int layer)
{
    static char names[8][32];
    static int next;
    char *name = names[next++ % 8];
    snprintf(name, sizeof names[0], "%s/%d", what, layer);
    return name;
}

/* x W0 W1 …, with a bias each, and the gradients of all of them. */
static TsGraph *trace(Way way)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsPlacement cut = way == WHOLE ? ts_replicated : rows, rest = way == AT_REST ? rows : ts_replicated;
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(ROWS, WIDTH), rows), of[2 * LAYERS], d[2 * LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        ts_graph_set_path(graph, name_of("net/layer", i));
        of[2 * i] = ts_parameter(graph, name_of("kernel", i), TS_F64, ts_shape(WIDTH, WIDTH), rest);
        of[2 * i + 1] = ts_parameter(graph, name_of("bias", i), TS_F64, ts_shape(WIDTH), rest);
        x = ts_add(ts_tanh(ts_dot(x, of[2 * i], (TsDot){0})), of[2 * i + 1]);
    }
    ts_graph_set_path(graph, "loss");
    ts_gradients(d, ts_sum(ts_mul(x, x), -1, false), of, 2 * LAYERS);
    for (int k = 0; k < 2 * LAYERS; k++) {
        const char *name = name_of(k % 2 ? "d_bias" : "d_kernel", k / 2);
        if (way == ADDED) {
            TsTensor sum = ts_state(graph, name, TS_F64, ts_shape_of_tensor(of[k]), cut);
            ts_assign(sum, ts_add(sum, d[k]));
        } else {
            ts_output(name, d[k], cut);
        }
    }
    return graph;
}

/* The same values on any mesh. */
static void fill(TsArray *array, int salt)
{
    double *data = array->data;
    int64_t columns = array->shape.dims > 1 ? array->shape.size[1] : 1;
    for (int64_t i = 0; i < ts_array_local_elems(array); i++)
        data[i] = 0.01 * (double)((array->block.first[0] * columns + i + 1) * (7 + salt) % 31) - 0.1;
}

typedef struct Result {
    TsBatch *arrays;
    int64_t bytes, calls; /* sent by this rank along data, in one run */
    size_t arena_bytes;
} Result;

static Result run(const TsMesh *mesh, Way way, int64_t bucket_bytes)
{
    Result result = {.arrays = ts_batch_create()};
    TsProgram *program = NULL;
    TsAxisSet data = TS_AXIS_BIT(TS_AXIS_DATA);
    TEST_OK(ts_program_compile(&program, trace(way), (TsCompileOptions){.mesh = mesh, .bucket_bytes = bucket_bytes}));
    for (int i = 0; i < ts_program_bindings(program); i++) {
        TsBinding binding = ts_program_binding(program, i);
        TsArray *array = ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){0});
        ts_batch_put(result.arrays, binding.name, array);
        if (binding.kind == TS_BIND_INPUT || binding.kind == TS_BIND_PARAMETER)
            fill(array, i);
        ts_program_bind(program, binding.name, array);
    }
    ts_program_run(program);
    TsAccountRow before = ts_account_total(data, TS_COMM_KINDS);
    int64_t allocations = ts_memory_usage().allocations;
    ts_program_run(program);
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations);
    TsAccountRow after = ts_account_total(data, TS_COMM_KINDS);
    result.bytes = after.bytes - before.bytes;
    result.calls = after.calls - before.calls;
    result.arena_bytes = ts_program_arena_bytes(program);
    ts_program_free(&program);
    return result;
}

/* Largest difference between the two, of all arrays. */
static double difference(const Result *a, const Result *b)
{
    double largest = 0;
    for (int i = 0; i < ts_batch_count(a->arrays); i++) {
        const TsArray *x = ts_batch_array(a->arrays, i), *y = ts_batch_find(b->arrays, ts_batch_name(a->arrays, i));
        for (int64_t e = 0; e < ts_array_local_elems(x); e++) {
            double apart = ((double *)x->data)[e] - ((double *)y->data)[e];
            largest = apart > largest ? apart : -apart > largest ? -apart : largest;
        }
    }
    return largest;
}

static int64_t of_all_ranks(int64_t bytes)
{
    int64_t sum = 0;
    ts_all_reduce(test_world,
                  (TsTransfer){.out = &sum, .in = &bytes, .count_elems = 1, .dtype = TS_I64, .label = "test"});
    return sum;
}

static void buckets_change_no_result(void)
{
    TsMesh *mesh = NULL;
    int ranks = ts_group_size(test_world);
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks}}));
    for (int way = 0; way < WAYS; way++) {
        Result alone = run(mesh, (Way)way, -1), all = run(mesh, (Way)way, 0);
        Result some = run(mesh, (Way)way, 3 * WIDTH * WIDTH * (int64_t)sizeof(double));
        CU_ASSERT_TRUE(ts_batch_count(alone.arrays) > 4 * LAYERS);
        /* an all-reduce sums in another order where an element comes to lie in another rank's part */
        CU_ASSERT_TRUE(difference(&alone, &some) <= (way == WHOLE ? 1e-12 : 0));
        CU_ASSERT_TRUE(difference(&alone, &all) <= (way == WHOLE ? 1e-12 : 0));
        CU_ASSERT_EQUAL(of_all_ranks(alone.bytes), of_all_ranks(all.bytes));
        CU_ASSERT_EQUAL(of_all_ranks(alone.bytes), of_all_ranks(some.bytes));
        if (ranks > 1) {
            CU_ASSERT_EQUAL(alone.calls, way == AT_REST ? (int64_t)LAYERS * 5 - 1 : (int64_t)2 * LAYERS);
            CU_ASSERT_TRUE(all.calls <= 4 && all.calls < some.calls && some.calls < alone.calls);
        }
        ts_batch_free(&alone.arrays);
        ts_batch_free(&some.arrays);
        ts_batch_free(&all.arrays);
    }
    ts_mesh_free(&mesh);
}

TEST_MAIN("bucket", {"buckets change no result", buckets_change_no_result})
