/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/guard.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "test.h"

static const TsGuardConfig config = {.z_score = 4, .window = 50, .after = 10, .rollbacks = 2};

static TsVerdict step(TsGuard *guard, double loss, double norm)
{
    TsWeightedScalar seen = {loss, 1};
    ts_guard_look(guard, &seen, 0);
    return ts_guard_judge(guard, norm);
}

/* Steps whose losses go up and down by `swing` about 2. */
static void train(TsGuard *guard, int steps, double swing)
{
    for (int i = 0; i < steps; i++)
        CU_ASSERT_EQUAL(step(guard, 2 + (i % 2 ? swing : -swing), 1 + (i % 2 ? 0.1 : -0.1)).doubt, TS_BELIEVED);
}

static void what_is_not_finite(void)
{
    TsGuardConfig open = config;
    open.z_score = INFINITY;
    TsGuard *guard = ts_guard_create(&open, INFINITY, 1, false);
    train(guard, 30, 0.1);
    CU_ASSERT_EQUAL(step(guard, NAN, 1).doubt, TS_LOSS_NOT_FINITE);
    CU_ASSERT_EQUAL(step(guard, INFINITY, 1).doubt, TS_LOSS_NOT_FINITE);
    CU_ASSERT_EQUAL(step(guard, 2, NAN).doubt, TS_NORM_NOT_FINITE);
    CU_ASSERT_EQUAL(step(guard, 1e30, 1e30).doubt, TS_BELIEVED);
    TsWeightedScalar none = {NAN, 0};
    CU_ASSERT_EQUAL(ts_guard_look(guard, &none, 0), INFINITY); /* the task had no loss */
    ts_guard_free(&guard);
    CU_ASSERT_PTR_NULL(guard);
}

/* The mean is 2 and the deviation 0.1, whatever jumped before. */
static void what_jumps(void)
{
    TsGuard *guard = ts_guard_create(&config, 1e6, 1, false);
    train(guard, 200, 0.1);
    for (int i = 0; i < 100; i++) {
        TsVerdict verdict = step(guard, 2.45, 1);
        CU_ASSERT_EQUAL(verdict.doubt, TS_LOSS_JUMPED);
        CU_ASSERT_DOUBLE_EQUAL(verdict.mean, 2, 0.005);
        CU_ASSERT_DOUBLE_EQUAL(verdict.deviation, 0.1, 0.005);
    }
    CU_ASSERT_EQUAL(step(guard, 2.38, 1).doubt, TS_BELIEVED);
    CU_ASSERT_EQUAL(step(guard, -50, 1).doubt, TS_BELIEVED); /* smaller is no jump */
    ts_guard_free(&guard);

    guard = ts_guard_create(&config, 1e6, 1, false);
    train(guard, 200, 0.1);
    TsWeightedScalar seen = {2, 1};
    CU_ASSERT_DOUBLE_EQUAL(ts_guard_look(guard, &seen, 0), 1.4, 0.02);
    CU_ASSERT_EQUAL(ts_guard_judge(guard, 1.5).doubt, TS_NORM_JUMPED);
    CU_ASSERT_EQUAL(step(guard, 2, 2e6).doubt, TS_NORM_TOO_LARGE);
    CU_ASSERT_EQUAL(step(guard, 9, 2e6).doubt, TS_LOSS_JUMPED); /* the loss is looked at first */
    seen.value = 9;
    CU_ASSERT(ts_guard_look(guard, &seen, 0) < 0);
    ts_guard_free(&guard);
}

/* Few steps are no mean, and a plateau is no reason to doubt a change of a hundredth. */
static void what_is_usual(void)
{
    TsGuard *guard = ts_guard_create(&config, INFINITY, 1, false);
    CU_ASSERT_EQUAL(step(guard, 2, 1).doubt, TS_BELIEVED);
    CU_ASSERT_EQUAL(step(guard, 1e9, 1e9).doubt, TS_BELIEVED);
    ts_guard_free(&guard);

    guard = ts_guard_create(&config, INFINITY, 1, false);
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(step(guard, 2, 1).doubt, TS_BELIEVED);
    CU_ASSERT_EQUAL(step(guard, 2.09, 1).doubt, TS_LOSS_JUMPED);
    CU_ASSERT_EQUAL(step(guard, 2.07, 1.03).doubt, TS_BELIEVED);
    ts_guard_free(&guard);

    guard = ts_guard_create(&config, INFINITY, 1, false); /* a level that is reached slowly is usual */
    for (int i = 0; i < 2000; i++)
        CU_ASSERT_EQUAL(step(guard, 2 + 0.01 * i, 1).doubt, TS_BELIEVED);
    CU_ASSERT_EQUAL(step(guard, 30, 1).doubt, TS_LOSS_JUMPED);
    ts_guard_free(&guard);
}

