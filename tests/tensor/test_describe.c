/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

/* One layer with its gradient as a rank of data 2 x model 2 has it; only described. */
static TsProgram *compile(TsMesh **mesh)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement batch = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(8, 64), batch), d[2];
    TsTensor w[2] = {
        ts_parameter(graph, "layer \"a\"/w", TS_F32, ts_shape(64, 64), ts_shard(ts_replicated, 1, TS_AXIS_MODEL)),
        ts_parameter(graph, "b", TS_F32, ts_shape(64), ts_shard(ts_replicated, 0, TS_AXIS_MODEL))};
    ts_graph_set_path(graph, "layer \"a\"");
    TsTensor h = ts_gelu(ts_add(ts_dot(x, w[0], (TsDot){0}), w[1]));
    TsTensor loss = ts_mean(ts_mul(h, h), -1, false);
    ts_gradients(d, loss, w, 2);
    ts_assign(w[0], ts_sub(w[0], d[0]));
    ts_output("loss", loss, ts_replicated);
    TsProgram *program = NULL;
    *mesh = ts_mesh_describe((TsMeshShape){.size = {[TS_AXIS_DATA] = 2, [TS_AXIS_MODEL] = 2}}, 1);
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = *mesh}));
    return program;
}

static char *text_of(void (*describe)(const TsProgram *, FILE *))
{
    TsMesh *mesh = NULL;
    TsProgram *program = compile(&mesh);
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    if (program)
        describe(program, file);
    fclose(file);
    ts_program_free(&program);
    ts_mesh_free(&mesh);
    return text;
}

static void expect(const char *text, const char *words)
{
    if (!strstr(text, words))
        fprintf(stderr, "expected \"%s\" in:\n%s\n", words, text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, words));
}

/* Nodes, placements, flops, bytes, lifetimes, messages, sums. */
static void tells_what_the_passes_made(void)
{
    char *text = text_of(ts_program_describe);
    expect(text, "input     x  f32 (8, 64)  0: data");
    expect(text, "parameter layer \"a\"/w  f32 (64, 64)  1: model  assigned");
    expect(text, "dot add gelu");        /* a fused node by its steps */
    expect(text, "  0: data; 1: model"); /* a placement */
    expect(text, "(backward)");          /* a direction */
    expect(text, " flops");              /* a cost */
    expect(text, " bytes moved");        /* another */
    expect(text, ", steps ");            /* a lifetime */
    expect(text, "over data  sends ");   /* a message */
    expect(text, "reduce over data");    /* the sum of those, all_reduce */
    expect(text, "total     arena ");    /* memory */
    free(text);
}

/* What Graphviz takes: every edge leads between nodes that are there, quotes are escaped, braces match. */
static void draws_a_graph(void)
{
    char *text = text_of(ts_program_describe_dot);
    int edges = 0, nodes = 0;
    CU_ASSERT_EQUAL(strncmp(text, "digraph program {\n", 18), 0);
    CU_ASSERT_STRING_EQUAL(text + strlen(text) - 2, "}\n");
    expect(text, "layer \\\"a\\\"/w");
    expect(text, "dot add gelu");
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        int from, to, quotes = 0;
        char kind, declared[32];
        for (const char *at = line; *at && *at != '\n'; at++)
            quotes += *at == '"' && at[-1] != '\\';
        CU_ASSERT_EQUAL(quotes % 2, 0);
        if (sscanf(line, "  n%d -> %c%d", &from, &kind, &to) == 3) {
            edges++;
            snprintf(declared, sizeof declared, "  n%d [", from);
            CU_ASSERT_PTR_NOT_NULL(strstr(text, declared));
            snprintf(declared, sizeof declared, "  %c%d [", kind, to);
            CU_ASSERT_PTR_NOT_NULL(strstr(text, declared));
        } else {
            nodes += sscanf(line, "  n%d [", &from) == 1;
        }
    }
    CU_ASSERT(nodes > 10 && edges >= nodes - 4);
    if (system("command -v dot > /dev/null 2>&1") == 0) {
        FILE *dot = popen("dot -Tsvg > /dev/null", "w");
        CU_ASSERT_PTR_NOT_NULL(dot);
        if (dot) {
            fputs(text, dot);
            CU_ASSERT_EQUAL(pclose(dot), 0);
        }
    }
    free(text);
}

TEST_MAIN("describe", {"tells what the passes made", tells_what_the_passes_made}, {"draws a graph", draws_a_graph})
