/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions, normalize, cross_entropy and take by the contract of op_test.h.
 */
#include "op_test.h"
#include "tensor/ops/rows.h"

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

static TsTensor build_sum_squares_parts(const TsTensor *in)
{
    return ts_sum_squares_parts(ts_stop_gradient(in[0]), 1, 3);
}

/* One step from a parameter, a gradient, a mean and a root of a variance; all that it gives. */
static TsTensor build_adamw(const TsTensor *in)
{
    TsGraph *graph = in[0].graph;
    TsTensor of[4], one = ts_constant(graph, TS_F32, ts_scalar, 1);
    for (int i = 0; i < 4; i++)
        of[i] = ts_stop_gradient(op_wide(in[i]));
    TsAdamwOut out = ts_adamw((TsAdamwIn){.parameter = of[0],
                                          .gradient = of[1],
                                          .mean = of[2],
                                          .variance = ts_mul(of[3], of[3]),
                                          .rate = ts_scale(one, 0.25),
                                          .factor = ts_scale(one, 0.5),
                                          .step = ts_constant(graph, TS_I64, ts_scalar, 3)},
                              (TsAdamw){.beta1 = 0.75, .beta2 = 0.875, .epsilon = 0.0625, .decay = 0.125});
    return ts_add(ts_mul(out.parameter, ts_shift(out.mean, 2)), out.variance);
}

/* x times what it would be clipped by. */
static TsTensor build_clipped(const TsTensor *in)
{
    TsTensor norm = ts_sqrt(ts_sum_squares(ts_cast(ts_stop_gradient(in[0]), TS_F32)));
    TsTensor factor =
        ts_clip_factor(norm, ts_constant(in[0].graph, TS_F32, ts_scalar, INFINITY), (TsClipFactor){.clip = 0.5});
    return ts_mul(in[0], ts_cast(factor, ts_dtype_of(in[0])));
}

