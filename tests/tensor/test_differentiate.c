/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "random_graph.h"
#include "test.h"

static double run_loss(TsProgram *program, const RandomArrays *arrays)
{
    ts_program_run(program);
    return *(double *)random_find(program, arrays, "loss")->data;
}

/* Central differences of every element of every leaf. */
static void expect_gradients(uint64_t seed, int ops)
{
    TsProgram *program = NULL;
    const double h = 1e-5;
    TEST_OK(random_compile(&program, seed, 0, ops, true, (TsCompileOptions){.threads = 1}));
    if (!program)
        return;
    RandomArrays arrays = random_bind(program, NULL);
    for (int leaf = 0; leaf < RANDOM_PARAMETERS; leaf++) {
        TsArray *array = random_find(program, &arrays, random_names[leaf]);
        TsArray *gradient = random_find(program, &arrays, (char[]){'d', (char)('0' + leaf), '\0'});
        double *value = array->data, *d = gradient->data, found[64];
        int64_t elems = ts_array_local_elems(array);
        run_loss(program, &arrays); /* the last one was beside the point */
        memcpy(found, d, (size_t)elems * sizeof *d);
        for (int64_t i = 0; i < elems; i++) {
            double before = value[i];
            value[i] = before + h;
            double above = run_loss(program, &arrays);
            value[i] = before - h;
            double below = run_loss(program, &arrays);
            value[i] = before;
            double expected = (above - below) / (2 * h);
            CU_ASSERT(fabs(found[i] - expected) <= 1e-7 * (1 + fabs(expected)));
            if (fabs(found[i] - expected) > 1e-7 * (1 + fabs(expected)))
                fprintf(stderr, "seed %d, %s[%d]: gradient %.10g, differences %.10g\n", (int)seed, random_names[leaf],
                        (int)i, found[i], expected);
        }
    }
    random_free(&arrays);
    ts_program_free(&program);
}

static void agrees_with_finite_differences(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        expect_gradients(seed, 36);
}

static void stops_and_adds_up(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F64, ts_scalar, ts_replicated), d;
    TsTensor y = ts_mul(ts_stop_gradient(x), x); /* d/dx = x, not 2x */
    ts_gradients(&d, ts_add(ts_add(y, y), x), &x, 1);
    ts_output("d", d, ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    RandomArrays arrays = random_bind(program, NULL);
    *(double *)random_find(program, &arrays, "x")->data = 3;
    ts_program_run(program);
    CU_ASSERT_EQUAL(*(double *)random_find(program, &arrays, "d")->data, 7);
    random_free(&arrays);
    ts_program_free(&program);
}

static void differentiates_twice(void)
{
    TsGraph *graph = ts_graph_create();
    TsTensor x = ts_input(graph, "x", TS_F64, ts_scalar, ts_replicated), d, dd;
    ts_gradients(&d, ts_mul(ts_mul(x, x), x), &x, 1);
    ts_gradients(&dd, d, &x, 1);
    ts_output("dd", dd, ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    RandomArrays arrays = random_bind(program, NULL);
    *(double *)random_find(program, &arrays, "x")->data = 3;
    ts_program_run(program);
    CU_ASSERT_DOUBLE_EQUAL(*(double *)random_find(program, &arrays, "dd")->data, 18, 1e-12);
    random_free(&arrays);
    ts_program_free(&program);
}

static void refuses_what_has_no_gradient(void)
{
    TsTensor d[2];
    TsGraph *graph = ts_graph_create();
    TsTensor w[2] = {ts_parameter(graph, "layer/w", TS_F64, ts_shape(3), ts_replicated),
                     ts_parameter(graph, "layer/unused", TS_F64, ts_shape(3), ts_replicated)};
    ts_gradients(d, ts_sum(w[0], -1, false), w, 2);
    CU_ASSERT(d[0].id >= 0 && d[1].id < 0);
    TEST_ERROR(ts_graph_status(graph), "no path leads from layer/unused to the loss");
    ts_graph_free(&graph);

    graph = ts_graph_create();
    w[0] = ts_parameter(graph, "w", TS_F64, ts_shape(3), ts_replicated);
    ts_gradients(d, ts_exp(w[0]), w, 1);
    TEST_ERROR(ts_graph_status(graph), "the loss must be a scalar of floats, not f64 (3)");
    ts_graph_free(&graph);

    graph = ts_graph_create();
    w[0] = ts_parameter(graph, "w", TS_F64, ts_shape(3), ts_replicated);
    ts_gradients(d, ts_sum(ts_stop_gradient(w[0]), -1, false), w, 1);
    TEST_ERROR(ts_graph_status(graph), "no path leads from w to the loss");
    ts_graph_free(&graph);
}

TEST_MAIN("differentiate", {"agrees with finite differences", agrees_with_finite_differences},
          {"stops and adds up", stops_and_adds_up}, {"differentiates twice", differentiates_twice},
          {"refuses what has no gradient", refuses_what_has_no_gradient})
