/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * The gradient of a table that is read twice: one node adds the rows, in place, and nothing comes out otherwise.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/batch.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

enum { ROWS = 8, VOCABULARY = 301, WIDTH = 24, TABLE_BYTES = VOCABULARY * WIDTH * 8 };

/* Logits by the table that the inputs were taken from, or, untied, from another; `also` gives out a part by itself.
 * The table lies at rest in parts, or whole. */
static TsGraph *trace(bool tied, bool also, int batch, bool in_parts)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA), rest = in_parts ? rows : ts_replicated;
    TsTensor ids = ts_input(graph, "ids", TS_I32, ts_shape(batch), rows), d[2];
    TsTensor table = ts_parameter(graph, "table", TS_F64, ts_shape(VOCABULARY, WIDTH), rest);
    TsTensor other = ts_parameter(graph, "other", TS_F64, ts_shape(VOCABULARY, WIDTH), ts_replicated);
    TsTensor x = ts_tanh(ts_take(table, ids));
    TsTensor logits = ts_dot(x, tied ? table : other, (TsDot){.transpose_b = true});
    if (!tied || also)
        logits = ts_add(logits, ts_dot(x, other, (TsDot){.transpose_b = true}));
    TsTensor loss = ts_sum(ts_cross_entropy(logits, ids, (TsCrossEntropy){.ignore = -1}), -1, false);
    ts_gradients(d, loss, (TsTensor[]){table, other}, also || !tied ? 2 : 1);
    ts_output("d_table", d[0], rest);
    if (also || !tied)
        ts_output("d_other", d[1], ts_replicated);
    return graph;
}

static int count_of(const TsProgram *program, const char *words)
{
    char *text = NULL;
    size_t length = 0;
    int count = 0;
    FILE *file = open_memstream(&text, &length);
    ts_program_describe(program, file);
    fclose(file);
    for (const char *at = text; (at = strstr(at, words)); at++)
        count++;
    free(text);
    return count;
}

typedef struct Run {
    TsProgram *program;
    TsBatch *arrays;
} Run;

static Run run_graph(TsGraph *graph, TsCompileOptions options)
{
    const TsMesh *mesh = options.mesh;
    Run run = {.arrays = ts_batch_create()};
    TEST_OK(ts_program_compile(&run.program, graph, options));
    for (int i = 0; i < ts_program_bindings(run.program); i++) {
        TsBinding binding = ts_program_binding(run.program, i);
        TsArray *array = ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, (TsArrayOptions){0});
        for (int64_t e = 0; e < ts_array_local_elems(array); e++)
            if (binding.dtype == TS_I32)
                ((int32_t *)array->data)[e] = (int32_t)((array->block.first[0] + e) * 7 % 3); /* rows meet */
            else
                ((double *)array->data)[e] = sin(0.1 * (double)(array->block.first[0] * WIDTH + e + i));
        ts_batch_put(run.arrays, binding.name, array);
        ts_program_bind(run.program, binding.name, array);
    }
    ts_program_run(run.program);
    ts_program_run(run.program); /* nothing of the first one is left in what is written in place */
    return run;
}

static Run run(const TsMesh *mesh, bool tied, bool also, bool without_fusion)
{
    return run_graph(trace(tied, also, ROWS, false),
                     (TsCompileOptions){.mesh = mesh, .without_fusion = without_fusion});
}

static void drop(Run *run)
{
    ts_program_free(&run->program);
    ts_batch_free(&run->arrays);
}

static double difference(const Run *a, const Run *b, const char *name)
{
    const TsArray *x = ts_batch_find(a->arrays, name), *y = ts_batch_find(b->arrays, name);
    double most = 0;
    for (int64_t e = 0; e < ts_array_local_elems(x); e++)
        most = fmax(most, fabs(((double *)x->data)[e] - ((double *)y->data)[e]));
    return most;
}

static TsMesh *create_mesh(void)
{
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}}));
    return mesh;
}

static void adds_rows_where_they_go(void)
{
    TsMesh *mesh = create_mesh();
    for (int also = 0; also < 2; also++) {
        Run one = run(mesh, true, also, false), two = run(mesh, true, also, true);
        CU_ASSERT_EQUAL(count_of(one.program, "d_take_added"), 1);
        CU_ASSERT_EQUAL(count_of(one.program, "d_take "), 0);
        CU_ASSERT_EQUAL(count_of(two.program, "d_take_added"), 0);
        CU_ASSERT(difference(&one, &two, "d_table") < 1e-12);
        if (!also && ts_group_size(test_world) == 1) { /* else there is a bucket, or another table */
            CU_ASSERT(ts_program_arena_bytes(one.program) < TABLE_BYTES);
            CU_ASSERT(ts_program_arena_bytes(two.program) >= TABLE_BYTES);
        }
        drop(&one);
        drop(&two);
    }
    ts_mesh_free(&mesh);
}

static void leaves_alone_what_is_not_added(void)
{
    TsMesh *mesh = create_mesh();
    Run one = run(mesh, false, false, false);
    CU_ASSERT_EQUAL(count_of(one.program, "d_take_added"), 0);
    CU_ASSERT_EQUAL(count_of(one.program, "d_take "), 1);
    drop(&one);
    ts_mesh_free(&mesh);
}

/* This rank's part of a table against the same rows of the whole. */
static double difference_of_part(const Run *part, const Run *whole, const char *name)
{
    const TsArray *x = ts_batch_find(part->arrays, name), *y = ts_batch_find(whole->arrays, name);
    double most = 0;
    for (int64_t e = 0; e < ts_array_local_elems(x); e++)
        most = fmax(most, fabs(((double *)x->data)[e] - ((double *)y->data)[x->block.first[0] * WIDTH + e]));
    return most;
}

/* The gradient that the logits give is scattered behind them; then come the rows of all ranks, which are gathered where
 * they are fewer than those of the table. */
static void scatters_what_would_wait(void)
{
    TsMesh *mesh = create_mesh();
    bool alone = ts_group_size(test_world) == 1;
    for (int batch = ROWS; batch <= 2 * VOCABULARY; batch += 2 * VOCABULARY - ROWS) {
        bool many = batch > VOCABULARY;
        Run part = run_graph(trace(true, false, batch, true),
                             (TsCompileOptions){.mesh = mesh, .scatter_first = true, .bucket_bytes = 64});
        Run whole = run_graph(trace(true, false, batch, false), (TsCompileOptions){.mesh = mesh});
        CU_ASSERT(difference_of_part(&part, &whole, "d_table") < 1e-10);
        CU_ASSERT_EQUAL(count_of(part.program, "d_take_added"), alone || !many);
        CU_ASSERT_EQUAL(count_of(part.program, "begin reduce_scatter"), alone ? 0 : 1 + many);
        drop(&part);
        drop(&whole);
    }
    ts_mesh_free(&mesh);
}

TEST_MAIN("join_tables", {"adds rows where they go", adds_rows_where_they_go},
          {"leaves alone what is not added", leaves_alone_what_is_not_added},
          {"scatters what would wait", scatters_what_would_wait})
