/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Dot and attend by the contract of op_test.h.
 */
#include "op_test.h"

static TsTensor build_dot(const TsTensor *in)
{
    return ts_dot(in[0], in[1], (TsDot){.contract = 1});
}

static TsTensor build_dot_two(const TsTensor *in)
{
    return ts_dot(in[0], in[1], (TsDot){.contract = 2});
}

static TsTensor build_dot_first(const TsTensor *in)
{
    return ts_dot(in[0], in[1], (TsDot){.transpose_a = true});
}

static TsTensor build_dot_last(const TsTensor *in)
{
    return ts_dot(in[0], in[1], (TsDot){.transpose_b = true});
}

static TsTensor build_dot_both(const TsTensor *in)
{
    return ts_dot(in[0], in[1], (TsDot){.transpose_a = true, .transpose_b = true});
}

static void dots(void)
{
    static const OpCase tests[] = {
        {.name = "dot (5, 7) (7, 3)", .build = build_dot, .inputs = 2, .shape = {{2, {5, 7}}, {2, {7, 3}}}},
        {.name = "dot (2, 3, 6) (6, 4, 2)", .build = build_dot, .inputs = 2, .shape = {{3, {2, 3, 6}}, {3, {6, 4, 2}}}},
        {.name = "dot (2, 3, 4, 2) (4, 2, 5)",
         .build = build_dot_two,
         .inputs = 2,
         .shape = {{4, {2, 3, 4, 2}}, {3, {4, 2, 5}}}},
        {.name = "dot first (6, 2, 3) (6, 5)",
         .build = build_dot_first,
         .inputs = 2,
         .shape = {{3, {6, 2, 3}}, {2, {6, 5}}}},
        {.name = "dot last (2, 3, 6) (5, 6)",
         .build = build_dot_last,
         .inputs = 2,
         .shape = {{3, {2, 3, 6}}, {2, {5, 6}}}},
        {.name = "dot both (6, 5) (2, 4, 6)",
         .build = build_dot_both,
         .inputs = 2,
         .shape = {{2, {6, 5}}, {3, {2, 4, 6}}}},
        {.name = "dot (7) (7, 3)", .build = build_dot, .inputs = 2, .shape = {{1, {7}}, {2, {7, 3}}}},
        {.name = "dot (7) (7)", .build = build_dot, .inputs = 2, .shape = {{1, {7}}, {1, {7}}}},
        {.name = "dot (0, 7) (7, 3)", .build = build_dot, .inputs = 2, .shape = {{2, {0, 7}}, {2, {7, 3}}}},
        {.name = "dot (4, 0) (0, 3)", .build = build_dot, .inputs = 2, .shape = {{2, {4, 0}}, {2, {0, 3}}}},
        {.name = "dot (1, 1) (1, 1)", .build = build_dot, .inputs = 2, .shape = {{2, {1, 1}}, {2, {1, 1}}}},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static TsTensor attend(const TsTensor *in, TsAttend options)
{
    TsAttended attended = ts_attend(in[0], in[1], in[2], TS_NONE, options);
    /* Both outputs take part. */
    TsShape shape = ts_shape_of_tensor(attended.logsumexp);
    shape.size[shape.dims++] = 1;
    return ts_mul(attended.out, ts_reshape(ts_cast(attended.logsumexp, ts_dtype_of(in[0])), shape));
}

static TsTensor build_attend(const TsTensor *in)
{
    return attend(in, (TsAttend){.scale = 0.7});
}

static TsTensor build_attend_causal(const TsTensor *in)
{
    return attend(in, (TsAttend){.causal = true});
}

static TsTensor build_attend_window(const TsTensor *in)
{
    return attend(in, (TsAttend){.causal = true, .window = 2});
}

static TsTensor build_attend_out(const TsTensor *in)
{
    return ts_attend(in[0], in[1], in[2], TS_NONE, (TsAttend){.causal = true}).out;
}

static TsTensor build_attend_from(const TsTensor *in)
{
    TsTensor first = ts_constant(in[0].graph, TS_I64, ts_scalar, 4);
    return ts_attend(in[0], in[1], in[2], first, (TsAttend){.causal = true}).out;
}

#define QKV(B, TQ, TK, H, HKV, D)                                                                                      \
    3,                                                                                                                 \
    {                                                                                                                  \
        {4, {B, TQ, H, D}}, {4, {B, TK, HKV, D}},                                                                      \
        {                                                                                                              \
            4,                                                                                                         \
            {                                                                                                          \
                B, TK, HKV, D                                                                                          \
            }                                                                                                          \
        }                                                                                                              \
    }

static void attends(void)
{
    static const OpCase tests[] = {
        {.name = "attend", .build = build_attend, QKV(2, 5, 5, 3, 3, 4)},
        {.name = "attend, causal", .build = build_attend_causal, QKV(2, 6, 6, 3, 3, 5)},
        {.name = "attend, causal, out alone", .build = build_attend_out, QKV(1, 6, 6, 2, 2, 8)},
        {.name = "attend, causal, queries at the end", .build = build_attend_causal, QKV(2, 3, 7, 2, 2, 4)},
        {.name = "attend, causal, query_first", .build = build_attend_from, QKV(2, 3, 9, 2, 2, 4)},
        {.name = "attend, window", .build = build_attend_window, QKV(1, 9, 9, 2, 2, 4)},
        {.name = "attend, grouped", .build = build_attend_causal, QKV(2, 5, 5, 6, 2, 4)},
        {.name = "attend, one head for all", .build = build_attend, QKV(2, 5, 4, 3, 1, 4)},
        {.name = "attend, one of each", .build = build_attend_out, QKV(1, 1, 1, 1, 1, 1)},
        {.name = "attend, nothing", .build = build_attend_out, QKV(0, 4, 4, 2, 2, 4)},
        {.name = "attend, no queries", .build = build_attend_out, QKV(2, 0, 4, 2, 2, 4)},
        {.name = "attend, several tiles", .build = build_attend_causal, QKV(1, 150, 300, 2, 1, 8), .f32_error = 1e-4},
        {.name = "attend, several tiles, window",
         .build = build_attend_window,
         QKV(1, 300, 300, 1, 1, 8),
         .f32_error = 1e-4},
    };
    op_test_contracts(tests, sizeof tests / sizeof tests[0]);
}

static void names_what_does_not_fit(void)
{
    OP_TEST_ERROR(ts_dot(OP_INPUT("a", 8, 256), OP_INPUT("b", 384, 512), (TsDot){.contract = 1}),
                  "dot: the last 1 dims of (8, 256) do not go with the first 1 of (384, 512)");
    OP_TEST_ERROR(ts_dot(OP_INPUT("a", 8), OP_INPUT("b", 8), (TsDot){.contract = 2}), "have no 2 dims to contract");
    OP_TEST_ERROR(ts_attend(OP_INPUT("q", 1, 2, 3, 4), OP_INPUT("k", 1, 2, 2, 4), OP_INPUT("v", 1, 2, 2, 4), TS_NONE,
                            (TsAttend){.scale = 1}),
                  "attend: queries (1, 2, 3, 4) do not go with keys (1, 2, 2, 4)");
}

TEST_MAIN("matrix ops", {"dots", dots}, {"attends", attends}, {"names what does not fit", names_what_does_not_fit})
