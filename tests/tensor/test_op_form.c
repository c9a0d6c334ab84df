/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Ops that move elements without computing, by the contract of op_test.h.
 */
#include "op_test.h"

static TsTensor build_merge(const TsTensor *in)
{
    return ts_reshape(in[0], ts_shape(ts_dim(in[0], 0), ts_dim(in[0], 1) * ts_dim(in[0], 2)));
}

static TsTensor build_split(const TsTensor *in)
{
    return ts_reshape(in[0], ts_shape(ts_dim(in[0], 0), 2, ts_dim(in[0], 1) / 2));
}

static TsTensor build_flat(const TsTensor *in)
{
    return ts_reshape(ts_scale(in[0], 2), ts_shape(ts_shape_elems(ts_shape_of_tensor(in[0]))));
}

static TsTensor build_turned(const TsTensor *in)
{
    return ts_transpose(in[0], (int[]){1, 0});
}

static TsTensor build_heads(const TsTensor *in)
{
    return ts_transpose(in[0], (int[]){0, 2, 1, 3});
}

static TsTensor build_rotated(const TsTensor *in)
{
    return ts_transpose(in[0], (int[]){2, 0, 1});
}

static TsTensor build_slice(const TsTensor *in)
{
    return ts_slice(in[0], 1, 1, 3);
}

static TsTensor build_slice_first(const TsTensor *in)
{
    return ts_slice(in[0], 0, 2, 0);
}

static TsTensor build_join_last(const TsTensor *in)
{
    return ts_concatenate(in, 3, -1);
}

static TsTensor build_join_first(const TsTensor *in)
{
    return ts_concatenate(in, 2, 0);
}

static TsTensor build_update(const TsTensor *in)
{
    return ts_update(in[0], in[1], ts_constant(in[0].graph, TS_I64, ts_scalar, 2), 1);
}

static TsTensor build_update_mul(const TsTensor *in)
{
    TsTensor first = ts_constant(in[0].graph, TS_I64, ts_scalar, 1);
    return ts_mul(ts_update(in[0], in[1], first, 0), in[0]);
}

static TsTensor build_d_slice(const TsTensor *in)
{
    return op_d_square(build_slice(in), in);
}

/* The gradient of the block alone, of a cube: x takes no part. */
static TsTensor build_d_update(const TsTensor *in)
{
    TsTensor d, y = build_update(in);
    ts_gradients(&d, ts_sum(ts_mul(y, ts_mul(y, y)), -1, false), in + 1, 1);
    return d;
}

static TsTensor build_expand(const TsTensor *in)
{
    return ts_expand(in[0], ts_shape(2, 3, 5));
}

/* Through what takes the operand as it was before: one element, a unary op, both operands expanded. */
static TsTensor build_expanded_again(const TsTensor *in)
{
    TsTensor wide = ts_expand(ts_sum(in[0], -1, false), ts_shape(3, 5)), tall = ts_expand(in[0], ts_shape(3, 5));
    TsTensor both = ts_mul(ts_exp(ts_scale(wide, 0.1)), ts_tanh(tall));
    return ts_concatenate((TsTensor[]){ts_add(both, in[1]), tall, ts_div(in[1], ts_shift(ts_mul(wide, wide), 1))}, 3,
                          1);
}

