/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "random_graph.h"
#include "tensor/op.h"
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

/* Second derivatives of everything that is differentiable by a formula, against differences of the first. */
static TsTensor apply(int which, TsTensor x)
{
    switch (which) {
    case 0:
        return ts_tanh(x);
    case 1:
        return ts_sigmoid(x);
    case 2:
        return ts_sqrt(ts_shift(ts_mul(x, x), 0.5));
    case 3:
        return ts_relu(x);
    case 4:
        return ts_silu(x);
    case 5:
        return ts_gelu(x);
    case 6:
        return ts_gelu_tanh(x);
    case 7:
        return ts_softmax(x);
    case 8:
        return ts_log_softmax(x);
    default:
        return ts_exp(ts_scale(x, 0.5));
    }
}

static void agrees_with_differences_of_gradients(void)
{
    const double h = 1e-5;
    for (int which = 0; which < 10; which++) {
        TsGraph *graph = ts_graph_create();
        TsTensor x = ts_parameter(graph, "a", TS_F64, ts_shape(3, 5), ts_replicated), d, dd;
        TsTensor weight = ts_input(graph, "x", TS_F64, ts_shape(3, 5), ts_replicated);
        ts_gradients(&d, ts_sum(ts_mul(apply(which, x), weight), -1, false), &x, 1);
        TsTensor first = ts_sum(ts_mul(ts_mul(d, weight), weight), -1, false);
        ts_gradients(&dd, first, &x, 1);
        ts_output("loss", first, ts_replicated);
        ts_output("dd", dd, ts_replicated);
        TsProgram *program = NULL;
        TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
        RandomArrays arrays = random_bind(program, NULL);
        double *value = random_find(program, &arrays, "a")->data, found[15];
        run_loss(program, &arrays);
        memcpy(found, random_find(program, &arrays, "dd")->data, sizeof found);
        for (int i = 0; i < 15; i++) {
            double before = value[i];
            value[i] = before + h;
            double above = run_loss(program, &arrays);
            value[i] = before - h;
            double below = run_loss(program, &arrays), expected = (above - below) / (2 * h);
            value[i] = before;
            if (fabs(found[i] - expected) > 1e-7 * (1 + fabs(expected)))
                fprintf(stderr, "function %d, [%d]: %.10g, differences %.10g\n", which, i, found[i], expected);
            CU_ASSERT(fabs(found[i] - expected) <= 1e-7 * (1 + fabs(expected)));
        }
        random_free(&arrays);
        ts_program_free(&program);
    }
}

/* Every row has a rule, but those that are constants to differentiation. */
static void every_op_has_a_rule(void)
{
    static const char *const without[] = {"argmax",  "equal",  "above",  "compare",
                                          "uniform", "normal", "gumbel", "assign"};
    int rows = 0;
    for (const TsOp *const *op = ts_op_table; *op; op++, rows++) {
        bool listed = false;
        for (size_t i = 0; i < sizeof without / sizeof *without; i++)
            listed |= !strcmp(without[i], (*op)->name);
        bool differentiable = !((*op)->flags & TS_OP_NO_GRADIENT);
        if (differentiable ? !(*op)->gradient || listed : !listed)
            fprintf(stderr, "%s: %s\n", (*op)->name, differentiable ? "no rule, or listed" : "not listed");
        CU_ASSERT_EQUAL(differentiable, !listed);
        CU_ASSERT_EQUAL(differentiable, (*op)->gradient != NULL);
    }
    CU_ASSERT(rows > 40);
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

/* Also where another path leads from the tensor to the loss: a part of a gradient would be wrong. */
static void refuses_second_derivatives_of_attention(void)
{
    TsTensor d, dd;
    TsGraph *graph = ts_graph_create();
    ts_graph_set_path(graph, "layer_03/attention");
    TsTensor q = ts_parameter(graph, "q", TS_F32, ts_shape(1, 4, 2, 8), ts_replicated);
    TsTensor out = ts_attend(q, q, q, TS_NONE, (TsAttend){.causal = true}).out;
    ts_gradients(&d, ts_sum(ts_mul(out, out), -1, false), &q, 1);
    TEST_OK(ts_graph_status(graph));
    ts_gradients(&dd, ts_sum(ts_mul(d, q), -1, false), &q, 1);
    TEST_ERROR(ts_graph_status(graph), "layer_03/attention: gradients: d_attend has no derivative; behind "
                                       "ts_stop_gradient it counts as a constant");
    ts_graph_free(&graph);

    graph = ts_graph_create();
    q = ts_parameter(graph, "q", TS_F32, ts_shape(3), ts_replicated);
    ts_gradients(
        &d,
        ts_mul(ts_sum(q, -1, false), ts_clip_factor(ts_sum(q, -1, false), ts_constant(graph, TS_F32, ts_scalar, 9),
                                                    (TsClipFactor){.clip = 1})),
        &q, 1);
    TEST_ERROR(ts_graph_status(graph), "gradients: clip_factor has no derivative");
    ts_graph_free(&graph);
}

TEST_MAIN("differentiate", {"agrees with finite differences", agrees_with_finite_differences},
          {"stops and adds up", stops_and_adds_up}, {"differentiates twice", differentiates_twice},
          {"agrees with differences of gradients", agrees_with_differences_of_gradients},
          {"every op has a rule", every_op_has_a_rule}, {"refuses what has no gradient", refuses_what_has_no_gradient},
          {"refuses second derivatives of attention", refuses_second_derivatives_of_attention})
