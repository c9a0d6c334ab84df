/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What attend hides, adds and drops, by the contract of op_test.h and against a softmax over all keys.
 */
#include "op_test.h"

/* Both outputs take part: out times logsumexp. */
static TsTensor both(TsAttended attended)
{
    TsShape shape = ts_shape_of_tensor(attended.logsumexp);
    shape.size[shape.dims++] = 1;
    return ts_mul(attended.out, ts_reshape(ts_cast(attended.logsumexp, ts_dtype_of(attended.out)), shape));
}

/* The ids operand (B, T), in [0, 3): segments, of both queries and keys. */
static TsTensor build_segments(const TsTensor *in)
{
    return both(ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.segments = in[3]}));
}

static TsTensor build_segments_causal(const TsTensor *in)
{
    return both(ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.causal = true, .segments = in[3]}));
}

/* Keys with id 0 are hidden; a query that sees none has an infinite logsumexp, so that out alone is looked at. */
static TsTensor build_keys_seen(const TsTensor *in)
{
    TsTensor seen = ts_greater(in[3], ts_constant(in[3].graph, TS_I32, ts_scalar, 0));
    return ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.keys_seen = seen}).out;
}

static TsTensor build_keys_seen_causal(const TsTensor *in)
{
    TsTensor seen = ts_greater(in[3], ts_constant(in[3].graph, TS_I32, ts_scalar, 0));
    return ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.keys_seen = seen, .causal = true}).out;
}

/* Input 3: bias (H, Tq, Tk). */
static TsTensor build_bias(const TsTensor *in)
{
    return both(ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.bias = op_wide(in[3])}));
}

static TsTensor build_bias_causal(const TsTensor *in)
{
    return both(
        ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.bias = op_wide(in[3]), .causal = true, .window = 4}));
}

/* Input 3: slopes (H). */
static TsTensor build_slopes(const TsTensor *in)
{
    return both(ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.slopes = ts_stop_gradient(op_wide(in[3]))}));
}

static TsTensor build_dropped(const TsTensor *in)
{
    TsAttend options = {.causal = true, .drop_rate = 0.4, .stream = 77};
    options.step = ts_constant(in[0].graph, TS_I64, ts_scalar, 5);
    return both(ts_attend(in[0], in[1], in[2], TS_NONE, options));
}

static TsTensor build_all(const TsTensor *in)
{
    TsGraph *graph = in[0].graph;
    TsAttend options = {
        .causal = true, .window = 5, .drop_rate = 0.2, .stream = 78, .bias = op_wide(in[3]), .segments = in[4]};
    options.step = ts_constant(graph, TS_I64, ts_scalar, 5);
    options.keys_seen = ts_greater(in[4], ts_constant(graph, TS_I32, ts_scalar, 0));
    return ts_attend(in[0], in[1], in[2], ts_constant(graph, TS_I64, ts_scalar, 1), options).out;
}

#define QKV(B, TQ, TK, H, HKV, D)                                                                                      \
    {4, {B, TQ, H, D}}, {4, {B, TK, HKV, D}},                                                                          \
    {                                                                                                                  \
        4,                                                                                                             \
        {                                                                                                              \
            B, TK, HKV, D                                                                                              \
        }                                                                                                              \
    }

/* q (B, Tq, Hkv, G, D) is q (B, Tq, H, D): the same heads, weights that drop included. */
static TsTensor build_named(const TsTensor *in)
{
    TsTensor named = ts_reshape(in[0], ts_shape(2, 5, 3, 2, 4));
    TsAttend options = {.causal = true, .drop_rate = 0.4, .stream = 77};
    options.step = ts_constant(in[0].graph, TS_I64, ts_scalar, 5);
    TsTensor out = ts_attend(named, in[1], in[2], TS_NONE, options).out;
    return ts_sub(ts_reshape(out, ts_shape(2, 5, 6, 4)), ts_attend(in[0], in[1], in[2], TS_NONE, options).out);
}

static void named_groups_are_heads(void)
{
    static const OpCase test = {
        .name = "named groups", .build = build_named, .inputs = 3, .shape = {QKV(2, 5, 5, 6, 3, 4)}};
    OpRun run;
    if (ts_group_size(test_world) > 1 || !op_run_create(&run, &test, TS_F32, NULL, NULL, 1))
        return;
    ts_program_run(run.program);
    for (int64_t i = 0; i < 2 * 5 * 6 * 4; i++)
        CU_ASSERT_EQUAL(op_get(op_array(&run, "out"), i), 0);
    op_run_free(&run);
}