static void expansions(void)
{
    static const OpCase tests[] = {
        {.name = "expand ()", .build = build_expand, .inputs = 1, .shape = {{0, {0}}}},
        {.name = "expand (5)", .build = build_expand, .inputs = 1, .shape = {{1, {5}}}},
        {.name = "expand (3, 1)", .build = build_expand, .inputs = 1, .shape = {{2, {3, 1}}}},
        {.name = "expand (2, 1, 5)", .build = build_expand, .inputs = 1, .shape = {{3, {2, 1, 5}}}},
        {.name = "expanded again", .build = build_expanded_again, .inputs = 2, .shape = {{2, {1, 5}}, {2, {3, 5}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void reshapes(void)
{
    static const OpCase tests[] = {
        {.name = "merge (2, 3, 4)", .build = build_merge, .inputs = 1, .shape = {{3, {2, 3, 4}}}},
        {.name = "split (3, 8)", .build = build_split, .inputs = 1, .shape = {{2, {3, 8}}}},
        {.name = "flat (3, 5)", .build = build_flat, .inputs = 1, .shape = {{2, {3, 5}}}},
        {.name = "flat ()", .build = build_flat, .inputs = 1, .shape = {{0, {0}}}},
        {.name = "merge (2, 0, 4)", .build = build_merge, .inputs = 1, .shape = {{3, {2, 0, 4}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void transposes(void)
{
    static const OpCase tests[] = {
        {.name = "turned (3, 5)", .build = build_turned, .inputs = 1, .shape = {{2, {3, 5}}}},
        {.name = "turned (70, 45)", .build = build_turned, .inputs = 1, .shape = {{2, {70, 45}}}},
        {.name = "turned (300, 190)", .build = build_turned, .inputs = 1, .shape = {{2, {300, 190}}}},
        {.name = "turned (0, 5)", .build = build_turned, .inputs = 1, .shape = {{2, {0, 5}}}},
        {.name = "turned (1, 5)", .build = build_turned, .inputs = 1, .shape = {{2, {1, 5}}}},
        {.name = "heads (2, 5, 3, 4)", .build = build_heads, .inputs = 1, .shape = {{4, {2, 5, 3, 4}}}},
        {.name = "rotated (2, 5, 3)", .build = build_rotated, .inputs = 1, .shape = {{3, {2, 5, 3}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void slices_and_joins(void)
{
    static const OpCase tests[] = {
        {.name = "slice (3, 6, 2)", .build = build_slice, .inputs = 1, .shape = {{3, {3, 6, 2}}}},
        {.name = "slice of nothing", .build = build_slice_first, .inputs = 1, .shape = {{2, {4, 3}}}},
        {.name = "join (3, 2) (3, 1) (3, 4)",
         .build = build_join_last,
         .inputs = 3,
         .shape = {{2, {3, 2}}, {2, {3, 1}}, {2, {3, 4}}}},
        {.name = "join (2, 3) (4, 3)", .build = build_join_first, .inputs = 2, .shape = {{2, {2, 3}}, {2, {4, 3}}}},
        {.name = "join (0, 3) (4, 3)", .build = build_join_first, .inputs = 2, .shape = {{2, {0, 3}}, {2, {4, 3}}}},
        {.name = "slice (2, 5, 1)", .build = build_slice, .inputs = 1, .shape = {{3, {2, 5, 1}}}},
        {.name = "slice (0, 4, 3)", .build = build_slice, .inputs = 1, .shape = {{3, {0, 4, 3}}}},
        {.name = "slice's gradient", .build = build_d_slice, .inputs = 1, .shape = {{3, {3, 6, 2}}}},
        {.name = "update's gradient",
         .build = build_d_update,
         .inputs = 2,
         .shape = {{3, {3, 6, 2}}, {3, {3, 3, 2}}},
         .no_gradient = 1},
        {.name = "update (0, 5, 1) by (0, 3, 1)",
         .build = build_update,
         .inputs = 2,
         .shape = {{3, {0, 5, 1}}, {3, {0, 3, 1}}}},
        {.name = "update (1, 3, 1) by (1, 1, 1)",
         .build = build_update,
         .inputs = 2,
         .shape = {{3, {1, 3, 1}}, {3, {1, 1, 1}}}},
        {.name = "update (3, 6, 2) by (3, 3, 2)",
         .build = build_update,
         .inputs = 2,
         .shape = {{3, {3, 6, 2}}, {3, {3, 3, 2}}}},
        {.name = "update (4, 3) by (2, 3), read again",
         .build = build_update_mul,
         .inputs = 2,
         .shape = {{2, {4, 3}}, {2, {2, 3}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_reshape(OP_INPUT("x", 4, 6), ts_shape(5, 5)), "(4, 6) does not have the elements of (5, 5)");
    OP_TEST_ERROR(ts_expand(OP_INPUT("x", 4, 6), ts_shape(4, 1)), "(4, 6) does not become (4, 1) by repetition");
    OP_TEST_ERROR(ts_transpose(OP_INPUT("x", 4, 6), (int[]){0, 0}), "twice or not there");
    OP_TEST_ERROR(ts_slice(OP_INPUT("x", 4, 6), 1, 4, 3), "[4, 7) of dim 1 is not in (4, 6)");
    OP_TEST_ERROR(ts_slice(OP_INPUT("x", 4, 6), 1, INT64_MAX, 1), "of dim 1 is not in (4, 6)");
    OP_TEST_ERROR(ts_concatenate((TsTensor[]){OP_INPUT("x", 4, 6), OP_INPUT("y", 3, 5)}, 2, 0),
                  "f32 (4, 6) does not go with f32 (3, 5)");
    OP_TEST_ERROR(ts_update(OP_INPUT("x", 4, 6), OP_INPUT("y", 4, 7),
                            ts_input(graph, "first", TS_I64, ts_scalar, ts_replicated), 1),
                  "does not go into");
}

TEST_MAIN("ops of form", {"reshapes", reshapes}, {"transposes", transposes}, {"expansions", expansions},
          {"slices and joins", slices_and_joins}, {"names what does not fit", names_what_does_not_fit})
