/* SPDX-License-Identifier: Apache-2.0 */
#include "task/schedule.h"

#include <math.h>

#define WARMUP                                                                                                         \
    TS_KEY_INT(TsSchedule, warmup, "steps of a linear rise from 0", .fallback = "0", .range = TS_AT_LEAST(0),          \
               .unit = "steps")
#define FALL                                                                                                           \
    TS_KEY_INT(TsSchedule, steps, "where the fall ends; auto is run.steps", .fallback = "auto", .takes_auto = true,    \
               .range = TS_AT_LEAST(1), .unit = "steps"),                                                              \
        TS_KEY_REAL(TsSchedule, final, "the part of the rate that is left at the end", .fallback = "0",                \
                    .range = TS_BETWEEN(0, 1))

static const TsKey constant_keys[] = {WARMUP, TS_KEYS_END};
static const TsKey falling_keys[] = {WARMUP, FALL, TS_KEYS_END};

static const TsConfigTable constant_table = {"constant_schedule", "The same rate, after a warm-up.", sizeof(TsSchedule),
                                             constant_keys, NULL};
static const TsConfigTable linear_table = {"linear_schedule", "A straight fall, after a warm-up.", sizeof(TsSchedule),
                                           falling_keys, NULL};
static const TsConfigTable cosine_table = {"cosine_schedule", "Half a wave of a cosine, after a warm-up.",
                                           sizeof(TsSchedule), falling_keys, NULL};

/* In the order of TsScheduleKind. */
static const TsVariant kinds[] = {{"constant", "the same rate, after a warm-up", &constant_table, NULL},
                                  {"linear", "a straight fall, after a warm-up", &linear_table, NULL},
                                  {"cosine", "half a wave of a cosine, after a warm-up", &cosine_table, NULL}};

const TsVariants ts_schedules = {"schedule", kinds, sizeof kinds / sizeof *kinds};

double ts_schedule_factor(TsChoice schedule, int64_t step, int64_t run_steps)
{
    const TsSchedule *options = schedule.value;
    TsScheduleKind kind = (TsScheduleKind)(schedule.variant - kinds);
    if (step < options->warmup)
        return (double)step / (double)options->warmup;
    if (kind == TS_SCHEDULE_CONSTANT)
        return 1;
    int64_t end = options->steps == TS_AUTO ? run_steps : options->steps;
    if (step >= end)
        return options->final;
    double done = (double)(step - options->warmup) / (double)(end - options->warmup);
    double left = kind == TS_SCHEDULE_LINEAR ? 1 - done : 0.5 * (1 + cos(acos(-1.0) * done));
    return options->final + (1 - options->final) * left;
}
