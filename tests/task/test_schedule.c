/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/schedule.h"

#include <math.h>
#include <string.h>

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

TEST_MAIN("schedule", {"constant stays", constant_stays}, {"warm-up rises in a line", warmup_rises_in_a_line},
          {"linear falls to final", linear_falls_to_final}, {"cosine is half a wave", cosine_is_half_a_wave},
          {"auto ends with the run", auto_ends_with_the_run})
