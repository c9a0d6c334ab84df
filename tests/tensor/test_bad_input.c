/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user can get wrong in a graph, each with the whole message: the layer path, what was found, what was expected.
 * What is seen only when it runs, labels that are no class, is in test_op_faults.c.
 */
#include <string.h>

#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

static TsTensor input(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape)
{
    return ts_input(graph, name, dtype, shape, ts_replicated);
}

/* Compiling the graph is refused with exactly these words, and gives no program. */
static void refused(TsGraph *graph, const char *words)
{
    TsProgram *program = NULL;
    TsStatus status = ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1});
    const char *said = ts_status_message(status);
    if (!status || strcmp(said, words) != 0)
        fprintf(stderr, "expected: %s\n     got: %s\n", words, said);
    CU_ASSERT(status && strcmp(said, words) == 0);
    CU_ASSERT_PTR_NULL(program);
    ts_status_free(&status);
    ts_program_free(&program);
}

static void shapes_that_do_not_fit(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = input(graph, "x", TS_F32, ts_shape(8, 256, 384));
    TsTensor kernel = ts_parameter(graph, "kernel", TS_F32, ts_shape(512, 1536), ts_replicated);
    ts_graph_set_path(graph, "backbone/layer_03/up");
    ts_output("y", ts_gelu(ts_dot(x, kernel, (TsDot){0})), ts_replicated);
    refused(graph,
            "backbone/layer_03/up: dot: the last 1 dims of (8, 256, 384) do not go with the first 1 of (512, 1536)");

    graph = ts_graph_create();
    ts_graph_set_path(graph, "backbone/layer_00/attention");
    x = input(graph, "x", TS_F32, ts_shape(4, 6));
    ts_output("y", ts_add(x, input(graph, "y", TS_F32, ts_shape(4, 5))), ts_replicated);
    refused(graph, "backbone/layer_00/attention: add: (4, 6) does not go with (4, 5), element by element");
}

static void casts_that_there_are_not(void)
{
    TsGraph *graph = ts_graph_create();
    ts_graph_set_path(graph, "head");
    ts_output("y", ts_cast(input(graph, "x", TS_F32, ts_shape(4)), TS_F16), ts_replicated);
    refused(graph, "head: cast: from f32 to f16: f16 occurs in files only");

    graph = ts_graph_create();
    ts_graph_set_path(graph, "head");
    ts_output("y", ts_cast(input(graph, "x", TS_F32, ts_shape(4)), (TsDtype)99), ts_replicated);
    refused(graph, "head: cast: from f32 to dtype 99, which there is not");
}

static void dtypes_that_do_not_fit(void)
{
    TsGraph *graph = ts_graph_create();
    ts_graph_set_path(graph, "head");
    TsTensor x = input(graph, "x", TS_F32, ts_shape(4)), y = input(graph, "y", TS_BF16, ts_shape(4));
    ts_output("z", ts_mul(x, y), ts_replicated);
    refused(graph, "head: mul: f32 does not go with bf16");
}

static void losses_that_are_no_scalar(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor d, w = ts_parameter(graph, "w", TS_F32, ts_shape(3, 4), ts_replicated);
    ts_graph_set_path(graph, "loss");
    ts_gradients(&d, ts_exp(w), &w, 1);
    ts_output("d", d, ts_replicated);
    refused(graph, "loss: gradients: the loss must be a scalar of floats, not f32 (3, 4)");

    graph = ts_graph_create();
    w = ts_parameter(graph, "w", TS_F32, ts_shape(3), ts_replicated);
    ts_graph_set_path(graph, "loss");
    ts_gradients(&d, ts_reshape(ts_argmax(w), ts_scalar), &w, 1);
    ts_output("d", d, ts_replicated);
    refused(graph, "loss: gradients: the loss must be a scalar of floats, not i32 ()");
}

static void parameters_with_no_path(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor d[2], w[2] = {ts_parameter(graph, "backbone/up/kernel", TS_F32, ts_shape(3), ts_replicated),
                           ts_parameter(graph, "backbone/up/unused", TS_F32, ts_shape(3), ts_replicated)};
    ts_graph_set_path(graph, "loss");
    ts_gradients(d, ts_sum(w[0], -1, false), w, 2);
    ts_output("d", d[0], ts_replicated);
    refused(graph, "loss: gradients: no path leads from backbone/up/unused to the loss");
}

/* 4 TiB. What the host has left is not the same everywhere. */
static void arenas_larger_than_memory(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = input(graph, "x", TS_F32, ts_shape((int64_t)1 << 20, 1));
    TsTensor y = input(graph, "y", TS_F32, ts_shape(1, (int64_t)1 << 20));
    ts_output("z", ts_max(ts_softmax(ts_mul(x, y)), 1, false), ts_replicated);
    TsProgram *program = NULL;
    TsStatus status = ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1});
    const char *said = status ? ts_status_message(status) : "nothing";
    double arena = 0, needed = 0, left = 0;
    int ranks = 0, end = 0;
    int read = sscanf(said,
                      "a step needs an arena of %lf GiB a rank, %lf GiB for the %d ranks of this host, which has %lf "
                      "GiB left: computing activations again (memory.recompute), a smaller batch, more micro-batches, "
                      "or more ranks along data or model make it smaller%n",
                      &arena, &needed, &ranks, &left, &end);
    if (read != 4 || said[end])
        fprintf(stderr, "got: %s\n", said);
    CU_ASSERT(read == 4 && !said[end]);
    CU_ASSERT(arena >= 4096 && arena < 9000);
    CU_ASSERT(needed >= arena && needed < arena + 1);
    CU_ASSERT(ranks == 1 && left > 0 && left < 4096);
    CU_ASSERT_PTR_NULL(program);
    CU_ASSERT_EQUAL(ts_status_code(status), TS_CODE_RESOURCES);
    ts_status_free(&status);
}

TEST_MAIN("bad input", {"shapes that do not fit", shapes_that_do_not_fit},
          {"casts that there are not", casts_that_there_are_not}, {"dtypes that do not fit", dtypes_that_do_not_fit},
          {"losses that are no scalar", losses_that_are_no_scalar},
          {"parameters with no path", parameters_with_no_path},
          {"arenas larger than memory", arenas_larger_than_memory})