/* What ends a step: these have no gradients. */
static void updates(void)
{
    static const OpCase tests[] = {
        {.name = "sum of squares of parts of (4, 7)",
         .build = build_sum_squares_parts,
         .inputs = 1,
         .shape = {{2, {4, 7}}},
         .no_gradient = 1},
        {.name = "sum of squares of parts of (5, 1)",
         .build = build_sum_squares_parts,
         .inputs = 1,
         .shape = {{2, {5, 1}}},
         .no_gradient = 1},
        {.name = "sum of squares of parts of (0, 4)",
         .build = build_sum_squares_parts,
         .inputs = 1,
         .shape = {{2, {0, 4}}},
         .no_gradient = 1},
        {.name = "adamw (5, 7)",
         .build = build_adamw,
         .inputs = 4,
         .shape = {{2, {5, 7}}, {2, {5, 7}}, {2, {5, 7}}, {2, {5, 7}}},
         .no_gradient = 15},
        {.name = "adamw (1, 3)",
         .build = build_adamw,
         .inputs = 4,
         .shape = {{2, {1, 3}}, {2, {1, 3}}, {2, {1, 3}}, {2, {1, 3}}},
         .no_gradient = 15},
        {.name = "adamw (0, 3)",
         .build = build_adamw,
         .inputs = 4,
         .shape = {{2, {0, 3}}, {2, {0, 3}}, {2, {0, 3}}, {2, {0, 3}}},
         .no_gradient = 15},
        {.name = "clipped (5, 7)",
         .build = build_clipped,
         .inputs = 1,
         .shape = {{2, {5, 7}}},
         .no_gradient = 1,
         .cut_error = 1e-6},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void reductions(void)
{
    static const OpCase tests[] = {
        {.name = "sum of the last of (5, 7)", .build = build_sum_last, .inputs = 1, .shape = {{2, {5, 7}}}},
        {.name = "sum of the last of (3, 4, 70)", .build = build_sum_last, .inputs = 1, .shape = {{3, {3, 4, 70}}}},
        {.name = "sum of the first of (6, 67)", .build = build_sum_first, .inputs = 1, .shape = {{2, {6, 67}}}},
        {.name = "sum of the ends of (3, 4, 5)", .build = build_sum_ends, .inputs = 1, .shape = {{3, {3, 4, 5}}}},
        {.name = "sum of the last of (3, 0)", .build = build_sum_last, .inputs = 1, .shape = {{2, {3, 0}}}},
        {.name = "sum of the first of (0, 3)", .build = build_sum_first, .inputs = 1, .shape = {{2, {0, 3}}}},
        {.name = "sum of the last of (1)", .build = build_sum_last, .inputs = 1, .shape = {{1, {1}}}},
        {.name = "sum of the last of (2, 20000)",
         .build = build_sum_last,
         .inputs = 1,
         .shape = {{2, {2, 20000}}},
         .f32_error = 1e-4},
        {.name = "sum of the first of (300, 90)",
         .build = build_sum_first,
         .inputs = 1,
         .shape = {{2, {300, 90}}},
         .f32_error = 1e-4},
        {.name = "mean of (3, 5, 2)", .build = build_mean, .inputs = 1, .shape = {{3, {3, 5, 2}}}},
        {.name = "mean of the middle of (3, 5, 2)", .build = build_mean_middle, .inputs = 1, .shape = {{3, {3, 5, 2}}}},
        {.name = "max of the middle of (3, 5, 2)", .build = build_max, .inputs = 1, .shape = {{3, {3, 5, 2}}}},
        {.name = "max of (4, 9)", .build = build_max_all, .inputs = 1, .shape = {{2, {4, 9}}}},
        {.name = "sum of squares of (5, 9)", .build = build_sum_squares, .inputs = 1, .shape = {{2, {5, 9}}}},
        {.name = "max of the middle of (0, 5, 2)", .build = build_max, .inputs = 1, .shape = {{3, {0, 5, 2}}}},
        {.name = "sum of squares of (3, 1)", .build = build_sum_squares, .inputs = 1, .shape = {{2, {3, 1}}}},
        {.name = "sum of squares of (3, 0)", .build = build_sum_squares, .inputs = 1, .shape = {{2, {3, 0}}}},
        {.name = "sum of squares of (70000)",
         .build = build_sum_squares,
         .inputs = 1,
         .shape = {{1, {70000}}},
         .f32_error = 1e-4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_layer_norm(const TsTensor *in)
{
    return ts_normalize(in[0], op_wide(in[1]), op_wide(in[2]), (TsNormalize){.epsilon = 1e-5});
}

static TsTensor build_rms_norm(const TsTensor *in)
{
    return ts_normalize(in[0], op_wide(in[1]), TS_NONE, (TsNormalize){.epsilon = 1e-6, .rms = true});
}

static TsTensor build_bare_norm(const TsTensor *in)
{
    return ts_normalize(in[0], TS_NONE, TS_NONE, (TsNormalize){.epsilon = 1e-5});
}

static TsTensor build_shifted_norm(const TsTensor *in)
{
    return ts_normalize(in[0], TS_NONE, in[1], (TsNormalize){.epsilon = 1e-5});
}

static TsTensor build_d_bare_norm(const TsTensor *in)
{
    return op_d_square(ts_mul(build_bare_norm(in), in[0]), in);
}

/* All gradients, of which those but the first are f32 beside bf16. */
static TsTensor all_gradients(TsTensor y, const TsTensor *in, int count)
{
    TsTensor d[3];
    ts_gradients(d, ts_sum(ts_mul(y, y), -1, false), in, count);
    for (int i = 1; i < count; i++)
        d[0] = ts_mul(d[0], ts_cast(d[i], ts_dtype_of(d[0])));
    return d[0];
}

static TsTensor build_d_layer_norm(const TsTensor *in)
{
    return all_gradients(build_layer_norm(in), in, 3);
}

static TsTensor build_d_rms_norm(const TsTensor *in)
{
    return all_gradients(build_rms_norm(in), in, 2);
}

static void normalizes(void)
{
    static const OpCase tests[] = {
        {.name = "layer norm (2, 5, 9)",
         .build = build_layer_norm,
         .inputs = 3,
         .shape = {{3, {2, 5, 9}}, {1, {9}}, {1, {9}}},
         .f32_error = 1e-4},
        {.name = "layer norm (70, 33)",
         .build = build_layer_norm,
         .inputs = 3,
         .shape = {{2, {70, 33}}, {1, {33}}, {1, {33}}},
         .f32_error = 1e-4},
        {.name = "layer norm (0, 4)",
         .build = build_layer_norm,
         .inputs = 3,
         .shape = {{2, {0, 4}}, {1, {4}}, {1, {4}}}},
        {.name = "rms norm (3, 8)",
         .build = build_rms_norm,
         .inputs = 2,
         .shape = {{2, {3, 8}}, {1, {8}}},
         .f32_error = 1e-4},
        {.name = "rms norm (4, 1)",
         .build = build_rms_norm,
         .inputs = 2,
         .shape = {{2, {4, 1}}, {1, {1}}},
         .low = 0.5,
         .high = 1},
        {.name = "norm (4, 6)", .build = build_bare_norm, .inputs = 1, .shape = {{2, {4, 6}}}, .f32_error = 1e-4},
        {.name = "norm's gradient (4, 5)",
         .build = build_d_bare_norm,
         .inputs = 1,
         .shape = {{2, {4, 5}}},
         .f32_error = 1e-3,
         .bf16_error = 0.3},
        {.name = "norm's gradient (0, 3)", .build = build_d_bare_norm, .inputs = 1, .shape = {{2, {0, 3}}}},
        {.name = "norm's gradient (3, 1)", .build = build_d_bare_norm, .inputs = 1, .shape = {{2, {3, 1}}}},
        {.name = "layer norm's gradient (2, 3, 5)",
         .build = build_d_layer_norm,
         .inputs = 3,
         .shape = {{3, {2, 3, 5}}, {1, {5}}, {1, {5}}},
         .f32_error = 1e-3,
         .bf16_error = 0.5},
        {.name = "rms norm's gradient (3, 4)",
         .build = build_d_rms_norm,
         .inputs = 2,
         .shape = {{2, {3, 4}}, {1, {4}}},
         .f32_error = 1e-3,
         .bf16_error = 0.5},
        {.name = "norm with a bias (4, 6)",
         .build = build_shifted_norm,
         .inputs = 2,
         .shape = {{2, {4, 6}}, {1, {6}}},
         .f32_error = 1e-4},
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

static TsTensor build_d_cross_entropy(const TsTensor *in)
{
    return op_d_square(build_cross_entropy(in), in);
}

static TsTensor build_d_cross_entropy_all(const TsTensor *in)
{
    return op_d_square(build_cross_entropy_all(in), in);
}

static void cross_entropies(void)
{
    static const OpCase tests[] = {
        {.name = "cross_entropy's gradient (7, 11)",
         .build = build_d_cross_entropy,
         .inputs = 1,
         .shape = {{2, {7, 11}}},
         .id_shape = {1, {7}},
         .id_limit = 11,
         .bf16_error = 0.1},
        {.name = "cross_entropy's gradient (2, 3, 5)",
         .build = build_d_cross_entropy_all,
         .inputs = 1,
         .shape = {{3, {2, 3, 5}}},
         .id_shape = {2, {2, 3}},
         .id_limit = 5,
         .bf16_error = 0.1},
        {.name = "cross_entropy (3, 1)",
         .build = build_cross_entropy,
         .inputs = 1,
         .shape = {{2, {3, 1}}},
         .id_shape = {1, {3}},
         .id_limit = 1},
        {.name = "cross_entropy (1, 4)",
         .build = build_cross_entropy,
         .inputs = 1,
         .shape = {{2, {1, 4}}},
         .id_shape = {1, {1}},
         .id_limit = 4},
        {.name = "cross_entropy (7, 11)",
         .build = build_cross_entropy,
         .inputs = 1,
         .shape = {{2, {7, 11}}},
         .low = -4,
         .high = 4,
         .id_shape = {1, {7}},
         .id_limit = 11},
        {.name = "cross_entropy (2, 3, 5)",
         .build = build_cross_entropy_all,
         .inputs = 1,
         .shape = {{3, {2, 3, 5}}},
         .low = -4,
         .high = 4,
         .id_shape = {2, {2, 3}},
         .id_limit = 5},
        {.name = "cross_entropy (13, 3)",
         .build = build_cross_entropy_all,
         .inputs = 1,
         .shape = {{2, {13, 3}}},
         .low = -4,
         .high = 4,
         .id_shape = {1, {13}},
         .id_limit = 3},
        {.name = "cross_entropy (4, 1)",
         .build = build_cross_entropy,
         .inputs = 1,
         .shape = {{2, {4, 1}}},
         .low = -4,
         .high = 4,
         .id_shape = {1, {4}},
         .id_limit = 1},
        {.name = "cross_entropy (0, 3)",
         .build = build_cross_entropy,
         .inputs = 1,
         .shape = {{2, {0, 3}}},
         .low = -4,
         .high = 4,
         .id_shape = {1, {0}},
         .id_limit = 3},
        {.name = "cross_entropy (50, 701)",
         .build = build_cross_entropy,
         .inputs = 1,
         .shape = {{2, {50, 701}}},
         .low = -9,
         .high = 9,
         .id_shape = {1, {50}},
         .id_limit = 701},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor build_take(const TsTensor *in)
{
    return ts_take(in[0], in[1]);
}

static TsTensor build_d_take(const TsTensor *in)
{
    return op_d_square(build_take(in), in);
}

/* The rows that ids name, added to a table: what a pass makes of a gradient and a sum. */
static TsTensor build_d_take_added(const TsTensor *in)
{
    return ts_graph_add_one(&ts_op_d_take_added, in, 3, NULL);
}

static void takes(void)
{
    static const OpCase tests[] = {
        {.name = "take (7, 5) by (2, 3)",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {7, 5}}},
         .low = 0,
         .high = 0,
         .id_shape = {2, {2, 3}},
         .id_limit = 7},
        {.name = "take (3, 40) by (30)",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {3, 40}}},
         .low = 0,
         .high = 0,
         .id_shape = {1, {30}},
         .id_limit = 3},
        {.name = "take (50, 33) by (40, 20)",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {50, 33}}},
         .low = 0,
         .high = 0,
         .id_shape = {2, {40, 20}},
         .id_limit = 50,
         .f32_error = 1e-4},
        {.name = "take (4, 3) by ()",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {4, 3}}},
         .low = 0,
         .high = 0,
         .id_shape = {0, {0}},
         .id_limit = 4},
        {.name = "take (1, 3) by (1, 2)",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {1, 3}}},
         .id_shape = {2, {1, 2}},
         .id_limit = 1},
        {.name = "take's gradient (4, 3) by (5)",
         .build = build_d_take,
         .inputs = 1,
         .shape = {{2, {4, 3}}},
         .id_shape = {1, {5}},
         .id_limit = 4,
         .bf16_error = 0.05},
        {.name = "take (4, 0) by (2)",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {4, 0}}},
         .id_shape = {1, {2}},
         .id_limit = 4},
        {.name = "take (4, 3) by (0)",
         .build = build_take,
         .inputs = 1,
         .shape = {{2, {4, 3}}},
         .low = 0,
         .high = 0,
         .id_shape = {1, {0}},
         .id_limit = 4},
        {.name = "rows (2, 3, 5) by (2, 3) added to (7, 5)",
         .build = build_d_take_added,
         .inputs = 2,
         .shape = {{2, {7, 5}}, {3, {2, 3, 5}}},
         .id_shape = {2, {2, 3}},
         .id_limit = 7,
         .bf16_error = 0.05},
        {.name = "rows (30, 40) by (30) added to (3, 40)",
         .build = build_d_take_added,
         .inputs = 2,
         .shape = {{2, {3, 40}}, {2, {30, 40}}},
         .id_shape = {1, {30}},
         .id_limit = 3,
         .bf16_error = 0.05},
        {.name = "rows (1, 1) by (1) added to (1, 1)",
         .build = build_d_take_added,
         .inputs = 2,
         .shape = {{2, {1, 1}}, {2, {1, 1}}},
         .id_shape = {1, {1}},
         .id_limit = 1},
        {.name = "rows (2, 0) by (2) added to (4, 0)",
         .build = build_d_take_added,
         .inputs = 2,
         .shape = {{2, {4, 0}}, {2, {2, 0}}},
         .id_shape = {1, {2}},
         .id_limit = 4},
        {.name = "no rows (0, 3) by (0) added to (4, 3)",
         .build = build_d_take_added,
         .inputs = 2,
         .shape = {{2, {4, 3}}, {2, {0, 3}}},
         .id_shape = {1, {0}},
         .id_limit = 4},
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
          {"takes", takes}, {"updates", updates}, {"names what does not fit", names_what_does_not_fit})
