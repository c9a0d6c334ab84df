/* ranks: 1 2 3 4 6 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "comm/accounting.h"
#include "random_graph.h"
#include "test.h"

static TsMesh *create_mesh(void)
{
    static const int sizes[][2] = {[1] = {1, 1}, [2] = {2, 1}, [3] = {1, 3}, [4] = {2, 2}, [6] = {3, 2}};
    int ranks = ts_group_size(test_world);
    TsMesh *mesh = NULL;
    TEST_OK(
        ts_mesh_create(&mesh, test_world,
                       (TsMeshShape){.size = {[TS_AXIS_DATA] = sizes[ranks][0], [TS_AXIS_MODEL] = sizes[ranks][1]}}));
    return mesh;
}

/* Loss and gradients on the mesh against those of one rank. */
static void expect_equal_to_one_rank(uint64_t seed, uint64_t places, TsMesh *mesh, bool plain)
{
    TsProgram *alone = NULL, *program = NULL;
    TEST_OK(random_compile(&alone, seed, 0, 36, true, (TsCompileOptions){.threads = 1}));
    TEST_OK(
        random_compile(&program, seed, places, 36, true, (TsCompileOptions){.mesh = mesh, .without_passes = plain}));
    if (!alone || !program)
        return;
    RandomArrays expected = random_bind(alone, NULL), found = random_bind(program, mesh);
    ts_program_run(alone);
    for (int run = 0; run < 2; run++)
        ts_program_run(program);
    int wrong = 0;
    for (int b = 0; b < expected.count; b++) {
        TsBinding binding = ts_program_binding(alone, b);
        if (binding.kind != TS_BIND_OUTPUT)
            continue;
        const double *right = expected.array[b]->data;
        const double *ours = random_find(program, &found, binding.name)->data;
        for (int64_t i = 0; i < ts_array_local_elems(expected.array[b]); i++)
            if (!(fabs(ours[i] - right[i]) <= 1e-10 * (1 + fabs(right[i])))) {
                wrong++;
                if (wrong == 1)
                    fprintf(stderr, "rank %d, seed %d, placements %d: %s[%d] is %.15g, not %.15g\n",
                            ts_group_rank(test_world), (int)seed, (int)places, binding.name, (int)i, ours[i], right[i]);
            }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    random_free(&expected);
    random_free(&found);
    ts_program_free(&alone);
    ts_program_free(&program);
}

static void equals_one_rank(void)
{
    TsMesh *mesh = create_mesh();
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (uint64_t places = 1; places <= 4; places++)
            expect_equal_to_one_rank(seed, 100 * seed + places, mesh, places == 4);
    ts_mesh_free(&mesh);
}

/* ---- what moves ---- */

typedef void Describe(const TsProgram *program, FILE *file);

/* The description of a program on a mesh that is only described; owned by the caller. */
static char *describe_by(Describe *print, TsGraph *graph, TsMeshShape shape)
{
    TsMesh *mesh = ts_mesh_describe(shape, 0);
    TsProgram *program = NULL;
    char *text = NULL;
    size_t size_bytes = 0;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    FILE *file = open_memstream(&text, &size_bytes);
    if (program)
        print(program, file);
    fclose(file);
    ts_program_free(&program);
    ts_mesh_free(&mesh);
    return text;
}

static char *describe(TsGraph *graph, TsMeshShape shape)
{
    return describe_by(ts_program_describe, graph, shape);
}

static void expect_totals(char *text, const char *const *totals)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, " sent by this rank")); at++)
        count++;
    for (; *totals; totals++, count--) {
        CU_ASSERT_PTR_NOT_NULL(strstr(text, *totals));
        if (!strstr(text, *totals))
            fprintf(stderr, "not in the description: %s\n%s\n", *totals, text);
    }
    CU_ASSERT_EQUAL(count, 0);
    if (count)
        fprintf(stderr, "other collectives than expected:\n%s\n", text);
    free(text);
}

enum { B = 8, T = 16, C = 32, F = 64 };

/* One step of x w -> sum of squares, w <- w - gradient: with this placement of w. */
static TsGraph *trace_step(TsPlacement at_rest)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(B, C), ts_shard(ts_replicated, 0, TS_AXIS_DATA));
    TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(C, C), at_rest), d;
    TsTensor h = ts_tanh(ts_dot(x, w, (TsDot){0}));
    h = ts_dot(h, w, (TsDot){0});
    ts_gradients(&d, ts_sum(ts_mul(h, h), -1, false), &w, 1);
    ts_assign(w, ts_sub(w, ts_scale(d, 0.1)));
    return graph;
}

