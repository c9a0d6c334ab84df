/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Random ops: gradients and placements by the contract of op_test.h, rates, independence of steps; and argmax.
 */
#include "op_test.h"

#include <stdlib.h>

static TsTensor build_drop(const TsTensor *in)
{
    TsTensor step = ts_constant(in[0].graph, TS_I64, ts_scalar, 7);
    return ts_drop(in[0], step, 0.25, 0x123456789abcdef0u);
}

static TsTensor build_drop_all(const TsTensor *in)
{
    return ts_drop(in[0], ts_constant(in[0].graph, TS_I64, ts_scalar, 7), 1, 5);
}

static TsTensor build_noisy(const TsTensor *in)
{
    TsTensor noise =
        ts_gumbel(ts_constant(in[0].graph, TS_I64, ts_scalar, 3), ts_shape_of_tensor(in[0]), 0x123456789abcdef0u);
    return ts_add(in[0], ts_cast(noise, ts_dtype_of(in[0])));
}

static TsTensor build_noisier(const TsTensor *in)
{
    TsTensor step = ts_constant(in[0].graph, TS_I64, ts_scalar, 3);
    TsShape shape = ts_shape_of_tensor(in[0]);
    TsTensor noise = ts_add(ts_uniform(step, shape, 11), ts_normal(step, shape, 12));
    return ts_mul(in[0], ts_cast(noise, ts_dtype_of(in[0])));
}

/* In f32 whatever the operand is: noise is made where it is wanted, not cut after it was made. */
static TsTensor build_noise_in_parts(const TsTensor *in)
{
    TsTensor step = ts_constant(in[0].graph, TS_I64, ts_scalar, 3), x = ts_cast(in[0], TS_F32);
    TsShape shape = ts_shape_of_tensor(x);
    x = ts_mul(x, ts_uniform(step, shape, 11));
    return ts_add(ts_mul(x, ts_normal(step, shape, 12)), ts_gumbel(step, shape, 13));
}

static TsTensor build_argmax(const TsTensor *in)
{
    return ts_mul(ts_cast(ts_argmax(in[0]), ts_dtype_of(in[0])), ts_max(in[0], 2, false));
}

