/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions, normalize, cross_entropy and take by the contract of op_test.h.
 */
#include "op_test.h"

static TsTensor build_sum_last(const TsTensor *in)
{
    return ts_sum(in[0], 1 << (ts_dims(in[0]) - 1), false);
}

static TsTensor build_sum_first(const TsTensor *in)
{
    return ts_sum(in[0], 1, true);
}

static TsTensor build_sum_ends(const TsTensor *in)
{
    return ts_sum(in[0], 1 | 4, false);
}

static TsTensor build_mean(const TsTensor *in)
{
    return ts_mean(in[0], -1, false);
}

static TsTensor build_mean_middle(const TsTensor *in)
{
    return ts_mean(in[0], 2, false);
}

static TsTensor build_max(const TsTensor *in)
{
    return ts_max(in[0], 2, true);
}

static TsTensor build_max_all(const TsTensor *in)
{
    return ts_max(in[0], -1, false);
}

static TsTensor build_sum_squares(const TsTensor *in)
{
    return ts_sum_squares(in[0]);
}

static void reductions(void)
{
    static const OpCase tests[] = {
        {"sum of the last of (5, 7)", build_sum_last, 1, {{2, {5, 7}}}},
        {"sum of the last of (3, 4, 70)", build_sum_last, 1, {{3, {3, 4, 70}}}},
        {"sum of the first of (6, 67)", build_sum_first, 1, {{2, {6, 67}}}},
        {"sum of the ends of (3, 4, 5)", build_sum_ends, 1, {{3, {3, 4, 5}}}},
        {"sum of the last of (3, 0)", build_sum_last, 1, {{2, {3, 0}}}},
        {"sum of the first of (0, 3)", build_sum_first, 1, {{2, {0, 3}}}},
        {"sum of the last of (1)", build_sum_last, 1, {{1, {1}}}},
        {"sum of the last of (2, 20000)", build_sum_last, 1, {{2, {2, 20000}}}, .f32_error = 1e-4},
        {"sum of the first of (300, 90)", build_sum_first, 1, {{2, {300, 90}}}, .f32_error = 1e-4},
        {"mean of (3, 5, 2)", build_mean, 1, {{3, {3, 5, 2}}}},
        {"mean of the middle of (3, 5, 2)", build_mean_middle, 1, {{3, {3, 5, 2}}}},
        {"max of the middle of (3, 5, 2)", build_max, 1, {{3, {3, 5, 2}}}},
        {"max of (4, 9)", build_max_all, 1, {{2, {4, 9}}}},
        {"sum of squares of (5, 9)", build_sum_squares, 1, {{2, {5, 9}}}},
        {"sum of squares of (3, 0)", build_sum_squares, 1, {{2, {3, 0}}}},
        {"sum of squares of (70000)", build_sum_squares, 1, {{1, {70000}}}, .f32_error = 1e-4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_layer_norm(const TsTensor *in)
{
    return ts_normalize(in[0], in[1], in[2], (TsNormalize){.epsilon = 1e-5});
}

static TsTensor build_rms_norm(const TsTensor *in)
{
    return ts_normalize(in[0], in[1], TS_NONE, (TsNormalize){.epsilon = 1e-6, .rms = true});
}

static TsTensor build_bare_norm(const TsTensor *in)
{
    return ts_normalize(in[0], TS_NONE, TS_NONE, (TsNormalize){.epsilon = 1e-5});
}

static TsTensor build_shifted_norm(const TsTensor *in)
{
    return ts_normalize(in[0], TS_NONE, in[1], (TsNormalize){.epsilon = 1e-5});
}

static void normalizes(void)
{
    static const OpCase tests[] = {
        {"layer norm (2, 5, 9)", build_layer_norm, 3, {{3, {2, 5, 9}}, {1, {9}}, {1, {9}}}, .f32_error = 1e-4},
        {"layer norm (70, 33)", build_layer_norm, 3, {{2, {70, 33}}, {1, {33}}, {1, {33}}}, .f32_error = 1e-4},
        {"layer norm (0, 4)", build_layer_norm, 3, {{2, {0, 4}}, {1, {4}}, {1, {4}}}},
        {"rms norm (3, 8)", build_rms_norm, 2, {{2, {3, 8}}, {1, {8}}}, .f32_error = 1e-4},
        {"rms norm (4, 1)", build_rms_norm, 2, {{2, {4, 1}}, {1, {1}}}, 0.5, 1},
        {"norm (4, 6)", build_bare_norm, 1, {{2, {4, 6}}}, .f32_error = 1e-4},
        {"norm with a bias (4, 6)", build_shifted_norm, 2, {{2, {4, 6}}, {1, {6}}}, .f32_error = 1e-4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_cross_entropy(const TsTensor *in)
{
    return ts_cross_entropy(in[0], in[1], (TsCrossEntropy){.ignore = -100});
}

static TsTensor build_cross_entropy_all(const TsTensor *in)
{
    return ts_cross_entropy(in[0], in[1], (TsCrossEntropy){.ignore = 2, .smoothing = 0.1, .z_loss = 0.01});
}

static void cross_entropies(void)
{
    static const OpCase tests[] = {
        {"cross_entropy (7, 11)", build_cross_entropy, 1, {{2, {7, 11}}}, -4, 4, {1, {7}}, 11},
        {"cross_entropy (2, 3, 5)", build_cross_entropy_all, 1, {{3, {2, 3, 5}}}, -4, 4, {2, {2, 3}}, 5},
        {"cross_entropy (13, 3)", build_cross_entropy_all, 1, {{2, {13, 3}}}, -4, 4, {1, {13}}, 3},
        {"cross_entropy (4, 1)", build_cross_entropy, 1, {{2, {4, 1}}}, -4, 4, {1, {4}}, 1},
        {"cross_entropy (0, 3)", build_cross_entropy, 1, {{2, {0, 3}}}, -4, 4, {1, {0}}, 3},
        {"cross_entropy (50, 701)", build_cross_entropy, 1, {{2, {50, 701}}}, -9, 9, {1, {50}}, 701},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_take(const TsTensor *in)
{
    return ts_take(in[0], in[1]);
}

static void takes(void)
{
    static const OpCase tests[] = {
        {"take (7, 5) by (2, 3)", build_take, 1, {{2, {7, 5}}}, 0, 0, {2, {2, 3}}, 7},
        {"take (3, 40) by (30)", build_take, 1, {{2, {3, 40}}}, 0, 0, {1, {30}}, 3},
        {"take (50, 33) by (40, 20)", build_take, 1, {{2, {50, 33}}}, 0, 0, {2, {40, 20}}, 50, .f32_error = 1e-4},
        {"take (4, 3) by ()", build_take, 1, {{2, {4, 3}}}, 0, 0, {0, {0}}, 4},
        {"take (4, 3) by (0)", build_take, 1, {{2, {4, 3}}}, 0, 0, {1, {0}}, 4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_normalize(OP_INPUT("x", 4, 6), OP_INPUT("scale", 5), TS_NONE, (TsNormalize){.epsilon = 1}),
                  "scale (5) does not go with the last dim of (4, 6)");
    OP_TEST_ERROR(ts_cross_entropy(OP_INPUT("x", 4, 6), ts_input(graph, "y", TS_I32, ts_shape(3), ts_replicated),
                                   (TsCrossEntropy){.ignore = -1}),
                  "logits (4, 6) do not go with labels (3)");
    OP_TEST_ERROR(ts_cross_entropy(OP_INPUT("x", 4, 6), OP_INPUT("y", 4), (TsCrossEntropy){.ignore = -1}),
                  "labels of f32");
    OP_TEST_ERROR(ts_take(OP_INPUT("x", 4), ts_input(graph, "y", TS_I32, ts_shape(3), ts_replicated)),
                  "a table (4) by ids (3)");
    OP_TEST_ERROR(ts_sum(OP_INPUT("x", 4, 6), 4, false), "(4, 6) has 2 dims");
}

TEST_MAIN("ops of rows", {"reductions", reductions}, {"normalizes", normalizes}, {"cross-entropies", cross_entropies},
          {"takes", takes}, {"names what does not fit", names_what_does_not_fit})
