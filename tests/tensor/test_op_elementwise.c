/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise ops, with broadcasting, at odd and empty shapes, by the contract of op_test.h.
 */
#include "op_test.h"

#define BINARY(NAME)                                                                                                   \
    static TsTensor build_##NAME(const TsTensor *in)                                                                   \
    {                                                                                                                  \
        return ts_##NAME(in[0], in[1]);                                                                                \
    }
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(maximum)
BINARY(minimum)

#define UNARY(NAME)                                                                                                    \
    static TsTensor build_##NAME(const TsTensor *in)                                                                   \
    {                                                                                                                  \
        return ts_##NAME(in[0]);                                                                                       \
    }
UNARY(exp)
UNARY(ln)
UNARY(sqrt)
UNARY(tanh)
UNARY(sigmoid)
UNARY(relu)
UNARY(silu)
UNARY(gelu)
UNARY(gelu_tanh)

#define TWICE(NAME)                                                                                                    \
    static TsTensor build_d_##NAME(const TsTensor *in)                                                                 \
    {                                                                                                                  \
        return op_d_square(ts_##NAME(in[0]), in);                                                                      \
    }
TWICE(sqrt)
TWICE(tanh)
TWICE(sigmoid)
TWICE(relu)
TWICE(silu)
TWICE(gelu)
TWICE(gelu_tanh)
TWICE(ln)

static TsTensor build_d_maximum(const TsTensor *in)
{
    return op_d_square(ts_maximum(in[0], in[1]), in);
}

static TsTensor build_scale(const TsTensor *in)
{
    return ts_scale(in[0], -2.5);
}

static TsTensor build_shift(const TsTensor *in)
{
    return ts_shift(in[0], 0.75);
}

static TsTensor build_twice(const TsTensor *in)
{
    return ts_mul(ts_add(in[0], in[1]), in[0]); /* an operand read twice */
}

#define OF_TWO(NAME, LOW, HIGH)                                                                                        \
    {.name = #NAME " of (5, 7) and (5, 7)",                                                                            \
     .build = build_##NAME,                                                                                            \
     .inputs = 2,                                                                                                      \
     .shape = {{2, {5, 7}}, {2, {5, 7}}},                                                                              \
     .low = LOW,                                                                                                       \
     .high = HIGH},                                                                                                    \
        {.name = #NAME " of (2, 3, 17) and (17)",                                                                      \
         .build = build_##NAME,                                                                                        \
         .inputs = 2,                                                                                                  \
         .shape = {{3, {2, 3, 17}}, {1, {17}}},                                                                        \
         .low = LOW,                                                                                                   \
         .high = HIGH},                                                                                                \
        {.name = #NAME " of (3, 1, 5) and (4, 1)",                                                                     \
         .build = build_##NAME,                                                                                        \
         .inputs = 2,                                                                                                  \
         .shape = {{3, {3, 1, 5}}, {2, {4, 1}}},                                                                       \
         .low = LOW,                                                                                                   \
         .high = HIGH},                                                                                                \
        {.name = #NAME " of () and (6)",                                                                               \
         .build = build_##NAME,                                                                                        \
         .inputs = 2,                                                                                                  \
         .shape = {{0, {0}}, {1, {6}}},                                                                                \
         .low = LOW,                                                                                                   \
         .high = HIGH},                                                                                                \
        {.name = #NAME " of (3, 0) and (3, 1)",                                                                        \
         .build = build_##NAME,                                                                                        \
         .inputs = 2,                                                                                                  \
         .shape = {{2, {3, 0}}, {2, {3, 1}}},                                                                          \
         .low = LOW,                                                                                                   \
         .high = HIGH},                                                                                                \
    {                                                                                                                  \
        .name = #NAME " of (1, 1) and (1)", .build = build_##NAME, .inputs = 2, .shape = {{2, {1, 1}}, {1, {1}}},      \
        .low = LOW, .high = HIGH                                                                                       \
    }

#define OF_ONE(NAME, LOW, HIGH)                                                                                        \
    {.name = #NAME " of (7, 11)",                                                                                      \
     .build = build_##NAME,                                                                                            \
     .inputs = 1,                                                                                                      \
     .shape = {{2, {7, 11}}},                                                                                          \
     .low = LOW,                                                                                                       \
     .high = HIGH},                                                                                                    \
        {.name = #NAME " of ()", .build = build_##NAME, .inputs = 1, .shape = {{0, {0}}}, .low = LOW, .high = HIGH},   \
    {                                                                                                                  \
        .name = #NAME " of (0, 3)", .build = build_##NAME, .inputs = 1, .shape = {{2, {0, 3}}}, .low = LOW,            \
        .high = HIGH                                                                                                   \
    }

static const OpCase two[] = {
    OF_TWO(add, 0, 0),     OF_TWO(sub, 0, 0),     OF_TWO(mul, 0, 0),   OF_TWO(div, 0.5, 2),
    OF_TWO(maximum, 0, 0), OF_TWO(minimum, 0, 0), OF_TWO(twice, 0, 0),
};

static const OpCase one[] = {
    OF_ONE(exp, -3, 3),  OF_ONE(ln, 0.1, 4),       OF_ONE(sqrt, 0.1, 4), OF_ONE(tanh, -3, 3),
    OF_ONE(relu, -2, 2), OF_ONE(sigmoid, -5, 5),   OF_ONE(silu, -5, 5),  OF_ONE(gelu, -4, 4),
    OF_ONE(scale, 0, 0), OF_ONE(gelu_tanh, -4, 4), OF_ONE(shift, 0, 0),
};

static const OpCase twice[] = {
    OF_ONE(d_sqrt, 0.5, 4),     OF_ONE(d_tanh, -3, 3), OF_ONE(d_sigmoid, -5, 5),
    OF_ONE(d_relu, -2, 2),      OF_ONE(d_silu, -5, 5), OF_ONE(d_gelu, -4, 4),
    OF_ONE(d_gelu_tanh, -2, 2), OF_ONE(d_ln, 0.5, 4),  OF_TWO(d_maximum, 0, 0),
};

static void of_two_operands(void)
{
    op_test_contracts(two, sizeof two / sizeof two[0]);
}

static void of_one_operand(void)
{
    op_test_contracts(one, sizeof one / sizeof one[0]);
}

static void of_gradients(void)
{
    op_test_contracts(twice, sizeof twice / sizeof twice[0]);
}

/* Long enough for several pieces of work and for two threads. */
static void large(void)
{
    static const OpCase tests[] = {
        {.name = "gelu of (37, 1113)",
         .build = build_gelu,
         .inputs = 1,
         .shape = {{2, {37, 1113}}},
         .low = -4,
         .high = 4},
        {.name = "mul of (5, 211, 40) and (211, 1)",
         .build = build_mul,
         .inputs = 2,
         .shape = {{3, {5, 211, 40}}, {2, {211, 1}}},
         .f32_error = 1e-4,
         .bf16_error = 0.08},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_add(OP_INPUT("x", 2, 3), OP_INPUT("y", 2, 4)), "add: (2, 3) does not go with (2, 4)");
    OP_TEST_ERROR(ts_mul(OP_INPUT("x", 2), ts_cast(OP_INPUT("y", 2), TS_F64)), "mul: f32 does not go with f64");
    OP_TEST_ERROR(ts_gelu(ts_input(graph, "x", TS_I32, ts_shape(2), ts_replicated)), "gelu: i32");
    OP_TEST_ERROR(ts_cast(OP_INPUT("x", 2), TS_F16), "f16");
}

TEST_MAIN("elementwise ops", {"of two operands", of_two_operands}, {"of one operand", of_one_operand},
          {"of gradients", of_gradients}, {"large", large}, {"names what does not fit", names_what_does_not_fit})
