/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#include "test.h"

static TsChoice kind(const char *name, const TsSchedule *options)
{
    for (int64_t i = 0; i < ts_schedules.count; i++)
        if (strcmp(ts_schedules.items[i].name, name) == 0)
            return (TsChoice){&ts_schedules.items[i], options};
    return (TsChoice){0};
}

static void constant_stays(void)
{
    TsSchedule options = {.warmup = 0};
    CU_ASSERT_EQUAL(ts_schedule_factor(kind("constant", &options), 1, 10), 1);
    CU_ASSERT_EQUAL(ts_schedule_factor(kind("constant", &options), 1000, 10), 1);
}

static void warmup_rises_in_a_line(void)
{
    TsSchedule options = {.warmup = 4, .steps = 10};
    const char *const names[] = {"constant", "linear", "cosine"};
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind(names[i], &options), 1, 10), 0.25, 1e-15);
        CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind(names[i], &options), 3, 10), 0.75, 1e-15);
        CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind(names[i], &options), 4, 10), 1, 1e-15);
    }
}

static void linear_falls_to_final(void)
{
    TsSchedule options = {.warmup = 10, .steps = 110, .final = 0.2};
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("linear", &options), 60, 0), 0.6, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("linear", &options), 110, 0), 0.2, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("linear", &options), 999, 0), 0.2, 1e-15);
}

static void cosine_is_half_a_wave(void)
{
    TsSchedule options = {.warmup = 0, .steps = 100, .final = 0.1};
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("cosine", &options), 50, 0), 0.55, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("cosine", &options), 25, 0), 0.1 + 0.9 * 0.5 * (1 + sqrt(0.5)),
                           1e-12);
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("cosine", &options), 100, 0), 0.1, 1e-12);
}

static void auto_ends_with_the_run(void)
{
    TsSchedule options = {.steps = TS_AUTO};
    CU_ASSERT_DOUBLE_EQUAL(ts_schedule_factor(kind("linear", &options), 30, 40), 0.25, 1e-15);
}

/* Those of PyTorch and Transformers: tests/golden/learning.txt, which make_learning.py beside it writes. */
static void factors_are_those_of_others(void)
{
    static const TsKey keys[] = {{.name = "schedule", .kind = TS_KIND_CHOICE, .offset = 0, .variants = &ts_schedules},
                                 TS_KEYS_END};
    static const TsConfigTable table = {"root", "", sizeof(TsChoice), keys, NULL};
    FILE *file = fopen("tests/golden/learning.txt", "r");
    char name[64];
    char *line = NULL;
    size_t room = 0;
    int cases = 0;
    CU_ASSERT_PTR_NOT_NULL(file);
    while (file && getline(&line, &room, file) > 0) {
        int run_steps = 0, yaml = 0;
        if (sscanf(line, "schedule %63s %d %n", name, &run_steps, &yaml) != 2)
            continue;
        TsConfig *config = NULL;
        char *text = ts_format("{schedule: %.*s}", (int)strcspn(line + yaml, "\n"), line + yaml);
        TsConfigText source = {name, text, strlen(text)};
        TEST_OK(ts_config_load(&config, &table, (TsConfigSources){&source, 1, NULL, 0}));
        if (config && getline(&line, &room, file) > 0) {
            char *next = line;
            for (int64_t step = 1; step <= 40; step++) {
                double expected = strtod(next, &next);
                double factor = ts_schedule_factor(*(const TsChoice *)ts_config_value(config), step, run_steps);
                if (!(fabs(factor - expected) <= 1e-12))
                    fprintf(stderr, "%s: step %lld has %.17g, expected %.17g\n", name, (long long)step, factor,
                            expected);
                CU_ASSERT(fabs(factor - expected) <= 1e-12);
            }
        }
        ts_config_free(&config);
        ts_free(text);
        cases++;
    }
    free(line);
    if (file)
        fclose(file);
    CU_ASSERT(cases >= 15);
}

static void what_contradicts_itself_is_said(void)
{
    static const TsKey keys[] = {{.name = "schedule", .kind = TS_KIND_CHOICE, .offset = 0, .variants = &ts_schedules},
                                 TS_KEYS_END};
    static const TsConfigTable table = {"root", "", sizeof(TsChoice), keys, NULL};
    static const char *const wrong[][2] = {
        {"{schedule: {type: piecewise, boundaries: [5], factors: [1, 2, 3]}}", "1 boundaries part 2 factors, not 3"},
        {"{schedule: {type: piecewise, boundaries: [5, 5], factors: [1, 2, 3]}}", "5 does not come after 5"},
        {"{schedule: {type: cycles}}", "period"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        TsConfig *config = NULL;
        TsConfigText text = {"wrong", wrong[i][0], strlen(wrong[i][0])};
        TEST_ERROR(ts_config_load(&config, &table, (TsConfigSources){&text, 1, NULL, 0}), wrong[i][1]);
    }
}

TEST_MAIN("schedule", {"factors are those of others", factors_are_those_of_others},
          {"what contradicts itself is said", what_contradicts_itself_is_said}, {"constant stays", constant_stays},
          {"warm-up rises in a line", warmup_rises_in_a_line}, {"linear falls to final", linear_falls_to_final},
          {"cosine is half a wave", cosine_is_half_a_wave}, {"auto ends with the run", auto_ends_with_the_run})
