/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts: slots, the way there and back, and products, by the contract of op_test.h.
 */
#include "op_test.h"

/* Three experts with room for two tokens of a sequence; a choice of 3 is none. */
static TsRouted assign(TsTensor ids)
{
    TsTensor none = ts_constant(ids.graph, TS_I32, ts_scalar, -1), three = ts_constant(ids.graph, TS_I32, ts_scalar, 3);
    return ts_assign_slots(ts_where(ts_less(ids, three), ids, none), 3, 2);
}

static TsTensor build_there(const TsTensor *in)
{
    return ts_dispatch(in[0], assign(in[1]).slots, TS_NONE, 3, 2);
}

static TsTensor build_there_weighed(const TsTensor *in)
{
    return ts_dispatch(in[0], assign(in[2]).slots, in[1], 3, 2);
}

static TsTensor build_back(const TsTensor *in)
{
    return ts_collect(in[0], assign(in[1]).slots, TS_NONE);
}

static TsTensor build_back_weighed(const TsTensor *in)
{
    return ts_collect(in[0], assign(in[2]).slots, in[1]);
}

static TsTensor build_counts(const TsTensor *in)
{
    TsRouted routed = assign(in[1]);
    TsDtype dtype = ts_dtype_of(in[0]);
    TsTensor counts = ts_sum(ts_cast(routed.counts, dtype), 1 << 1, false);
    return ts_mul(in[0], ts_add(counts, ts_scale(ts_cast(routed.dropped, dtype), 10)));
}

static TsTensor build_product(const TsTensor *in)
{
    return ts_expert_dot(in[0], in[1]);
}

/* The second derivative goes by every form. */
static TsTensor build_product_gradient(const TsTensor *in)
{
    TsTensor d[2], y = ts_expert_dot(in[0], in[1]);
    ts_gradients(d, ts_sum(ts_mul(y, ts_mul(y, y)), -1, false), in, 2);
    return ts_expert_dot(d[0], d[1]);
}

/* The gradient of the weights alone. */
static TsTensor build_back_weights(const TsTensor *in)
{
    TsTensor d, y = build_back_weighed(in);
    ts_gradients(&d, ts_sum(ts_mul(y, y), -1, false), in + 1, 1);
    return d;
}

#define IDS .id_shape = {3, {5, 4, 2}}, .id_limit = 4

static void contracts(void)
{
    static const OpCase tests[] = {
        {.name = "dispatch", .build = build_there, .inputs = 1, .shape = {{3, {5, 4, 3}}}, IDS},
        {.name = "dispatch, weights",
         .build = build_there_weighed,
         .inputs = 2,
         .shape = {{3, {5, 4, 3}}, {3, {5, 4, 2}}},
         IDS},
        {.name = "collect", .build = build_back, .inputs = 1, .shape = {{4, {3, 5, 2, 3}}}, IDS},
        {.name = "collect, weights",
         .build = build_back_weighed,
         .inputs = 2,
         .shape = {{4, {3, 5, 2, 3}}, {3, {5, 4, 2}}},
         IDS},
        {.name = "weights' gradient",
         .build = build_back_weights,
         .inputs = 2,
         .shape = {{4, {3, 5, 2, 3}}, {3, {5, 4, 2}}},
         .bf16_error = 0.1,
         IDS},
        {.name = "nothing to dispatch",
         .build = build_there_weighed,
         .inputs = 2,
         .shape = {{3, {0, 4, 3}}, {3, {0, 4, 2}}},
         .id_shape = {3, {0, 4, 2}},
         .id_limit = 4},
        {.name = "nothing to collect",
         .build = build_back_weighed,
         .inputs = 2,
         .shape = {{4, {3, 0, 2, 3}}, {3, {0, 4, 2}}},
         .id_shape = {3, {0, 4, 2}},
         .id_limit = 4},
        {.name = "one to dispatch",
         .build = build_there_weighed,
         .inputs = 2,
         .shape = {{3, {1, 1, 1}}, {3, {1, 1, 1}}},
         .id_shape = {3, {1, 1, 1}},
         .id_limit = 4},
        {.name = "one to collect",
         .build = build_back_weighed,
         .inputs = 2,
         .shape = {{4, {3, 1, 2, 1}}, {3, {1, 1, 1}}},
         .id_shape = {3, {1, 1, 1}},
         .id_limit = 4},
        {.name = "expert_dot (1, 3, 1)",
         .build = build_product,
         .inputs = 2,
         .shape = {{3, {1, 3, 1}}, {3, {1, 1, 2}}}},
        {.name = "expert_dot (2, 0, 3)",
         .build = build_product,
         .inputs = 2,
         .shape = {{3, {2, 0, 3}}, {3, {2, 3, 5}}}},
        {.name = "counts", .build = build_counts, .inputs = 1, .shape = {{1, {5}}}, IDS},
        {.name = "expert_dot", .build = build_product, .inputs = 2, .shape = {{4, {3, 4, 2, 5}}, {3, {3, 5, 7}}}},
        {.name = "expert_dot (5, 3, 2)",
         .build = build_product,
         .inputs = 2,
         .shape = {{3, {5, 3, 2}}, {3, {5, 2, 3}}}},
        {.name = "expert_dot's gradient",
         .build = build_product_gradient,
         .inputs = 2,
         .shape = {{4, {3, 2, 2, 4}}, {3, {3, 4, 4}}},
         .f32_error = 1e-4,
         .bf16_error = 0.2} /* products of products, each of them rounded */,
    };
    op_test_contracts(tests, sizeof tests / sizeof *tests);
}

