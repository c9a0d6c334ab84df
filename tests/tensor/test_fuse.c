/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "random_graph.h"
#include "tensor/passes/passes.h"
#include "tensor/ops/fused.h"
#include "test.h"

/* ---- random graphs: with the pass and without ---- */

static double largest_difference(const TsArray *a, const TsArray *b)
{
    double most = 0;
    for (int64_t i = 0; i < ts_array_local_elems(a); i++) {
        double x = ((double *)a->data)[i], y = ((double *)b->data)[i];
        most = fmax(most, fabs(x - y) / (1 + fabs(x)));
    }
    return most;
}

static void compare_random(uint64_t seed, const TsMesh *mesh)
{
    TsProgram *program[2] = {NULL, NULL};
    RandomArrays arrays[2];
    for (int fused = 0; fused < 2; fused++) {
        TEST_OK(random_compile(&program[fused], seed, seed + 1, 36, true,
                               (TsCompileOptions){.mesh = mesh, .threads = 2, .without_fusion = !fused}));
        arrays[fused] = random_bind(program[fused], mesh);
        ts_program_run(program[fused]);
    }
    for (int b = 0; b < arrays[0].count; b++) {
        double difference = largest_difference(arrays[0].array[b], arrays[1].array[b]);
        if (difference > 1e-12)
            fprintf(stderr, "seed %d: %s differs by %g\n", (int)seed, ts_program_binding(program[0], b).name,
                    difference);
        CU_ASSERT(difference <= 1e-12);
    }
    double flops[2], bytes[2];
    for (int fused = 0; fused < 2; fused++) {
        ts_program_cost(program[fused], &flops[fused], &bytes[fused]);
        random_free(&arrays[fused]);
        ts_program_free(&program[fused]);
    }
    CU_ASSERT(bytes[1] < bytes[0]);
    CU_ASSERT_DOUBLE_EQUAL(flops[1], flops[0], 0.05 * flops[0]);
}

static void gives_what_the_parts_give(void)
{
    int ranks = ts_group_size(test_world);
    TsMesh *mesh = NULL;
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = ranks > 1 ? ranks / 2 : 1, [TS_AXIS_MODEL] = ranks > 1 ? 2 : 1}};
    TEST_OK(ts_mesh_create(&mesh, test_world, shape));
    for (uint64_t seed = 1; seed <= (ranks > 1 ? 12u : 40u); seed++)
        compare_random(seed, mesh);
    ts_mesh_free(&mesh);
}

/* ---- every kind of step, in every dtype ---- */

typedef struct Rows {
    int64_t B, T, C;
} Rows;

/* What blocks of a model are made of: x (B, T, C), kernel (C, C), row (C), scalars repeated, dropout, both norms, gated
 * forms; loss and gradients are given out, and one value in the middle. */
static TsGraph *trace_block(Rows rows, TsDtype dtype)
{
    TsGraph *graph = ts_graph_create();
    TsTensor step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated), d[5];
    TsTensor of[5] = {ts_parameter(graph, "x", dtype, ts_shape(rows.B, rows.T, rows.C), ts_replicated),
                      ts_parameter(graph, "kernel", dtype, ts_shape(rows.C, rows.C), ts_replicated),
                      ts_parameter(graph, "bias", dtype, ts_shape(rows.C), ts_replicated),
                      ts_parameter(graph, "scale", dtype, ts_shape(rows.C), ts_replicated),
                      ts_parameter(graph, "column", dtype, ts_shape(rows.B, rows.T, 1), ts_replicated)};
    TsTensor x = of[0];
    for (int layer = 0; layer < 2; layer++) {
        TsTensor h = ts_add(ts_dot(x, of[1], (TsDot){0}), of[2]);
        h = ts_gelu(ts_mul(h, of[4]));
        h = ts_drop(ts_scale(h, 1.5), step, 0.3, 77 + (uint64_t)layer);
        x = ts_add(x, h);
        TsTensor scale = dtype == TS_BF16 ? ts_cast(of[3], TS_F32) : of[3];
        TsTensor bias = dtype == TS_BF16 ? ts_cast(of[2], TS_F32) : of[2];
        x = ts_normalize(x, scale, layer ? TS_NONE : bias, (TsNormalize){.epsilon = 1e-5, .rms = layer});
        if (!layer)
            ts_output("middle", h, ts_replicated);
    }
    TsDtype wide = dtype == TS_BF16 ? TS_F32 : dtype;
    TsTensor loss = ts_mean(ts_swiglu(ts_cast(x, wide), ts_cast(of[0], wide)), -1, false);
    ts_gradients(d, loss, of, 5);
    ts_output("loss", loss, ts_replicated);
    for (int i = 0; i < 5; i++)
        ts_output((char[]){'d', (char)('0' + i), '\0'}, d[i], ts_replicated);
    return graph;
}