static void contracts(void)
{
    static const OpCase tests[] = {
        {.name = "segments",
         .build = build_segments,
         .inputs = 3,
         .shape = {QKV(2, 7, 7, 2, 2, 4)},
         .id_shape = {2, {2, 7}},
         .id_limit = 3},
        {.name = "segments, causal, grouped",
         .build = build_segments_causal,
         .inputs = 3,
         .shape = {QKV(2, 6, 6, 4, 2, 3)},
         .id_shape = {2, {2, 6}},
         .id_limit = 3},
        {.name = "segments, several tiles",
         .build = build_segments_causal,
         .inputs = 3,
         .shape = {QKV(1, 200, 200, 1, 1, 4)},
         .id_shape = {2, {1, 200}},
         .id_limit = 2,
         .f32_error = 1e-4},
        {.name = "keys seen, cross",
         .build = build_keys_seen,
         .inputs = 3,
         .shape = {QKV(3, 4, 6, 3, 3, 4)},
         .id_shape = {2, {3, 6}},
         .id_limit = 2},
        {.name = "keys seen, causal",
         .build = build_keys_seen_causal,
         .inputs = 3,
         .shape = {QKV(2, 6, 6, 2, 2, 4)},
         .id_shape = {2, {2, 6}},
         .id_limit = 2},
        {.name = "keys seen: none",
         .build = build_keys_seen,
         .inputs = 3,
         .shape = {QKV(1, 3, 5, 2, 2, 4)},
         .id_shape = {2, {1, 5}},
         .id_limit = 1},
        {.name = "bias", .build = build_bias, .inputs = 4, .shape = {QKV(3, 4, 5, 3, 3, 4), {3, {3, 4, 5}}}},
        {.name = "bias, nothing", .build = build_bias, .inputs = 4, .shape = {QKV(0, 4, 5, 3, 3, 4), {3, {3, 4, 5}}}},
        {.name = "bias, one of each",
         .build = build_bias,
         .inputs = 4,
         .shape = {QKV(1, 1, 1, 1, 1, 1), {3, {1, 1, 1}}}},
        {.name = "bias, causal, window, grouped",
         .build = build_bias_causal,
         .inputs = 4,
         .shape = {QKV(2, 6, 6, 4, 2, 4), {3, {4, 6, 6}}}},
        {.name = "groups that q names",
         .build = build_dropped,
         .inputs = 3,
         .shape = {{5, {2, 5, 3, 2, 4}}, {4, {2, 5, 3, 4}}, {4, {2, 5, 3, 4}}}},
        {.name = "groups that q names, bias, causal, window",
         .build = build_bias_causal,
         .inputs = 4,
         .shape = {{5, {2, 6, 3, 2, 4}}, {4, {2, 6, 3, 4}}, {4, {2, 6, 3, 4}}, {4, {3, 2, 6, 6}}}},
        {.name = "bias, several tiles",
         .build = build_bias_causal,
         .inputs = 4,
         .shape = {QKV(2, 140, 140, 2, 2, 4), {3, {2, 140, 140}}},
         .f32_error = 1e-4},
        {.name = "slopes",
         .build = build_slopes,
         .inputs = 4,
         .shape = {QKV(2, 5, 7, 3, 3, 4), {1, {3}}},
         .no_gradient = 8},
        {.name = "dropped", .build = build_dropped, .inputs = 3, .shape = {QKV(3, 6, 6, 3, 3, 4)}},
        {.name = "dropped, several tiles, grouped",
         .build = build_dropped,
         .inputs = 3,
         .shape = {QKV(2, 150, 150, 4, 2, 4)},
         .f32_error = 1e-4},
        {.name = "all at once",
         .build = build_all,
         .inputs = 4,
         .shape = {QKV(2, 8, 8, 2, 2, 4), {3, {2, 8, 8}}},
         .id_shape = {2, {2, 8}},
         .id_limit = 3},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

/* The same by a softmax over all keys, of scores (B, H, Tq, Tk), where `hidden` (i32, not 0) tells what is not seen. */
static TsTensor plainly(const TsTensor *in, TsTensor bias, TsTensor hidden)
{
    static const int heads_first[] = {0, 2, 1, 3};
    TsTensor q = ts_transpose(in[0], heads_first), k = ts_transpose(in[1], heads_first);
    TsTensor scores = ts_scale(ts_batch_dot(q, k, false, true), 1 / sqrt((double)ts_dim(in[0], -1)));
    if (bias.graph)
        scores = ts_add(scores, bias);
    if (hidden.graph) {
        TsTensor none = ts_constant(hidden.graph, TS_I32, ts_scalar, 0);
        TsTensor never = ts_constant(hidden.graph, ts_dtype_of(scores), ts_scalar, -INFINITY);
        scores = ts_where(ts_equal(hidden, none), scores, never);
    }
    TsTensor weighted = ts_batch_dot(ts_softmax(scores), ts_transpose(in[2], heads_first), false, false);
    return ts_transpose(weighted, heads_first);
}

static TsTensor differ_bias(const TsTensor *in)
{
    TsAttend options = {.bias = op_wide(in[3])};
    return ts_sub(ts_attend(in[0], in[1], in[2], TS_NONE, options).out, plainly(in, in[3], TS_NONE));
}

/* Keys whose id is not 0 are hidden. */
static TsTensor differ_keys(const TsTensor *in)
{
    TsTensor none = ts_constant(in[3].graph, TS_I32, ts_scalar, 0);
    TsAttend options = {.keys_seen = ts_equal(in[3], none)};
    TsTensor hidden = ts_reshape(in[3], ts_shape(ts_dim(in[3], 0), 1, 1, ts_dim(in[3], 1)));
    return ts_sub(ts_attend(in[0], in[1], in[2], TS_NONE, options).out, plainly(in, TS_NONE, hidden));
}

/* Slopes (H) as a bias: what each head takes off for a distance. */
static TsTensor differ_slopes(const TsTensor *in)
{
    TsGraph *graph = in[0].graph;
    int64_t queries = ts_dim(in[0], 1), keys = ts_dim(in[1], 1), heads = ts_dim(in[0], 2);
    TsDtype dtype = ts_dtype_of(in[0]);
    TsTensor ones = ts_constant(graph, dtype, ts_shape(keys), 1);
    TsTensor key = ts_shift(ts_running_sum(ones, 0, false), -1);
    TsTensor query = ts_shift(ts_slice(key, 0, 0, queries), (double)(keys - queries));
    TsTensor apart = ts_sub(ts_reshape(query, ts_shape(queries, 1)), key);
    TsTensor distance = ts_maximum(apart, ts_scale(apart, -1));
    TsTensor slopes = ts_stop_gradient(op_wide(in[3]));
    TsTensor bias = ts_scale(ts_mul(ts_reshape(slopes, ts_shape(heads, 1, 1)), distance), -1);
    return ts_sub(ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.slopes = slopes}).out,
                  plainly(in, bias, TS_NONE));
}