/* First choices before second ones, in the order of tokens. */
static void drops_what_has_no_room(void)
{
    enum { T = 4, K = 2, E = 3 };
    static const int32_t chosen[T * K] = {0, 1, 0, 1, 0, 2, 1, -1};
    static const int32_t right[T * K] = {0, 3, 1, -1, -1, 4, 2, -1};
    TsGraph *graph = ts_graph_create();
    TsTensor ids = ts_input(graph, "ids", TS_I32, ts_shape(1, T, K), ts_replicated);
    TsRouted routed = ts_assign_slots(ids, E, 2);
    ts_output("slots", routed.slots, ts_replicated);
    ts_output("counts", routed.counts, ts_replicated);
    ts_output("dropped", routed.dropped, ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    TsArray *array[4];
    for (int i = 0; i < 4; i++) {
        TsBinding binding = ts_program_binding(program, i);
        array[i] = ts_array_create(NULL, binding.dtype, binding.shape, ts_replicated, (TsArrayOptions){0});
        ts_program_bind(program, binding.name, array[i]);
    }
    memcpy(array[0]->data, chosen, sizeof chosen);
    ts_program_run(program);
    for (int i = 0; i < T * K; i++)
        CU_ASSERT_EQUAL(op_get(array[1], i), right[i]);
    CU_ASSERT_EQUAL(op_get(array[2], 0), 3);
    CU_ASSERT_EQUAL(op_get(array[2], 1), 3);
    CU_ASSERT_EQUAL(op_get(array[2], 2), 1);
    CU_ASSERT_EQUAL(op_get(array[3], 0), 2);
    for (int i = 0; i < 4; i++)
        ts_array_free(&array[i]);
    ts_program_free(&program);
}

static void errors_name_shapes(void)
{
    OP_TEST_ERROR(ts_expert_dot(OP_INPUT("x", 2, 3, 4), OP_INPUT("k", 2, 5, 4)),
                  "expert_dot: (2, 3, 4) does not take (2, 5, 4)");
    OP_TEST_ERROR(ts_assign_slots(OP_INPUT("x", 2, 3, 4), 2, 2), "assign: choices f32 (2, 3, 4): expected i32");
    OP_TEST_ERROR(ts_dispatch(OP_INPUT("x", 2, 3, 4), ts_input(graph, "s", TS_I32, ts_shape(2, 4, 1), ts_replicated),
                              TS_NONE, 2, 2),
                  "dispatch: f32 (2, 3, 4) and i32 (2, 4, 1) do not go together");
}

TEST_MAIN("route", {"contracts", contracts}, {"drops what has no room", drops_what_has_no_room},
          {"errors name shapes", errors_name_shapes})