static double element_of(const TsArray *array, int64_t i)
{
    return array->dtype == TS_F64   ? ((double *)array->data)[i]
           : array->dtype == TS_F32 ? (double)((float *)array->data)[i]
                                    : (double)ts_bf16_to_f32(((TsBf16 *)array->data)[i]);
}

static void set_element(TsArray *array, int64_t i, double value)
{
    if (array->dtype == TS_F64)
        ((double *)array->data)[i] = value;
    else if (array->dtype == TS_F32)
        ((float *)array->data)[i] = (float)value;
    else if (array->dtype == TS_BF16)
        ((TsBf16 *)array->data)[i] = ts_bf16_from_f32((float)value);
    else
        ((int64_t *)array->data)[i] = 3;
}

static RandomArrays run_block(Rows rows, TsDtype dtype, bool fused, int threads, double *bytes)
{
    TsProgram *program = NULL;
    double flops;
    RandomArrays arrays = {.count = 0};
    TEST_OK(ts_program_compile(&program, trace_block(rows, dtype),
                               (TsCompileOptions){.threads = threads, .without_fusion = !fused}));
    arrays.count = ts_program_bindings(program);
    for (int b = 0; b < arrays.count; b++) {
        TsBinding binding = ts_program_binding(program, b);
        TsArray *array = ts_array_create(NULL, binding.dtype, binding.shape, ts_replicated, (TsArrayOptions){0});
        uint64_t state = (uint64_t)b + 5;
        for (int64_t i = 0; i < ts_array_local_elems(array) && binding.kind != TS_BIND_OUTPUT; i++)
            set_element(array, i, (double)random_next(&state, 2000) / 1000 - 1);
        ts_program_bind(program, binding.name, array);
        arrays.array[b] = array;
    }
    ts_program_run(program);
    int64_t allocations = ts_memory_usage().allocations;
    ts_program_run(program);
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations);
    ts_program_cost(program, &flops, bytes);
    ts_program_free(&program);
    return arrays;
}

/* The largest difference of two runs, beside the largest element of each array. */
static double difference_of(const RandomArrays *a, const RandomArrays *b)
{
    double worst = 0;
    for (int k = 0; k < a->count; k++) {
        double largest = 0, difference = 0;
        if (a->array[k]->dtype == TS_I64)
            continue;
        for (int64_t i = 0; i < ts_array_local_elems(a->array[k]); i++) {
            double x = element_of(a->array[k], i), y = element_of(b->array[k], i);
            largest = fmax(largest, fabs(x));
            if (isnan(x) && isnan(y)) /* the mean of nothing */
                continue;
            difference = isnan(x) || isnan(y) ? INFINITY : fmax(difference, fabs(x - y));
        }
        worst = fmax(worst, largest > 0 ? difference / largest : difference);
    }
    return worst;
}

static void keeps_the_numbers_of_every_dtype(void)
{
    static const Rows shapes[] = {{2, 3, 8}, {1, 1, 1}, {3, 0, 5}, {2, 150, 33}, {4, 300, 64}, {1, 7, 1500}};
    static const TsDtype dtypes[] = {TS_F64, TS_F32, TS_BF16};
    static const double bounds[] = {1e-12, 1e-6, 1.0 / 64}; /* bf16: sums are rounded at other places */
    if (ts_group_size(test_world) > 1)
        return;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int t = 0; t < 3; t++) {
            double bytes[3];
            RandomArrays parts = run_block(shapes[s], dtypes[t], false, 1, &bytes[0]);
            for (int threads = 1; threads <= 3; threads += 2) {
                RandomArrays fused = run_block(shapes[s], dtypes[t], true, threads, &bytes[1]);
                double difference = difference_of(&parts, &fused);
                if (!(difference <= bounds[t]))
                    fprintf(stderr, "shape %d, %s, %d threads: %g\n", (int)s, ts_dtype_name(dtypes[t]), threads,
                            difference);
                CU_ASSERT(difference <= bounds[t]);
                CU_ASSERT(bytes[1] <= bytes[0]);
                random_free(&fused);
            }
            random_free(&parts);
        }
}

/* ---- what the graph looks like ---- */

static int count_op(const TsGraph *graph, const char *name)
{
    int count = 0;
    for (int32_t n = 0; n < graph->nodes; n++)
        count += !strcmp(graph->node[n].op->name, name);
    return count;
}

static TsGraph *fuse(TsGraph *graph, TsMeshShape mesh_shape)
{
    TEST_OK(ts_graph_status(graph));
    graph = ts_pass_prune(graph);
    TEST_OK(ts_pass_place(&graph, mesh_shape, TS_SUMS_ONCE));
    return ts_pass_fuse(ts_pass_prune(graph));
}