/* A case whose output and gradients are all 0. */
static void expect_none(const OpCase *test)
{
    OpRun run;
    if (!op_run_create(&run, test, TS_F64, NULL, NULL, 1))
        return;
    ts_program_run(run.program);
    for (int i = 0; i < run.arrays; i++)
        for (int64_t j = 0;
             ts_program_binding(run.program, i).kind == TS_BIND_OUTPUT && j < ts_array_local_elems(run.array[i]); j++)
            if (!(fabs(op_get(run.array[i], j)) < 1e-13)) {
                fprintf(stderr, "%s: %s[%d] differs by %g\n", test->name, ts_program_binding(run.program, i).name,
                        (int)j, op_get(run.array[i], j));
                CU_FAIL("differs from a softmax over all keys");
            }
    op_run_free(&run);
}

static void equals_a_softmax_over_all_keys(void)
{
    expect_none(
        &(OpCase){.name = "bias", .build = differ_bias, .inputs = 4, .shape = {QKV(2, 4, 5, 3, 3, 4), {3, {3, 4, 5}}}});
    expect_none(&(OpCase){.name = "keys seen",
                          .build = differ_keys,
                          .inputs = 3,
                          .shape = {QKV(2, 4, 7, 3, 3, 4)},
                          .id_shape = {2, {2, 7}},
                          .id_limit = 2});
    expect_none(&(OpCase){.name = "slopes",
                          .build = differ_slopes,
                          .inputs = 4,
                          .shape = {QKV(2, 4, 7, 3, 3, 4), {1, {3}}},
                          .no_gradient = 8});
}

