/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary, gated forms, batch_dot and conv1d by the contract of op_test.h; what rotary does to products of queries and
 * keys.
 */
#include "op_test.h"

static TsTensor build_rotary(const TsTensor *in)
{
    return ts_rotary(in[0], TS_NONE, (TsRotary){.base = 100});
}

static TsTensor build_rotary_neighbours(const TsTensor *in)
{
    return ts_rotary(in[0], TS_NONE, (TsRotary){.base = 100, .interleaved = true});
}

static TsTensor build_rotary_part(const TsTensor *in)
{
    TsTensor first = ts_constant(in[0].graph, TS_I64, ts_scalar, 40);
    return ts_rotary(in[0], first, (TsRotary){.turned = 4});
}

static void rotaries(void)
{
    static const OpCase tests[] = {
        {.name = "rotary (2, 5, 3, 6)", .build = build_rotary, .inputs = 1, .shape = {{4, {2, 5, 3, 6}}}},
        {.name = "rotary neighbours", .build = build_rotary_neighbours, .inputs = 1, .shape = {{4, {2, 5, 3, 6}}}},
        {.name = "rotary part, from 40", .build = build_rotary_part, .inputs = 1, .shape = {{4, {3, 7, 2, 7}}}},
        {.name = "rotary (1, 1, 1, 2)", .build = build_rotary, .inputs = 1, .shape = {{4, {1, 1, 1, 2}}}},
        {.name = "rotary (2, 0, 3, 4)", .build = build_rotary, .inputs = 1, .shape = {{4, {2, 0, 3, 4}}}},
        {.name = "rotary, threads", .build = build_rotary, .inputs = 1, .shape = {{4, {2, 40, 3, 64}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_swiglu(const TsTensor *in)
{
    return ts_swiglu(in[0], in[1]);
}

static TsTensor build_geglu(const TsTensor *in)
{
    return ts_geglu(in[0], in[1]);
}

static TsTensor build_batch_dot(const TsTensor *in)
{
    return ts_batch_dot(in[0], in[1], false, false);
}

static TsTensor build_batch_dot_a(const TsTensor *in)
{
    return ts_batch_dot(in[0], in[1], true, false);
}

static TsTensor build_batch_dot_b(const TsTensor *in)
{
    return ts_batch_dot(in[0], in[1], false, true);
}

static TsTensor build_batch_dot_both(const TsTensor *in)
{
    return ts_batch_dot(in[0], in[1], true, true);
}

static TsTensor build_same(const TsTensor *in)
{
    return ts_conv1d(in[0], in[1], TS_CONV1D_SAME);
}

static TsTensor build_causal(const TsTensor *in)
{
    return ts_conv1d(in[0], in[1], TS_CONV1D_CAUSAL);
}

static TsTensor build_valid(const TsTensor *in)
{
    return ts_conv1d(in[0], in[1], TS_CONV1D_VALID);
}

/* Both gradients: of x (B, T, C) and of the kernel (K, C, D), whose product is (B, T, D). */
static TsTensor build_d_causal(const TsTensor *in)
{
    TsTensor d[2], y = build_causal(in);
    ts_gradients(d, ts_sum(ts_mul(y, y), -1, false), in, 2);
    return ts_conv1d(d[0], d[1], TS_CONV1D_SAME);
}

static void convolutions(void)
{
    static const OpCase tests[] = {
        {.name = "conv1d's gradients",
         .build = build_d_causal,
         .inputs = 2,
         .shape = {{3, {2, 5, 3}}, {3, {3, 3, 2}}},
         .f32_error = 1e-4,
         .bf16_error = 0.5}, /* products of products */
        {.name = "conv1d same", .build = build_same, .inputs = 2, .shape = {{3, {2, 6, 3}}, {3, {4, 3, 2}}}},
        {.name = "conv1d causal", .build = build_causal, .inputs = 2, .shape = {{3, {3, 6, 3}}, {3, {3, 3, 5}}}},
        {.name = "conv1d valid", .build = build_valid, .inputs = 2, .shape = {{3, {2, 7, 3}}, {3, {3, 3, 3}}}},
        {.name = "conv1d of one tap", .build = build_same, .inputs = 2, .shape = {{3, {2, 3, 3}}, {3, {1, 3, 2}}}},
        {.name = "conv1d, one of each", .build = build_same, .inputs = 2, .shape = {{3, {1, 3, 1}}, {3, {2, 1, 1}}}},
        {.name = "conv1d, longer than x", .build = build_same, .inputs = 2, .shape = {{3, {2, 2, 3}}, {3, {7, 3, 2}}}},
        {.name = "conv1d, nothing left", .build = build_valid, .inputs = 2, .shape = {{3, {2, 2, 3}}, {3, {3, 3, 2}}}},
        {.name = "conv1d of none", .build = build_causal, .inputs = 2, .shape = {{3, {0, 4, 3}}, {3, {2, 3, 2}}}},
        {.name = "conv1d, several tiles",
         .build = build_causal,
         .inputs = 2,
         .shape = {{3, {2, 600, 7}}, {3, {5, 7, 6}}},
         .f32_error = 2e-4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void products(void)
{
    static const OpCase tests[] = {
        {.name = "swiglu", .build = build_swiglu, .inputs = 2, .shape = {{2, {4, 6}}, {2, {4, 6}}}},
        {.name = "geglu", .build = build_geglu, .inputs = 2, .shape = {{2, {4, 6}}, {2, {4, 6}}}},
        {.name = "batch_dot", .build = build_batch_dot, .inputs = 2, .shape = {{3, {3, 4, 5}}, {3, {3, 5, 2}}}},
        {.name = "batch_dot, two batch dims",
         .build = build_batch_dot,
         .inputs = 2,
         .shape = {{4, {2, 3, 4, 5}}, {4, {2, 3, 5, 6}}}},
        {.name = "batch_dot a", .build = build_batch_dot_a, .inputs = 2, .shape = {{3, {3, 5, 4}}, {3, {3, 5, 2}}}},
        {.name = "batch_dot b", .build = build_batch_dot_b, .inputs = 2, .shape = {{3, {3, 4, 5}}, {3, {3, 2, 5}}}},
        {.name = "batch_dot both",
         .build = build_batch_dot_both,
         .inputs = 2,
         .shape = {{3, {3, 5, 4}}, {3, {3, 2, 5}}}},
        {.name = "batch_dot (4, 5) (5, 3)", .build = build_batch_dot, .inputs = 2, .shape = {{2, {4, 5}}, {2, {5, 3}}}},
        {.name = "batch_dot (1, 3, 1)",
         .build = build_batch_dot,
         .inputs = 2,
         .shape = {{3, {1, 3, 1}}, {3, {1, 1, 2}}}},
        {.name = "batch_dot of none", .build = build_batch_dot, .inputs = 2, .shape = {{3, {0, 4, 5}}, {3, {0, 5, 2}}}},
        {.name = "batch_dot over none",
         .build = build_batch_dot,
         .inputs = 2,
         .shape = {{3, {2, 4, 0}}, {3, {2, 0, 3}}}},
        {.name = "batch_dot, threads",
         .build = build_batch_dot,
         .inputs = 2,
         .shape = {{3, {6, 40, 50}}, {3, {6, 50, 60}}},
         .f32_error = 1e-4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

/* The product of a turned query and a turned key depends on how far apart they stand, not on where. */
static void rotary_knows_distances_alone(void)
{
    enum { LENGTH = 6, WIDTH = 8 };
    for (int neighbours = 0; neighbours < 2; neighbours++) {
        TsGraph *graph = ts_graph_create();
        TsProgram *program = NULL;
        TsShape one = ts_shape(1, 1, 1, WIDTH), long_one = ts_shape(1, LENGTH, 1, WIDTH);
        TsTensor q = ts_input(graph, "q", TS_F64, one, ts_replicated);
        TsTensor zeros = ts_constant(graph, TS_F64, long_one, 0);
        TsRotary options = {.interleaved = neighbours != 0};
        TsTensor turned = ts_rotary(ts_add(zeros, q), TS_NONE, options);
        TsTensor flat = ts_reshape(turned, ts_shape(LENGTH, WIDTH));
        ts_output("out", ts_dot(flat, flat, (TsDot){.transpose_b = true}), ts_replicated);
        TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
        TsArrayOptions plain = {.shared = false};
        TsArray *in = ts_array_create(NULL, TS_F64, one, ts_replicated, plain);
        TsArray *out = ts_array_create(NULL, TS_F64, ts_shape(LENGTH, LENGTH), ts_replicated, plain);
        for (int i = 0; i < WIDTH; i++)
            ((double *)in->data)[i] = op_number(3, i);
        ts_program_bind(program, "q", in);
        ts_program_bind(program, "out", out);
        ts_program_run(program);
        const double *product = out->data;
        for (int i = 1; i < LENGTH; i++)
            for (int j = 1; j < LENGTH; j++)
                CU_ASSERT_DOUBLE_EQUAL(product[i * LENGTH + j], product[(i - 1) * LENGTH + j - 1], 1e-12);
        CU_ASSERT(fabs(product[1] - product[0]) > 1e-3);
        ts_program_free(&program);
        ts_array_free(&in);
        ts_array_free(&out);
    }
}

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_rotary(OP_INPUT("x", 2, 3, 4), TS_NONE, (TsRotary){.base = 0}),
                  "rotary: (2, 3, 4): expected (B, T, H, D)");
    OP_TEST_ERROR(ts_rotary(OP_INPUT("x", 2, 3, 4, 5), TS_NONE, (TsRotary){.base = 0}),
                  "rotary: 5 of the width of (2, 3, 4, 5): expected an even number");
    OP_TEST_ERROR(
        ts_rotary(OP_INPUT("x", 2, 3, 4, 6), TS_NONE, (TsRotary){.scaling = {.factor = 2, .low = 4, .high = 4}}),
        "rotary: scaling by 2 of what has 4 to 4 waves in 0 positions");
    OP_TEST_ERROR(ts_batch_dot(OP_INPUT("a", 2, 3, 4), OP_INPUT("b", 3, 4, 5), false, false),
                  "batch_dot: (2, 3, 4) does not go with (3, 4, 5)");
    OP_TEST_ERROR(ts_conv1d(OP_INPUT("x", 2, 3, 4), OP_INPUT("k", 3, 5, 5), TS_CONV1D_SAME),
                  "conv1d: (2, 3, 4) does not go with a kernel (3, 5, 5)");
    OP_TEST_ERROR(ts_conv1d(OP_INPUT("x", 2, 3, 4), OP_INPUT("k", 6, 4, 5), TS_CONV1D_VALID),
                  "conv1d: (2, 3, 4) is shorter than a kernel (6, 4, 5)");
}

TEST_MAIN("ops of sequences", {"rotaries", rotaries}, {"products", products}, {"convolutions", convolutions},
          {"rotary knows distances alone", rotary_knows_distances_alone},
          {"names what does not fit", names_what_does_not_fit})
