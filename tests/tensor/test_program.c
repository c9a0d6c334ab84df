/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/ops.h"
#include "test.h"

/* A mesh of all ranks along data. */
static TsMesh *create_data_mesh(void)
{
    TsMesh *mesh = NULL;
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}};
    TEST_OK(ts_mesh_create(&mesh, test_world, shape));
    return mesh;
}

static TsArray *create_array(const TsMesh *mesh, TsShape shape, TsPlacement placement)
{
    return ts_array_create(mesh, TS_F64, shape, placement, (TsArrayOptions){.shared = false});
}

/* Element i of the whole array is first + step * i. */
static void fill(TsArray *array, double first, double step)
{
    double *data = array->data;
    int64_t rows = array->block.shape.size[0], columns = array->shape.dims > 1 ? array->block.shape.size[1] : 1;
    int64_t width = array->shape.dims > 1 ? array->shape.size[1] : 1;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            data[i * columns + j] =
                first + step * (double)((array->block.first[0] + i) * width + array->block.first[1] + j);
}

/* ---- cases ---- */

static void computes_and_gives_out(void)
{
    TsMesh *mesh = create_data_mesh();
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(5, 3), rows);
    ts_output("y", ts_shift(ts_scale(x, 2), 1), rows);
    ts_output("all", ts_scale(x, 3), ts_replicated);
    ts_output("sum", ts_sum(x, -1, false), ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    TsArray *in = create_array(mesh, ts_shape(5, 3), rows), *out = create_array(mesh, ts_shape(5, 3), rows);
    TsArray *all = create_array(mesh, ts_shape(5, 3), ts_replicated),
            *sum = create_array(mesh, ts_scalar, ts_replicated);
    fill(in, 0, 1);
    ts_program_bind(program, "x", in);
    ts_program_bind(program, "y", out);
    ts_program_bind(program, "all", all);
    ts_program_bind(program, "sum", sum);
    for (int run = 0; run < 3; run++) {
        fill(in, run, 1);
        ts_program_run(program);
        for (int64_t i = 0; i < ts_array_local_elems(in); i++)
            CU_ASSERT_EQUAL(((double *)out->data)[i], 2 * ((double *)in->data)[i] + 1);
        for (int i = 0; i < 15; i++)
            CU_ASSERT_EQUAL(((double *)all->data)[i], 3.0 * (run + i));
        CU_ASSERT_EQUAL(*(double *)sum->data, 15 * run + 105);
    }
    ts_program_free(&program);
    ts_array_free(&in);
    ts_array_free(&out);
    ts_array_free(&all);
    ts_array_free(&sum);
    ts_mesh_free(&mesh);
}

/* w <- w - 0.5 * gradient of sum(w^2) / 2 halves w; the output shows w from before. */
static void updates_parameters_in_place(void)
{
    TsMesh *mesh = create_data_mesh();
    for (int way = 0; way < 4; way++) {
        TsPlacement placement = way & 1 ? ts_shard(ts_replicated, 0, TS_AXIS_DATA) : ts_replicated;
        TsGraph *graph = ts_graph_create();
        TsTensor w = ts_parameter(graph, "w", TS_F64, ts_shape(7, 2), placement), d;
        ts_gradients(&d, ts_scale(ts_sum(ts_mul(w, w), -1, false), 0.5), &w, 1);
        ts_assign(w, ts_sub(w, ts_scale(d, 0.5)));
        ts_output("before", w, placement);
        TsProgram *program = NULL;
        TEST_OK(
            ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .without_passes = (way & 2) != 0}));
        TsArray *array = create_array(mesh, ts_shape(7, 2), placement);
        TsArray *before = create_array(mesh, ts_shape(7, 2), placement);
        fill(array, 1, 1);
        ts_program_bind(program, "w", array);
        ts_program_bind(program, "before", before);
        ts_program_run(program);
        int64_t allocations = ts_memory_usage().allocations;
        ts_program_run(program);
        CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations);
        for (int64_t i = 0; i < ts_array_local_elems(array); i++) {
            double first = 1.0 + (double)(i + 2 * array->block.first[0]);
            CU_ASSERT_DOUBLE_EQUAL(((double *)array->data)[i], first / 4, 1e-14);
            CU_ASSERT_DOUBLE_EQUAL(((double *)before->data)[i], first / 2, 1e-14);
        }
        ts_program_free(&program);
        ts_array_free(&array);
        ts_array_free(&before);
    }
    ts_mesh_free(&mesh);
}

/* All reads of what is assigned see the value from before the run, also where two are swapped. */
static void swaps_two_states(void)
{
    for (int plain = 0; plain < 2; plain++) {
        TsGraph *graph = ts_graph_create();
        TsTensor a = ts_state(graph, "a", TS_F64, ts_shape(4), ts_replicated);
        TsTensor b = ts_state(graph, "b", TS_F64, ts_shape(4), ts_replicated);
        ts_assign(a, b);
        ts_assign(b, a);
        ts_output("sum", ts_add(a, b), ts_replicated);
        TsProgram *program = NULL;
        TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.without_passes = plain}));
        TsArray *array[3];
        static const char *const names[] = {"a", "b", "sum"};
        for (int i = 0; i < 3; i++) {
            array[i] = create_array(NULL, ts_shape(4), ts_replicated);
            fill(array[i], 10 * i, 1);
            ts_program_bind(program, names[i], array[i]);
        }
        ts_program_run(program);
        for (int i = 0; i < 4; i++) {
            CU_ASSERT_EQUAL(((double *)array[0]->data)[i], 10 + i);
            CU_ASSERT_EQUAL(((double *)array[1]->data)[i], i);
            CU_ASSERT_EQUAL(((double *)array[2]->data)[i], 10 + 2 * i);
        }
        ts_program_free(&program);
        for (int i = 0; i < 3; i++)
            ts_array_free(&array[i]);
    }
}