static void contracts(void)
{
    static const OpCase tests[] = {
        {.name = "drop (7, 5, 3)", .build = build_drop, .inputs = 1, .shape = {{3, {7, 5, 3}}}},
        {.name = "drop (90, 101)", .build = build_drop, .inputs = 1, .shape = {{2, {90, 101}}}},
        {.name = "drop (0, 5)", .build = build_drop, .inputs = 1, .shape = {{2, {0, 5}}}},
        {.name = "drop all (4, 5)", .build = build_drop_all, .inputs = 1, .shape = {{2, {4, 5}}}},
        {.name = "uniform and normal (6, 9)", .build = build_noisier, .inputs = 1, .shape = {{2, {6, 9}}}},
        {.name = "gumbel (6, 9)", .build = build_noisy, .inputs = 1, .shape = {{2, {6, 9}}}},
        {.name = "gumbel (150, 200)", .build = build_noisy, .inputs = 1, .shape = {{2, {150, 200}}}},
        {.name = "argmax (6, 9)", .build = build_argmax, .inputs = 1, .shape = {{2, {6, 9}}}},
        {.name = "drop (1, 5)", .build = build_drop, .inputs = 1, .shape = {{2, {1, 5}}}},
        {.name = "uniform and normal (0, 3)", .build = build_noisier, .inputs = 1, .shape = {{2, {0, 3}}}},
        {.name = "uniform and normal (1, 1)", .build = build_noisier, .inputs = 1, .shape = {{2, {1, 1}}}},
        {.name = "gumbel (0, 3)", .build = build_noisy, .inputs = 1, .shape = {{2, {0, 3}}}},
        {.name = "gumbel (1, 1)", .build = build_noisy, .inputs = 1, .shape = {{2, {1, 1}}}},
        {.name = "noise in parts (6, 9)",
         .build = build_noise_in_parts,
         .inputs = 1,
         .shape = {{2, {6, 9}}},
         .no_gradient = 1,
         .cut_error = 1e-6},
        {.name = "argmax (0, 5)", .build = build_argmax, .inputs = 1, .shape = {{2, {0, 5}}}},
        {.name = "argmax (6, 1)", .build = build_argmax, .inputs = 1, .shape = {{2, {6, 1}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

/* A run of `build` of a constant 1 of 10^5 elements, at a step that is an input. */
enum { MANY = 100000 };

static TsProgram *at_steps(TsTensor (*build)(TsGraph *graph, TsTensor step), TsArray *step, TsArray *out)
{
    TsProgram *program = NULL;
    TsGraph *graph = ts_graph_create();
    TsTensor of = build(graph, ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated));
    ts_output("out", of, ts_replicated);
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.threads = 1}));
    ts_program_bind(program, "step", step);
    ts_program_bind(program, "out", out);
    return program;
}

static TsTensor dropped_ones(TsGraph *graph, TsTensor step)
{
    return ts_drop(ts_constant(graph, TS_F32, ts_shape(MANY), 1), step, 0.3, 99);
}

static TsTensor gumbel(TsGraph *graph, TsTensor step)
{
    (void)graph;
    return ts_gumbel(step, ts_shape(MANY), 99);
}

static TsTensor uniform(TsGraph *graph, TsTensor step)
{
    (void)graph;
    return ts_uniform(step, ts_shape(MANY), 99);
}

static TsTensor normal(TsGraph *graph, TsTensor step)
{
    (void)graph;
    return ts_normal(step, ts_shape(MANY), 99);
}

static void drops_at_its_rate_anew_each_step(void)
{
    TsArray *step = ts_array_create(NULL, TS_I64, ts_scalar, ts_replicated, (TsArrayOptions){.shared = false});
    TsArray *out = ts_array_create(NULL, TS_F32, ts_shape(MANY), ts_replicated, (TsArrayOptions){.shared = false});
    float *before = ts_calloc(MANY, sizeof *before);
    TsProgram *program = at_steps(dropped_ones, step, out);
    for (int s = 0; s < 2; s++) {
        int64_t dropped = 0, same = 0;
        *(int64_t *)step->data = s;
        ts_program_run(program);
        for (int64_t i = 0; i < MANY; i++) {
            float value = ((float *)out->data)[i];
            CU_ASSERT(value == 0 || fabsf(value - 1 / 0.7f) < 1e-6f);
            dropped += value == 0;
            same += value == before[i];
            before[i] = value;
        }
        CU_ASSERT(llabs(dropped - 30000) < 600); /* four standard deviations */
        CU_ASSERT(s == 0 || llabs(same - 58000) < 700);
    }
    ts_program_free(&program);
    ts_array_free(&step);
    ts_array_free(&out);
    ts_free(before);
}

static void check_moments(TsTensor (*build)(TsGraph *graph, TsTensor step), double mean, double variance, double least,
                          double most)
{
    TsArray *step = ts_array_create(NULL, TS_I64, ts_scalar, ts_replicated, (TsArrayOptions){.shared = false});
    TsArray *out = ts_array_create(NULL, TS_F32, ts_shape(MANY), ts_replicated, (TsArrayOptions){.shared = false});
    TsProgram *program = at_steps(build, step, out);
    double sum = 0, squares = 0;
    ts_program_run(program);
    for (int64_t i = 0; i < MANY; i++) {
        double value = (double)((float *)out->data)[i];
        CU_ASSERT(value > least && value < most);
        sum += value / MANY;
        squares += value * value / MANY;
    }
    CU_ASSERT_DOUBLE_EQUAL(sum, mean, 0.02);
    CU_ASSERT_DOUBLE_EQUAL(squares - sum * sum, variance, 0.025 * variance);
    ts_program_free(&program);
    ts_array_free(&step);
    ts_array_free(&out);
}

static void noise_has_its_moments(void)
{
    check_moments(uniform, 0.5, 1.0 / 12, 0, 1);
    check_moments(normal, 0, 1, -7, 7);
    check_moments(gumbel, 0.57721566, 3.14159265 * 3.14159265 / 6, -4, 30); /* Euler's constant */
}

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_drop(OP_INPUT("x", 2), ts_input(graph, "s", TS_I64, ts_scalar, ts_replicated), 1.5, 1),
                  "drop: a rate of 1.5 is not in [0, 1]");
    OP_TEST_ERROR(ts_drop(OP_INPUT("x", 2), OP_INPUT("s", 1), 0.5, 1), "step is f32 (1), expected a scalar of i64");
    OP_TEST_ERROR(ts_argmax(OP_INPUT("x", 2, 0)), "argmax: (2, 0) has nothing in its last dim");
}

TEST_MAIN("random ops", {"contracts", contracts},
          {"drops at its rate, anew each step", drops_at_its_rate_anew_each_step},
          {"noise has its moments", noise_has_its_moments}, {"names what does not fit", names_what_does_not_fit})