/* Data parallel: one all-reduce of the gradient, 2 P (d - 1) / d. */
static void reduces_gradients_once(void)
{
    TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 4}};
    expect_totals(describe(trace_step(ts_replicated), mesh),
                  (const char *const[]){"1 all_reduce over data, 6144 bytes", NULL});
}

static int count_of(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

/* Graphviz: a node for each box that an arrow names, the collective an ellipse, what is assigned at the end. */
static void drawn(void)
{
    TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 4}};
    char *text = describe_by(ts_program_describe_dot, trace_step(ts_replicated), mesh);
    CU_ASSERT_EQUAL(strncmp(text, "digraph program {\n", 18), 0);
    CU_ASSERT_STRING_EQUAL(text + strlen(text) - 2, "}\n");
    CU_ASSERT_EQUAL(count_of(text, "shape=ellipse"), 1);
    CU_ASSERT_EQUAL(count_of(text, "shape=plaintext, label=\"w\""), 1);
    CU_ASSERT_EQUAL(count_of(text, "\"") % 2, 0);
    for (const char *arrow = text; (arrow = strstr(arrow, " -> ")); arrow += 4) {
        char name[32], node[48];
        CU_ASSERT_EQUAL(sscanf(arrow, " -> %31[a-z0-9]", name), 1);
        snprintf(node, sizeof node, "  %s [", name);
        CU_ASSERT_EQUAL(count_of(text, node), 1);
    }
    free(text);
}

/* ZeRO-3: gathered for the forward and for the backward pass, gradients scattered: 3 P (d - 1) / d. */
static void gathers_parameters_twice(void)
{
    TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 4}};
    expect_totals(
        describe(trace_step(ts_shard(ts_replicated, 0, TS_AXIS_DATA)), mesh),
        (const char *const[]){"2 all_gather over data, 6144 bytes", "1 reduce_scatter over data, 3072 bytes", NULL});
}

/* ZeRO-1: the momentum is cut; the gradient is scattered, and the parameter gathered: 2 P (d - 1) / d. */
static void scatters_for_cut_state(void)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement cut = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(B, C), cut), d;
    TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(C, C), ts_replicated);
    TsTensor momentum = ts_state(graph, "momentum", TS_F32, ts_shape(C, C), cut);
    TsTensor h = ts_dot(x, w, (TsDot){0});
    ts_gradients(&d, ts_sum(ts_mul(h, h), -1, false), &w, 1);
    ts_output("norm", ts_sum_squares(d), ts_replicated); /* reads the gradient first, and could take it whole */
    TsTensor next = ts_add(ts_scale(momentum, 0.9), d);
    ts_assign(momentum, next);
    ts_assign(w, ts_sub(w, ts_scale(next, 0.1)));
    expect_totals(describe(graph, (TsMeshShape){.size = {[TS_AXIS_DATA] = 4}}),
                  (const char *const[]){"1 all_gather over data, 3072 bytes", "1 reduce_scatter over data, 3072 bytes",
                                        "1 all_reduce over data, 6 bytes", NULL});
}

/* A feed-forward block, columns then rows on `model`; `x` is (B, T, C), placed as given. */
static TsGraph *trace_feed_forward(TsPlacement placement)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(B, T, C), placement);
    TsTensor up = ts_parameter(graph, "up", TS_F32, ts_shape(C, F), ts_shard(ts_replicated, 1, TS_AXIS_MODEL));
    TsTensor down = ts_parameter(graph, "down", TS_F32, ts_shape(F, C), ts_shard(ts_replicated, 0, TS_AXIS_MODEL));
    TsTensor h = ts_tanh(ts_dot(ts_tanh(x), up, (TsDot){0}));
    ts_output("y", ts_add(x, ts_dot(h, down, (TsDot){0})), placement);
    return graph;
}

static void sums_once_a_block_in_tensor_parallel(void)
{
    TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 2, [TS_AXIS_MODEL] = 4}};
    expect_totals(describe(trace_feed_forward(ts_shard(ts_replicated, 0, TS_AXIS_DATA)), mesh),
                  (const char *const[]){"1 all_reduce over model, 12288 bytes", NULL});
}

static void gathers_and_scatters_in_sequence_parallel(void)
{
    TsMeshShape mesh = {.size = {[TS_AXIS_DATA] = 2, [TS_AXIS_MODEL] = 4}};
    TsPlacement placement = ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_DATA), 1, TS_AXIS_MODEL);
    expect_totals(
        describe(trace_feed_forward(placement), mesh),
        (const char *const[]){"1 all_gather over model, 6144 bytes", "1 reduce_scatter over model, 6144 bytes", NULL});
}

