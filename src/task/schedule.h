/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedule: what the peak learning rate is multiplied by at each step, from 1 on. A pure function of the step.
 */
#pragma once

#include "base/config.h"

typedef enum TsScheduleKind { TS_SCHEDULE_CONSTANT, TS_SCHEDULE_LINEAR, TS_SCHEDULE_COSINE } TsScheduleKind;

typedef struct TsSchedule {
    int64_t warmup; /* steps of a linear rise from 0: step s has s / warmup */
    int64_t steps;  /* where the fall ends, the warm-up included; TS_AUTO: run.steps */
    double final;   /* the factor from there on */
} TsSchedule;

/* The kinds of `schedule: {type: ...}`: constant, linear, cosine. The value of each is a TsSchedule. */
extern const TsVariants ts_schedules;

/* The factor of `step` (the first is 1). `run_steps` stands in for TS_AUTO. cosine: Loshchilov and Hutter 2017. */
double ts_schedule_factor(TsChoice schedule, int64_t step, int64_t run_steps);