static void tells_what_is_bound(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(2), ts_replicated);
    TsTensor unused = ts_input(graph, "unused", TS_I32, ts_shape(9), ts_replicated);
    (void)unused;
    ts_output("y", ts_exp(x), ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    CU_ASSERT_EQUAL(ts_program_bindings(program), 3);
    if (ts_program_bindings(program) == 3) {
        TsBinding y = ts_program_binding(program, 2);
        CU_ASSERT_STRING_EQUAL(y.name, "y");
        CU_ASSERT_EQUAL(y.kind, TS_BIND_OUTPUT);
        CU_ASSERT_EQUAL(y.dtype, TS_F64);
        CU_ASSERT_TRUE(ts_shape_equal(y.shape, ts_shape(2)));
        CU_ASSERT_EQUAL(ts_program_binding(program, 1).dtype, TS_I32);
    }
    ts_program_free(&program);
}

static void refuses_an_arena_larger_than_memory(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape((int64_t)1 << 20, 1), ts_replicated);
    TsTensor y = ts_input(graph, "y", TS_F32, ts_shape(1, (int64_t)1 << 20), ts_replicated);
    ts_output("sum", ts_sum(ts_exp(ts_mul(x, y)), -1, false), ts_replicated);
    TsProgram *program = NULL;
    TEST_ERROR(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}), "arena of");
    CU_ASSERT_PTR_NULL(program);
}

static void reports_errors_of_tracing(void)
{
    TsGraph *graph = ts_graph_create();
    ts_graph_set_path(graph, "backbone/up");
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(2, 3), ts_replicated);
    TsTensor y = ts_input(graph, "y", TS_F64, ts_shape(4, 5), ts_replicated);
    ts_output("z", ts_dot(x, y, (TsDot){0}), ts_replicated);
    TsProgram *program = NULL;
    TEST_ERROR(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}), "backbone/up: dot");
}

/* What gradients of sums, maxima and caches need as large as their operands is in the arena, and cut as those are. */
static void keeps_no_large_constants(void)
{
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_DATA] = 4}}, 1);
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(256, 512), ts_shard(ts_replicated, 0, TS_AXIS_DATA));
    TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(512, 512), ts_replicated), d[1];
    TsTensor h = ts_normalize(ts_dot(x, w, (TsDot){0}), TS_NONE, TS_NONE, (TsNormalize){.epsilon = 1e-5});
    h = ts_sub(h, ts_mean(h, 2, true));
    h = ts_add(h, ts_constant(graph, TS_F32, ts_shape(256, 512), 0.5));
    TsTensor sums = ts_add(ts_sum(ts_max(h, 2, false), -1, false), ts_mean(ts_gelu(h), -1, false));
    ts_gradients(d, sums, &w, 1);
    ts_output("d", d[0], ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    char *text = NULL;
    size_t length = 0, constants_bytes = SIZE_MAX;
    FILE *file = open_memstream(&text, &length);
    ts_program_describe(program, file);
    fclose(file);
    const char *at = strstr(text, "constants ");
    CU_ASSERT_EQUAL(at ? sscanf(at, "constants %zu bytes", &constants_bytes) : 0, 1);
    CU_ASSERT(constants_bytes <= 1024);
    CU_ASSERT_PTR_NULL(strstr(text, "all_gather"));
    CU_ASSERT(strstr(text, "1 all_reduce over data") || strstr(text, "1 reduce_scatter over data"));
    CU_ASSERT(ts_program_arena_bytes(program) <= 7 * 256 / 4 * 512 * 4 + 512 * 512 * 4);
    if (constants_bytes > 1024)
        fprintf(stderr, "%s", text);
    free(text);
    ts_program_free(&program);
    ts_mesh_free(&mesh);
}

/* A plan for many ranks holds no data. */
static void compiles_for_a_mesh_that_is_only_described(void)
{
    TsMesh *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_DATA] = 64}}, 17);
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape((int64_t)1 << 20, 1 << 14), rows);
    ts_output("y", ts_sum(ts_exp(x), -1, false), ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    CU_ASSERT(ts_program_arena_bytes(program) >= ((size_t)4 << 34) / 64);
    ts_program_free(&program);
    ts_mesh_free(&mesh);
}

TEST_MAIN("program", {"computes and gives out", computes_and_gives_out},
          {"updates parameters in place", updates_parameters_in_place}, {"swaps two states", swaps_two_states},
          {"tells what is bound", tells_what_is_bound},
          {"refuses an arena larger than memory", refuses_an_arena_larger_than_memory},
          {"keeps no large constants", keeps_no_large_constants},
          {"reports errors of tracing", reports_errors_of_tracing},
          {"compiles for a mesh that is only described", compiles_for_a_mesh_that_is_only_described})