/* Each rank draws its own part of noise, whatever the rest of it does. */
static void draws_noise_where_it_is_wanted(void)
{
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_DATA] = 8}}, 3);
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(800, 1000), rows),
             step = ts_constant(graph, TS_I64, ts_scalar, 1);
    ts_output("y", ts_mul(x, ts_normal(step, ts_shape(800, 1000), 7)), rows);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    CU_ASSERT(ts_program_arena_bytes(program) < 2 * 100 * 1000 * sizeof(float));
    ts_program_free(&program);
    ts_mesh_free(&mesh);
}

/* The gradient of a table of which rows are cut: nobody has all of it. */
static void keeps_the_rows_of_a_table(void)
{
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_MODEL] = 8}}, 3);
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_MODEL);
    TsTensor ids = ts_input(graph, "ids", TS_I32, ts_shape(10), ts_replicated), d;
    TsTensor table = ts_parameter(graph, "table", TS_F32, ts_shape(8000, 100), rows);
    TsTensor h = ts_tanh(ts_take(table, ids));
    ts_gradients(&d, ts_sum(ts_mul(h, h), -1, false), &table, 1);
    ts_output("d", ts_scale(d, 2), rows);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    CU_ASSERT(ts_program_arena_bytes(program) < 2 * 1000 * 100 * sizeof(float));
    ts_program_free(&program);
    ts_mesh_free(&mesh);
}

/* Logits of which classes are cut stay where they are. */
static void sums_over_cut_classes(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor logits =
        ts_parameter(graph, "logits", TS_F32, ts_shape(B, T, F), ts_shard(ts_replicated, 2, TS_AXIS_MODEL));
    TsTensor labels = ts_input(graph, "labels", TS_I32, ts_shape(B, T), ts_replicated), d;
    TsTensor loss = ts_sum(ts_cross_entropy(logits, labels, (TsCrossEntropy){.ignore = -1}), -1, false);
    ts_gradients(&d, loss, &logits, 1);
    ts_output("loss", loss, ts_replicated);
    ts_output("d", d, ts_shard(ts_replicated, 2, TS_AXIS_MODEL));
    expect_totals(describe(graph, (TsMeshShape){.size = {[TS_AXIS_MODEL] = 4}}), /* (B, T) maxima, (B, T, 3) sums */
                  (const char *const[]){"2 all_reduce over model, 3072 bytes", NULL});
}

/* What was planned is what is counted when it runs. */
static void sends_what_was_planned(void)
{
    TsMesh *mesh = NULL;
    int ranks = ts_group_size(test_world);
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks}}));
    TsGraph *graph = ts_graph_create();
    ts_graph_set_path(graph, "backbone/up");
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(12, 48), rows), d;
    TsTensor w = ts_parameter(graph, "w", TS_F64, ts_shape(48, 48), ts_replicated);
    TsTensor h = ts_dot(x, w, (TsDot){0});
    ts_gradients(&d, ts_sum(ts_mul(h, h), -1, false), &w, 1);
    ts_output("d", d, ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .algorithm = TS_ALGORITHM_RING}));
    RandomArrays arrays = random_bind(program, mesh);
    ts_account_reset();
    ts_program_run(program);
    TsAccountRow row = ts_account_total(TS_AXIS_BIT(TS_AXIS_DATA), TS_COMM_KINDS);
    CU_ASSERT_EQUAL(row.bytes, 2 * 2304 * 8 * (ranks - 1) / ranks);
    if (row.bytes != 2 * 2304 * 8 * (ranks - 1) / ranks)
        fprintf(stderr, "%lld bytes counted\n", (long long)row.bytes);
    TsAccountRow labelled = {.label = "backbone/up"};
    CU_ASSERT_EQUAL(ts_account_rows(&labelled, 1), ranks > 1);
    CU_ASSERT_STRING_EQUAL(labelled.label, "backbone/up");
    int64_t allocations = ts_memory_usage().allocations;
    for (int run = 0; run < 3; run++)
        ts_program_run(program);
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations);
    random_free(&arrays);
    ts_program_free(&program);
    ts_mesh_free(&mesh);
}

TEST_MAIN("place", {"equals one rank", equals_one_rank}, {"reduces gradients once", reduces_gradients_once},
          {"gathers parameters twice", gathers_parameters_twice}, {"scatters for cut state", scatters_for_cut_state},
          {"sums once a block in tensor parallel", sums_once_a_block_in_tensor_parallel},
          {"gathers and scatters in sequence parallel", gathers_and_scatters_in_sequence_parallel},
          {"draws noise where it is wanted", draws_noise_where_it_is_wanted},
          {"keeps the rows of a table", keeps_the_rows_of_a_table}, {"sums over cut classes", sums_over_cut_classes},
          {"sends what was planned", sends_what_was_planned}, {"drawn", drawn})