/* Tasks have usual losses of their own, and, where steps are theirs alone, usual norms. */
static void by_task(void)
{
    for (int together = 0; together < 2; together++) {
        TsGuard *guard = ts_guard_create(&config, INFINITY, 2, together);
        for (int i = 0; i < 40; i++) {
            TsWeightedScalar seen[2] = {{1 + 0.1 * (i % 2), 8}, {100 + i % 2, 8}};
            if (!together)
                seen[i % 2].weight = 0;
            ts_guard_look(guard, seen, 1 - i % 2);
            CU_ASSERT_EQUAL(ts_guard_judge(guard, together || i % 2 ? 1 : 50).doubt, TS_BELIEVED);
        }
        TsWeightedScalar swapped[2] = {{1, 8}, {1000, 8}};
        CU_ASSERT(ts_guard_look(guard, swapped, 1) < 0);
        TsVerdict verdict = ts_guard_judge(guard, 1);
        CU_ASSERT_EQUAL(verdict.doubt, TS_LOSS_JUMPED);
        CU_ASSERT_EQUAL(verdict.task, 1);
        TsWeightedScalar first = {1, 8}, both[2] = {first, {0, 0}};
        double limit = ts_guard_look(guard, both, 0), other = ts_guard_look(guard, both, 1);
        CU_ASSERT(together ? limit == other : other > 10 * limit);
        ts_guard_free(&guard);
    }
}

static void goes_on(void)
{
    TsGuard *guard = ts_guard_create(&config, INFINITY, 1, false);
    train(guard, 33, 0.123);
    json_t *state = json_object();
    ts_guard_pack(guard, state);
    char *text = json_dumps(state, JSON_REAL_PRECISION(17));
    json_t *read = json_loads(text, 0, NULL);
    TsGuard *other = ts_guard_create(&config, INFINITY, 1, false);
    ts_guard_unpack(other, read);
    TsWeightedScalar seen = {2, 1};
    CU_ASSERT_EQUAL(ts_guard_look(other, &seen, 0), ts_guard_look(guard, &seen, 0));
    CU_ASSERT(isfinite(ts_guard_look(other, &seen, 0)));

    TsGuard *more = ts_guard_create(&config, INFINITY, 2, false); /* of other tasks: it begins anew */
    ts_guard_unpack(more, read);
    TsWeightedScalar two[2] = {{2, 1}, {0, 0}};
    CU_ASSERT_EQUAL(ts_guard_look(more, two, 0), INFINITY);
    ts_guard_free(&more);
    ts_guard_free(&other);
    ts_guard_free(&guard);
    free(text); /* jansson's */
    json_decref(read);
    json_decref(state);
}

static void words(void)
{
    static const struct {
        TsVerdict verdict;
        const char *text;
    } cases[] = {
        {{TS_LOSS_NOT_FINITE, 0, INFINITY, 1, 1}, "the loss of lm is inf"},
        {{TS_LOSS_JUMPED, 0, 7, 2, 0.5}, "the loss of lm is 7, 10 deviations above its mean of 2"},
        {{TS_NORM_JUMPED, 0, 7, 2, 0.5}, "the norm of the gradient is 7, 10 deviations above its mean of 2"},
        {{TS_NORM_TOO_LARGE, 0, 7, 2, 0.5}, "the norm of the gradient is 7, above learner.skip_above"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = ts_verdict_text(cases[i].verdict, "lm");
        CU_ASSERT_STRING_EQUAL(text, cases[i].text);
        ts_free(text);
    }
}

TEST_MAIN("guard", {"what is not finite", what_is_not_finite}, {"what jumps", what_jumps},
          {"what is usual", what_is_usual}, {"by task", by_task}, {"goes on", goes_on}, {"words", words})