static const char *text_of(const TsGraph *graph, char *room, size_t room_bytes)
{
    size_t length = 0;
    room[0] = 0;
    for (int32_t n = 0; n < graph->nodes; n++)
        if (ts_op_is_fused(graph->node[n].op))
            length += (size_t)snprintf(room + length, room_bytes - length, "%s; ",
                                       ts_fused_text(graph->node[n].op, graph->node[n].attributes).text);
    return room;
}

/* dot + bias + gelu is one node, dot + bias + dropout + residual + norm another, which gives the sum too. */
static void makes_one_node_of_a_layer(void)
{
    char text[500];
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(4, 6, 8), ts_replicated);
    TsTensor step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated);
    TsTensor up = ts_parameter(graph, "up", TS_F32, ts_shape(8, 32), ts_replicated);
    TsTensor up_bias = ts_parameter(graph, "up_bias", TS_F32, ts_shape(32), ts_replicated);
    TsTensor down = ts_parameter(graph, "down", TS_F32, ts_shape(32, 8), ts_replicated);
    TsTensor bias = ts_parameter(graph, "bias", TS_F32, ts_shape(8), ts_replicated);
    TsTensor h = ts_gelu(ts_add(ts_dot(x, up, (TsDot){0}), up_bias));
    h = ts_drop(ts_add(ts_dot(h, down, (TsDot){0}), bias), step, 0.1, 5);
    TsTensor sum = ts_add(x, h);
    ts_output("sum", sum, ts_replicated);
    ts_output("norm", ts_normalize(sum, bias, bias, (TsNormalize){.epsilon = 1e-5}), ts_replicated);
    graph = fuse(graph, (TsMeshShape){.size = {0}});
    CU_ASSERT_STRING_EQUAL(text_of(graph, text, sizeof text), "dot add gelu; dot add drop add normalize; ");
    CU_ASSERT_EQUAL(count_op(graph, "dot"), 0);
    ts_graph_free(&graph);
}

/* A sum over ranks stands between the product and the bias; placements are kept. */
static void stops_at_moves_and_keeps_placements(void)
{
    char text[500];
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = 2, [TS_AXIS_MODEL] = 2}};
    TsGraph *graph = ts_graph_create();
    TsPlacement batch = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(4, 128), batch);
    TsTensor up = ts_parameter(graph, "up", TS_F32, ts_shape(128, 128), ts_shard(ts_replicated, 1, TS_AXIS_MODEL));
    TsTensor down = ts_parameter(graph, "down", TS_F32, ts_shape(128, 128), ts_shard(ts_replicated, 0, TS_AXIS_MODEL));
    TsTensor bias = ts_parameter(graph, "bias", TS_F32, ts_shape(128), ts_replicated);
    TsTensor h = ts_relu(ts_dot(x, up, (TsDot){0}));
    TsTensor y = ts_tanh(ts_add(ts_dot(h, down, (TsDot){0}), bias));
    ts_output("y", ts_scale(ts_constrain(ts_exp(y), ts_replicated), 2), ts_replicated);
    graph = fuse(graph, shape);
    CU_ASSERT_STRING_EQUAL(text_of(graph, text, sizeof text), "dot relu; add tanh exp; ");
    CU_ASSERT_EQUAL(count_op(graph, "all_reduce"), 1);
    CU_ASSERT_EQUAL(count_op(graph, "scale"), 1); /* behind the all_gather that constrain asks for */
    for (int32_t n = 0; n < graph->nodes; n++)
        if (ts_op_is_fused(graph->node[n].op)) {
            TsPlacement placement = graph->value[graph->node[n].first_out].placement;
            CU_ASSERT_EQUAL(ts_placement_axes_of(placement, 0), TS_AXIS_BIT(TS_AXIS_DATA));
        }
    ts_graph_free(&graph);
}

/* b needs something that is made of a outside: fusing a with b would be a circle. */
static void makes_no_circle(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(4, 4), ts_replicated);
    TsTensor a = ts_exp(x);
    TsTensor outside = ts_transpose(a, (const int[]){1, 0});
    ts_output("y", ts_add(a, ts_tanh(outside)), ts_replicated);
    graph = fuse(graph, (TsMeshShape){.size = {0}});
    CU_ASSERT_EQUAL(count_op(graph, "exp"), 1);
    CU_ASSERT_EQUAL(count_op(graph, "transpose"), 1);
    CU_ASSERT_EQUAL(count_op(graph, "fused"), 1);
    ts_graph_free(&graph);
}

TEST_MAIN("fuse", {"gives what the parts give", gives_what_the_parts_give},
          {"keeps the numbers of every dtype", keeps_the_numbers_of_every_dtype},
          {"makes one node of a layer", makes_one_node_of_a_layer},
          {"stops at moves and keeps placements", stops_at_moves_and_keeps_placements},
          {"makes no circle", makes_no_circle})
