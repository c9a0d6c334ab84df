/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Which checkpoints stay, and because of what.
 */
#include "ckpt/inspect.h"
#include "ckpt/keep.h"
#include "ckpt/saves.h"

/* What each of 12 checkpoints, of steps 10, 20, …, saved 100 s apart, is kept because of; metrics as given. */
enum { COUNT = 12 };
static void decide(unsigned *because, TsKeepPolicy policy, const double *metrics)
{
    TsKeepItem items[COUNT] = {{0}};
    for (int i = 0; i < COUNT; i++)
        items[i] = (TsKeepItem){.step = 10 * (i + 1),
                                .time_s = 1e9 + 100 * i,
                                .has_metric = metrics && metrics[i] != 0,
                                .metric = metrics ? metrics[i] : 0};
    items[1].named = true;
    ts_keep_decide(items, COUNT, &policy);
    for (int i = 0; i < COUNT; i++)
        because[i] = items[i].because;
}

static void expect(TsKeepPolicy policy, const double *metrics, const unsigned *expected)
{
    unsigned because[COUNT];
    decide(because, policy, metrics);
    for (int i = 0; i < COUNT; i++)
        if (because[i] != expected[i])
            printf("  step %d: because of %u, expected %u\n", 10 * (i + 1), because[i], expected[i]);
    CU_ASSERT_EQUAL(memcmp(because, expected, sizeof because), 0);
}

static void each_rule(void)
{
    enum { N = TS_KEPT_NEWEST, L = TS_KEPT_LATEST, S = TS_KEPT_STEPS, T = TS_KEPT_TIME };
    enum { G = TS_KEPT_GIVEN, B = TS_KEPT_BEST, A = TS_KEPT_NAMED };
    static const int64_t steps[] = {30, 35, 120};
    static const double metrics[COUNT] = {5, 1, 4, 0, 2, 2, 7, 0, 9, 2, 3, 0};
    expect((TsKeepPolicy){.latest = 1}, NULL, (const unsigned[]){0, A, 0, 0, 0, 0, 0, 0, 0, 0, 0, N | L});
    expect((TsKeepPolicy){.latest = 3}, NULL, (const unsigned[]){0, A, 0, 0, 0, 0, 0, 0, 0, L, L, N | L});
    expect((TsKeepPolicy){0}, NULL, (const unsigned[]){L, A | L, L, L, L, L, L, L, L, L, L, N | L});
    expect((TsKeepPolicy){.latest = 1, .every_steps = 40}, NULL,
           (const unsigned[]){0, A, 0, S, 0, 0, 0, S, 0, 0, 0, N | L | S});
    expect((TsKeepPolicy){.latest = 1, .every_s = 350}, NULL,
           (const unsigned[]){T, A, 0, 0, T, 0, 0, 0, T, 0, 0, N | L});
    expect((TsKeepPolicy){.latest = 1, .steps = steps, .step_count = 3}, NULL,
           (const unsigned[]){0, A, G, 0, 0, 0, 0, 0, 0, 0, 0, N | L | G});
    expect((TsKeepPolicy){.latest = 1, .best = 3, .by = "m"}, metrics, /* of the three with 2 the newer ones */
           (const unsigned[]){0, A | B, 0, 0, 0, B, 0, 0, 0, B, 0, N | L});
    expect((TsKeepPolicy){.latest = 1, .best = 2, .by = "m", .higher = true}, metrics,
           (const unsigned[]){0, A, 0, 0, 0, 0, B, 0, B, 0, 0, N | L});
    char *words = ts_keep_words(N | L | S | B, &(TsKeepPolicy){.every_steps = 40, .by = "lm/loss"});
    CU_ASSERT_STRING_EQUAL(words, "latest, every 40 steps, best lm/loss");
    ts_free(words);
}

/* A rule keeps what it keeps however often it is asked, and a clock that goes backwards loses nothing. */
static void time_is_stable(void)
{
    TsKeepPolicy policy = {.latest = 1, .every_s = 250};
    TsKeepItem kept[100] = {{0}};
    int64_t count = 0;
    for (int save = 0; save < 60; save++) {
        double clock_s = 1e9 + 100 * save - (save >= 30 ? 1000 : 0);
        kept[count++] = (TsKeepItem){.step = save, .time_s = clock_s};
        ts_keep_decide(kept, count, &policy);
        int64_t left = 0;
        for (int64_t i = 0; i < count; i++)
            if (kept[i].because)
                kept[left++] = kept[i];
        count = left;
        CU_ASSERT_EQUAL(kept[count - 1].step, save);
    }
    CU_ASSERT(count >= 20 && count <= 22); /* every third of 30, twice; and the newest */
}

static void policy_survives_json(void)
{
    static const int64_t steps[] = {7, 1LL << 40};
    TsKeepPolicy policy = {.latest = 2,
                           .every_steps = 5,
                           .every_s = 1.5,
                           .steps = steps,
                           .step_count = 2,
                           .best = 4,
                           .by = "a/b",
                           .higher = true};
    json_t *json = ts_keep_json(&policy);
    int64_t *read_steps;
    TsKeepPolicy read = ts_keep_parse(json, &read_steps);
    CU_ASSERT(read.latest == 2 && read.every_steps == 5 && read.every_s == 1.5 && read.best == 4 && read.higher);
    CU_ASSERT(read.step_count == 2 && read.steps[0] == 7 && read.steps[1] == 1LL << 40);
    CU_ASSERT_STRING_EQUAL(read.by, "a/b");
    ts_free(read_steps);
    json_decref(json);
    read = ts_keep_parse(NULL, &read_steps); /* a manifest without */
    CU_ASSERT(read.latest == 0 && read.best == 0 && read.step_count == 0 && !read.by);
    ts_free(read_steps);
}

/* On disk: saved with metrics, one of them stale, one named by a later one. */
static void what_stays_on_disk(void)
{
    RunDir run = make_run();
    TsBatch *none = ts_batch_create();
    TsCheckpointSaver *saver;
    TsCheckpointSaverOptions options = {.keep = {.latest = 1, .best = 1, .by = "t/loss"}, .skip_verify = true};
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, options));
    static const double loss[] = {9, 8, 1, 2, 7, 6, 5}; /* of steps 1 to 7 */
    for (int step = 1; step <= 7; step++) {
        json_t *state = json_pack("{s:{s:f}, s:i}", "metrics", "t/loss", loss[step - 1], "evaluated_step",
                                  step == 3 ? 2 : step); /* the metric of step 3 is not its own */
        if (step == 5)
            json_object_set_new(state, "averaged", json_pack("[s]", inside(run, "step_00000004")));
        TEST_OK(ts_checkpoint_save(saver, step, none, state));
        json_decref(state);
    }
    CU_ASSERT_FALSE(there(inside(run, "step_00000001")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000003")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000004/COMMIT")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000005")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000007/COMMIT")));
    if (is_root()) {
        TsCheckpointList *list = NULL;
        TEST_OK(ts_checkpoint_list_create(&list, run.path));
        CU_ASSERT_EQUAL(list->count, 2);
        if (list->count == 2) {
            CU_ASSERT_STRING_EQUAL(list->items[0].kept, "best t/loss");
            CU_ASSERT_STRING_EQUAL(list->items[1].kept, "latest");
        }
        ts_checkpoint_list_free(&list);
    }
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&none);
    remove_run(run);
}

TEST_MAIN("keep", {"each rule", each_rule}, {"time is stable", time_is_stable},
          {"the policy survives JSON", policy_survives_json}, {"what stays on disk", what_stays_on_disk})
