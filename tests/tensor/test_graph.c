/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/graph.h"

#include <string.h>

#include "tensor/node.h"
#include "tensor/ops.h"
#include "test.h"

static void adds_the_same_node_once(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(3, 4), ts_replicated);
    TsTensor a = ts_exp(x), b = ts_exp(x), c = ts_scale(x, 2), d = ts_scale(x, 3), e = ts_scale(x, 2);
    CU_ASSERT_EQUAL(a.id, b.id);
    CU_ASSERT_NOT_EQUAL(c.id, d.id);
    CU_ASSERT_EQUAL(c.id, e.id);
    CU_ASSERT_NOT_EQUAL(ts_add(a, c).id, ts_add(c, a).id);
    TsTensor sum = x;
    for (int i = 0; i < 3000; i++) /* the tables grow under it */
        sum = ts_add(sum, ts_scale(x, i + 10));
    int32_t nodes = graph->nodes;
    TsTensor again = x;
    for (int i = 0; i < 3000; i++)
        again = ts_add(again, ts_scale(x, i + 10));
    CU_ASSERT_EQUAL(sum.id, again.id);
    CU_ASSERT_EQUAL(graph->nodes, nodes);
    TEST_OK(ts_graph_status(graph));
    ts_graph_free(&graph);
    CU_ASSERT_PTR_NULL(graph);
}

static void keeps_errors_with_their_path(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(8, 256, 384), ts_replicated);
    TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(512, 1536), ts_replicated);
    ts_graph_set_path(graph, "backbone/layer_03/up");
    TsTensor h = ts_dot(x, w, (TsDot){0});
    CU_ASSERT(h.id < 0);
    CU_ASSERT_EQUAL(ts_dims(h), 0);
    CU_ASSERT_EQUAL(ts_dim(h, 2), 1);
    ts_graph_set_path(graph, "backbone/layer_03/down");
    h = ts_add(ts_gelu(h), x); /* accepted silently */
    CU_ASSERT(h.id < 0);
    ts_output("h", h, ts_replicated);
    ts_assign(w, h);
    TEST_ERROR(ts_graph_status(graph), "backbone/layer_03/up: dot");
    TEST_ERROR(ts_graph_status(graph), "(512, 1536)");
    TsStatus status = ts_graph_status(graph);
    CU_ASSERT_PTR_NULL(strstr(ts_status_message(status), "down"));
    ts_status_free(&status);
    for (int i = 0; i < 10; i++)
        ts_graph_error(graph, "another %d", i);
    TEST_ERROR(ts_graph_status(graph), "and 7 more");
    ts_graph_free(&graph);
}

static void gives_a_parameter_once(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor a = ts_parameter(graph, "table", TS_F32, ts_shape(5, 2), ts_replicated);
    TsTensor b = ts_parameter(graph, "table", TS_F32, ts_shape(5, 2), ts_replicated);
    CU_ASSERT_EQUAL(a.id, b.id);
    TEST_OK(ts_graph_status(graph));
    CU_ASSERT(ts_parameter(graph, "table", TS_F32, ts_shape(5, 3), ts_replicated).id < 0);
    TEST_ERROR(ts_graph_status(graph), "table: f32 (5, 2) is there, and f32 (5, 3) is asked for");
    ts_graph_free(&graph);
    graph = ts_graph_create();
    ts_input(graph, "x", TS_F32, ts_shape(2), ts_replicated);
    ts_input(graph, "x", TS_F32, ts_shape(2), ts_replicated);
    TEST_ERROR(ts_graph_status(graph), "x: the name is taken by an input");
    ts_graph_free(&graph);
}

static void checks_what_is_assigned_and_given_out(void)
{
    static const char *const words[] = {
        "is an input, which is only read",  "assigned twice", "does not take",
        "the name is taken by a parameter", "has no dim 2",   "not a parameter or state"};
    for (int i = 0; i < 6; i++) {
        TsGraph *graph = ts_graph_create();
        TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(2, 3), ts_replicated);
        TsTensor w = ts_parameter(graph, "w", TS_F32, ts_shape(2, 3), ts_replicated);
        switch (i) {
        case 0:
            ts_assign(x, w);
            break;
        case 1:
            ts_assign(w, x);
            ts_assign(w, x);
            break;
        case 2:
            ts_assign(w, ts_sum(x, 1, false));
            break;
        case 3:
            ts_output("w", x, ts_replicated);
            break;
        case 4:
            ts_output("y", x, ts_shard(ts_replicated, 2, TS_AXIS_DATA));
            break;
        default:
            ts_assign(ts_exp(w), x);
        }
        TEST_ERROR(ts_graph_status(graph), words[i]);
        ts_graph_free(&graph);
    }
}

static void tells_dims(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_BF16, ts_shape(2, 3, 5), ts_replicated);
    CU_ASSERT_EQUAL(ts_dim(x, 0), 2);
    CU_ASSERT_EQUAL(ts_dim(x, -1), 5);
    CU_ASSERT_EQUAL(ts_dims(x), 3);
    CU_ASSERT_EQUAL(ts_dtype_of(x), TS_BF16);
    CU_ASSERT_EQUAL(ts_dim(x, 3), 1);
    TEST_ERROR(ts_graph_status(graph), "dim 3 of a tensor (2, 3, 5)");
    ts_graph_free(&graph);
}

TEST_MAIN("graph", {"adds the same node once", adds_the_same_node_once},
          {"keeps errors with their path", keeps_errors_with_their_path},
          {"gives a parameter once", gives_a_parameter_once},
          {"checks what is assigned and given out", checks_what_is_assigned_and_given_out}, {"tells dims", tells_dims})
