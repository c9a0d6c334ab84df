/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax and its kin, where and comparisons, gather and scatter_add, top, sort and running sums, by the contract of
 * op_test.h; ties, NaNs and infinities.
 */
#include "op_test.h"

static TsTensor build_softmax(const TsTensor *in)
{
    return ts_softmax(in[0]);
}

static TsTensor build_log_softmax(const TsTensor *in)
{
    return ts_log_softmax(in[0]);
}

static TsTensor build_logsumexp(const TsTensor *in)
{
    return ts_logsumexp(in[0]);
}

static TsTensor build_d_softmax(const TsTensor *in)
{
    return op_d_square(ts_softmax(in[0]), in);
}

static TsTensor build_d_log_softmax(const TsTensor *in)
{
    return op_d_square(ts_log_softmax(in[0]), in);
}

static void softmaxes(void)
{
    static const OpCase tests[] = {
        {.name = "softmax (4, 6)", .build = build_softmax, .inputs = 1, .shape = {{2, {4, 6}}}},
        {.name = "softmax (2, 3, 67)", .build = build_softmax, .inputs = 1, .shape = {{3, {2, 3, 67}}}},
        {.name = "softmax of large (5, 9)",
         .build = build_softmax,
         .inputs = 1,
         .shape = {{2, {5, 9}}},
         .low = 900,
         .high = 905,
         .f32_error = 1e-4},
        {.name = "softmax (7)", .build = build_softmax, .inputs = 1, .shape = {{1, {7}}}},
        {.name = "softmax (3, 1)", .build = build_softmax, .inputs = 1, .shape = {{2, {3, 1}}}},
        {.name = "softmax (3, 0)", .build = build_softmax, .inputs = 1, .shape = {{2, {3, 0}}}},
        {.name = "softmax of many rows", .build = build_softmax, .inputs = 1, .shape = {{2, {200, 301}}}},
        {.name = "log_softmax (4, 6)", .build = build_log_softmax, .inputs = 1, .shape = {{2, {4, 6}}}},
        {.name = "log_softmax (2, 3, 67)", .build = build_log_softmax, .inputs = 1, .shape = {{3, {2, 3, 67}}}},
        {.name = "log_softmax (0, 5)", .build = build_log_softmax, .inputs = 1, .shape = {{2, {0, 5}}}},
        {.name = "logsumexp (4, 6)", .build = build_logsumexp, .inputs = 1, .shape = {{2, {4, 6}}}},
        {.name = "logsumexp (2, 3, 67)", .build = build_logsumexp, .inputs = 1, .shape = {{3, {2, 3, 67}}}},
        {.name = "softmax's gradient", .build = build_d_softmax, .inputs = 1, .shape = {{2, {4, 6}}}},
        {.name = "softmax's gradient (0, 3)", .build = build_d_softmax, .inputs = 1, .shape = {{2, {0, 3}}}},
        {.name = "log_softmax's gradient",
         .build = build_d_log_softmax,
         .inputs = 1,
         .shape = {{2, {4, 6}}},
         .bf16_error = 0.1},
        {.name = "log_softmax (3, 1)", .build = build_log_softmax, .inputs = 1, .shape = {{2, {3, 1}}}},
        {.name = "logsumexp (0, 5)", .build = build_logsumexp, .inputs = 1, .shape = {{2, {0, 5}}}},
        {.name = "logsumexp (1)", .build = build_logsumexp, .inputs = 1, .shape = {{1, {1}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

/* a where a is above b, else b^2: what is seen is that both branches have their gradient. */
static TsTensor build_where(const TsTensor *in)
{
    return ts_where(ts_greater(in[0], in[1]), in[0], ts_mul(in[1], in[1]));
}

static TsTensor build_where_scalar(const TsTensor *in)
{
    TsTensor zero = ts_constant(in[0].graph, ts_dtype_of(in[0]), ts_scalar, 0);
    return ts_where(ts_less(in[0], zero), in[0], in[1]);
}

static TsTensor build_where_ids(const TsTensor *in)
{
    return ts_where(ts_equal(in[2], ts_constant(in[2].graph, TS_I32, ts_scalar, 1)), in[0], in[1]);
}

static void wheres(void)
{
    static const OpCase tests[] = {
        {.name = "where (4, 6)", .build = build_where, .inputs = 2, .shape = {{2, {4, 6}}, {2, {4, 6}}}},
        {.name = "where (4, 1, 6) (5, 1)", .build = build_where, .inputs = 2, .shape = {{3, {4, 1, 6}}, {2, {5, 1}}}},
        {.name = "where (1) (7)", .build = build_where, .inputs = 2, .shape = {{1, {1}}, {1, {7}}}},
        {.name = "where () (6, 4)", .build = build_where_scalar, .inputs = 2, .shape = {{0, {0}}, {2, {6, 4}}}},
        {.name = "where (6, 4) ()", .build = build_where_scalar, .inputs = 2, .shape = {{2, {6, 4}}, {0, {0}}}},
        {.name = "where (0, 4) (4)", .build = build_where, .inputs = 2, .shape = {{2, {0, 4}}, {1, {4}}}},
        {.name = "where (300, 150)", .build = build_where, .inputs = 2, .shape = {{2, {300, 150}}, {1, {150}}}},
        {.name = "where by ids",
         .build = build_where_ids,
         .inputs = 2,
         .shape = {{2, {6, 4}}, {2, {6, 4}}},
         .id_shape = {2, {6, 1}},
         .id_limit = 3},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_gather_last(const TsTensor *in)
{
    return ts_gather(in[0], in[1], -1);
}

static TsTensor build_gather_first(const TsTensor *in)
{
    return ts_gather(in[0], in[1], 0);
}

static TsTensor build_gather_middle(const TsTensor *in)
{
    return ts_gather(in[0], in[1], 1);
}

static TsTensor build_scatter_add(const TsTensor *in)
{
    return ts_scatter_add(in[0], in[1], in[2], 1);
}

static void gathers(void)
{
    static const OpCase tests[] = {
        {.name = "gather (4, 6) last",
         .build = build_gather_last,
         .inputs = 1,
         .shape = {{2, {4, 6}}},
         .id_shape = {2, {4, 9}},
         .id_limit = 6},
        {.name = "gather (6, 4) first",
         .build = build_gather_first,
         .inputs = 1,
         .shape = {{2, {6, 4}}},
         .id_shape = {2, {3, 4}},
         .id_limit = 6},
        {.name = "gather (3, 5, 4) middle",
         .build = build_gather_middle,
         .inputs = 1,
         .shape = {{3, {3, 5, 4}}},
         .id_shape = {3, {3, 2, 4}},
         .id_limit = 5},
        {.name = "gather of nothing",
         .build = build_gather_last,
         .inputs = 1,
         .shape = {{2, {0, 6}}},
         .id_shape = {2, {0, 3}},
         .id_limit = 6},
        {.name = "gather nothing",
         .build = build_gather_last,
         .inputs = 1,
         .shape = {{2, {4, 6}}},
         .id_shape = {2, {4, 0}},
         .id_limit = 6},
        {.name = "gather many",
         .build = build_gather_middle,
         .inputs = 1,
         .shape = {{3, {12, 50, 40}}},
         .id_shape = {3, {12, 80, 40}},
         .id_limit = 50},
        {.name = "scatter_add (3, 5, 4)",
         .build = build_scatter_add,
         .inputs = 2,
         .shape = {{3, {3, 5, 4}}, {3, {3, 7, 4}}},
         .id_shape = {3, {3, 7, 4}},
         .id_limit = 5},
        {.name = "scatter_add (6, 1)",
         .build = build_scatter_add,
         .inputs = 2,
         .shape = {{2, {6, 1}}, {2, {6, 3}}},
         .id_shape = {2, {6, 3}},
         .id_limit = 1},
        {.name = "scatter_add many",
         .bf16_error = 0.05,
         .build = build_scatter_add,
         .inputs = 2,
         .shape = {{2, {60, 300}}, {2, {60, 500}}},
         .id_shape = {2, {60, 500}},
         .id_limit = 300},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

/* Values, weighted by where they stood: so both outputs count. */
static TsTensor weighted(TsOrdered ordered)
{
    return ts_mul(ordered.values, ts_shift(ts_cast(ordered.indices, ts_dtype_of(ordered.values)), 1));
}

static TsTensor build_top_k(const TsTensor *in)
{
    return weighted(ts_top_k(in[0], 3));
}

static TsTensor build_sort(const TsTensor *in)
{
    return weighted(ts_sort(in[0], false));
}

static TsTensor build_sort_rising(const TsTensor *in)
{
    return weighted(ts_sort(in[0], true));
}

static TsTensor build_running_first(const TsTensor *in)
{
    return ts_running_sum(in[0], 0, false);
}

static TsTensor build_running_last(const TsTensor *in)
{
    return ts_running_sum(in[0], -1, true);
}

static TsTensor build_running_middle(const TsTensor *in)
{
    return ts_running_sum(in[0], 1, false);
}

static void orders(void)
{
    static const OpCase tests[] = {
        {.name = "top_k (4, 6)", .build = build_top_k, .inputs = 1, .shape = {{2, {4, 6}}}},
        {.name = "top_k (3)", .build = build_top_k, .inputs = 1, .shape = {{1, {3}}}},
        {.name = "top_k (2, 3, 67)", .build = build_top_k, .inputs = 1, .shape = {{3, {2, 3, 67}}}},
        {.name = "top_k (0, 5)", .build = build_top_k, .inputs = 1, .shape = {{2, {0, 5}}}},
        {.name = "sort (4, 6)", .build = build_sort, .inputs = 1, .shape = {{2, {4, 6}}}},
        {.name = "sort (3, 0)", .build = build_sort, .inputs = 1, .shape = {{2, {3, 0}}}},
        {.name = "sort (3, 1)", .build = build_sort, .inputs = 1, .shape = {{2, {3, 1}}}},
        {.name = "sort rising (2, 67)", .build = build_sort_rising, .inputs = 1, .shape = {{2, {2, 67}}}},
        {.name = "sort rising, threads", .build = build_sort_rising, .inputs = 1, .shape = {{2, {90, 101}}}},
        {.name = "running_sum (6, 5)", .build = build_running_first, .inputs = 1, .shape = {{2, {6, 5}}}},
        {.name = "running_sum (6, 5) from end", .build = build_running_last, .inputs = 1, .shape = {{2, {6, 5}}}},
        {.name = "running_sum (3, 4, 70)", .build = build_running_middle, .inputs = 1, .shape = {{3, {3, 4, 70}}}},
        {.name = "running_sum (2, 1, 3)", .build = build_running_middle, .inputs = 1, .shape = {{3, {2, 1, 3}}}},
        {.name = "running_sum (3, 0, 2)", .build = build_running_middle, .inputs = 1, .shape = {{3, {3, 0, 2}}}},
        {.name = "running_sum, threads", .build = build_running_last, .inputs = 1, .shape = {{2, {300, 150}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

/* Runs `build` on f32 x and gives what comes out, f32, in out[count]. */
static void run_on(TsTensor (*build)(const TsTensor *in), const float *x, TsShape shape, float *out, int64_t count)
{
    TsGraph *graph = ts_graph_create();
    TsProgram *program = NULL;
    TsTensor in = ts_input(graph, "x", TS_F32, shape, ts_replicated), result = ts_cast(build(&in), TS_F32);
    TsShape out_shape = ts_shape_of_tensor(result);
    CU_ASSERT_EQUAL_FATAL(ts_shape_elems(out_shape), count);
    ts_output("out", result, ts_replicated);
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    TsArray *from = ts_array_create(NULL, TS_F32, shape, ts_replicated, (TsArrayOptions){.shared = false});
    TsArray *to = ts_array_create(NULL, TS_F32, out_shape, ts_replicated, (TsArrayOptions){.shared = false});
    memcpy(from->data, x, (size_t)ts_shape_elems(shape) * sizeof *x);
    ts_program_bind(program, "x", from);
    ts_program_bind(program, "out", to);
    ts_program_run(program);
    memcpy(out, to->data, (size_t)count * sizeof *out);
    ts_program_free(&program);
    ts_array_free(&from);
    ts_array_free(&to);
}

static TsTensor order_falling(const TsTensor *in)
{
    return ts_sort(in[0], false).indices;
}

static TsTensor order_rising(const TsTensor *in)
{
    return ts_sort(in[0], true).indices;
}

static TsTensor less_than_one(const TsTensor *in)
{
    return ts_less(in[0], ts_constant(in[0].graph, TS_F32, ts_scalar, 1));
}

static TsTensor equal_to_itself(const TsTensor *in)
{
    return ts_equal(in[0], in[0]);
}

static void ties_and_nans_have_their_place(void)
{
    static const float x[] = {1, NAN, 2, 1, -INFINITY, 2};
    static const float falling[] = {1, 2, 5, 0, 3, 4}, rising[] = {4, 0, 3, 2, 5, 1};
    float out[6];
    run_on(order_falling, x, ts_shape(6), out, 6);
    CU_ASSERT_EQUAL(memcmp(out, falling, sizeof out), 0);
    run_on(order_rising, x, ts_shape(6), out, 6);
    CU_ASSERT_EQUAL(memcmp(out, rising, sizeof out), 0);
    run_on(less_than_one, x, ts_shape(6), out, 6);
    for (int i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(out[i], i == 4);
    run_on(equal_to_itself, x, ts_shape(6), out, 6);
    for (int i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(out[i], i != 1);
}

static void masked_rows_have_no_nan(void)
{
    static const float x[] = {-INFINITY, -INFINITY, 0, -INFINITY};
    float out[4];
    run_on(build_softmax, x, ts_shape(2, 2), out, 4);
    CU_ASSERT(out[0] == 0 && out[1] == 0 && out[2] == 1 && out[3] == 0);
    run_on(build_log_softmax, x, ts_shape(2, 2), out, 4);
    CU_ASSERT(out[0] == -INFINITY && out[1] == -INFINITY && out[2] == 0 && out[3] == -INFINITY);
    run_on(build_logsumexp, x, ts_shape(2, 2), out, 2);
    CU_ASSERT(out[0] == -INFINITY && out[1] == 0);
}

#define INTEGERS(name, ...) ts_input(graph, name, TS_I32, ts_shape(__VA_ARGS__), ts_replicated)

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_softmax(INTEGERS("x", 2)), "softmax: i32 operands: expected f32, f64 or bf16");
    OP_TEST_ERROR(ts_where(OP_INPUT("c", 2), OP_INPUT("a", 2), OP_INPUT("b", 2)),
                  "where: f32 chooses between f32 and f32: expected bool");
    OP_TEST_ERROR(ts_less(OP_INPUT("a", 2, 3), OP_INPUT("b", 4)), "compare: (2, 3) does not go with (4)");
    OP_TEST_ERROR(ts_less(OP_INPUT("a", 2), INTEGERS("b", 2)), "compare: f32 does not compare with i32");
    OP_TEST_ERROR(ts_gather(OP_INPUT("x", 2, 3), INTEGERS("i", 4, 3), 1),
                  "gather: ids (4, 3) do not go with (2, 3): all dims but 1 must be equal");
    OP_TEST_ERROR(ts_gather(OP_INPUT("x", 2, 3), OP_INPUT("i", 2, 3), 1), "gather: ids of f32: expected i32 or i64");
    OP_TEST_ERROR(ts_scatter_add(OP_INPUT("x", 2, 3), OP_INPUT("s", 2, 1), INTEGERS("i", 2, 3), 1),
                  "scatter_add: (2, 1) is not added by ids (2, 3)");
    OP_TEST_ERROR(ts_top_k(OP_INPUT("x", 2, 3), 4), "top: 4 of the last dim of (2, 3)");
    OP_TEST_ERROR(ts_running_sum(OP_INPUT("x", 2, 3), 2, false), "running_sum: (2, 3) has no dim 2");
}

TEST_MAIN("ops that select", {"softmaxes", softmaxes}, {"wheres", wheres}, {"gathers", gathers}, {"orders", orders},
          {"ties and NaNs have their place", ties_and_nans_have_their_place},
          {"masked rows have no NaN", masked_rows_have_no_nan}, {"names what does not fit", names_what_does_not_fit})