/* Queries and keys of zeros weigh all seen keys alike, so that with values of ones the output counts what is kept: of
 * the last query, with a window of 3, three keys. */
enum { LENGTH = 64 };

static TsTensor kept_weights(const TsTensor *in)
{
    TsTensor ones = ts_shift(ts_scale(in[0], 0), 1), zeros = ts_scale(in[0], 0);
    TsAttend options = {.drop_rate = 0.25, .stream = 9, .step = ts_constant(in[0].graph, TS_I64, ts_scalar, 0)};
    return ts_attend(zeros, zeros, ones, TS_NONE, options).out;
}

static TsTensor window_of_three(const TsTensor *in)
{
    TsTensor zeros = ts_scale(in[0], 0);
    return ts_attend(zeros, zeros, in[0], TS_NONE, (TsAttend){.causal = true, .window = 3}).out;
}

static void run_one(const OpCase *test, void (*check)(const OpRun *run))
{
    OpRun run;
    if (!op_run_create(&run, test, TS_F64, NULL, NULL, 1))
        return;
    ts_program_run(run.program);
    check(&run);
    op_run_free(&run);
}

static void check_kept(const OpRun *run)
{
    const TsArray *out = op_array(run, "out");
    int64_t rows = ts_array_local_elems(out), unlike = 0;
    double mean = 0;
    for (int64_t i = 0; i < rows; i++) {
        double kept = op_get(out, i) * 0.75 * LENGTH; /* a count */
        CU_ASSERT_DOUBLE_EQUAL(kept, round(kept), 1e-9);
        unlike += i > 0 && op_get(out, i) != op_get(out, i - 1);
        mean += op_get(out, i) / (double)rows;
    }
    CU_ASSERT_DOUBLE_EQUAL(mean, 1, 0.015); /* three standard deviations of 16384 weights */
    CU_ASSERT(unlike > rows / 2);           /* each row has a mask of its own */
}

static void check_window(const OpRun *run)
{
    const TsArray *x = op_array(run, "x0"), *out = op_array(run, "out");
    for (int64_t i = 0; i < LENGTH; i++) {
        double sum = 0, count = 0;
        for (int64_t j = i > 2 ? i - 2 : 0; j <= i; j++, count++)
            sum += op_get(x, j);
        CU_ASSERT_DOUBLE_EQUAL(op_get(out, i), sum / count, 1e-14);
    }
}

static void drops_at_its_rate_and_windows_hold_so_many(void)
{
    run_one(&(OpCase){.name = "kept", .build = kept_weights, .inputs = 1, .shape = {{4, {2, LENGTH, 2, 1}}}},
            check_kept);
    run_one(&(OpCase){.name = "window", .build = window_of_three, .inputs = 1, .shape = {{4, {1, LENGTH, 1, 1}}}},
            check_window);
}

static void names_what_does_not_fit(void)
{
#define QKV_INPUTS OP_INPUT("q", 1, 2, 3, 4), OP_INPUT("k", 1, 5, 3, 4), OP_INPUT("v", 1, 5, 3, 4), TS_NONE
    OP_TEST_ERROR(ts_attend(QKV_INPUTS, (TsAttend){.bias = OP_INPUT("b", 3, 5, 2)}),
                  "attend: bias is f32 (3, 5, 2), expected f32 (3, 2, 5)");
    OP_TEST_ERROR(ts_attend(QKV_INPUTS, (TsAttend){.keys_seen = OP_INPUT("m", 1, 5)}),
                  "attend: keys_seen is f32 (1, 5), expected bool (1, 5)");
    OP_TEST_ERROR(ts_attend(QKV_INPUTS, (TsAttend){.drop_rate = 0.5}), "attend: a drop_rate without a step");
    OP_TEST_ERROR(
        ts_attend(QKV_INPUTS, (TsAttend){.segments = ts_input(graph, "s", TS_I32, ts_shape(1, 2), ts_replicated)}),
        "attend: key_segments is i32 (1, 2), expected i32 (1, 5)");
}

TEST_MAIN("attend's options", {"contracts", contracts}, {"named groups are heads", named_groups_are_heads},
          {"equals a softmax over all keys", equals_a_softmax_over_all_keys},
          {"drops at its rate, and windows hold so many", drops_at_its_rate_and_windows_hold_so_many},
          {"names what does not fit", names_what_does_not_fit})
