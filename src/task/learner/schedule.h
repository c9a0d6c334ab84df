/* SPDX-License-Identifier: Apache-2.0
 *
 * Schedule: what the peak learning rate is multiplied by at each step, from 1 on. A pure function of the step.
 *
 * Any of them begins with a warm-up of w steps, step s < w having s / w. Below, d is how much of what follows it is
 * done, (s - w) / (steps - w), and f the part that is left at the end, `final`.
 *
 *   constant             1
 *   linear               f + (1 - f) (1 - d)
 *   polynomial           f + (1 - f) (1 - d)^power
 *   cosine               f + (1 - f) (1 + cos(pi d)) / 2                          Loshchilov and Hutter 2017
 *   exponential          max(f, decay^((s - w) / every)), with `stairs` the exponent rounded down
 *   inverse_sqrt         sqrt(t / (t + s - w)), t the timescale, by default w: Vaswani et al. 2017
 *   piecewise            factors[k] from boundaries[k - 1] on; with `ramps` straight lines between these places
 *   cycles               a cosine again and again, of `period` steps, each `growth` times as long as the one before and
 *                        beginning `shrink` times as high: SGDR, Loshchilov and Hutter 2017
 *   warmup_stable_decay  1, and over the last `decay_steps` down to f by the shape: linear, cosine, or 1 - sqrt: Hu et
 *                        al. 2024, Haegele et al. 2024
 */
#pragma once

#include "base/config.h"

typedef enum TsScheduleKind {
    TS_SCHEDULE_CONSTANT,
    TS_SCHEDULE_LINEAR,
    TS_SCHEDULE_COSINE,
    TS_SCHEDULE_POLYNOMIAL,
    TS_SCHEDULE_EXPONENTIAL,
    TS_SCHEDULE_INVERSE_SQRT,
    TS_SCHEDULE_PIECEWISE,
    TS_SCHEDULE_CYCLES,
    TS_SCHEDULE_STABLE,
} TsScheduleKind;

typedef enum TsScheduleShape { TS_SHAPE_LINEAR, TS_SHAPE_COSINE, TS_SHAPE_SQRT } TsScheduleShape;

/* Each kind has some of these keys; the others are zero. */
typedef struct TsSchedule {
    int64_t warmup; /* steps of a linear rise from 0: step s has s / warmup */
    int64_t steps;  /* where the fall ends, the warm-up included; TS_AUTO: run.steps */
    double final;   /* the factor from there on */
    double power;   /* polynomial */
    double decay;   /* exponential: the factor in `every` steps */
    int64_t every;
    bool stairs;
    int64_t timescale;          /* inverse_sqrt; TS_AUTO: the warm-up, or 1 */
    TsList boundaries, factors; /* piecewise: int64_t, double; one factor more */
    bool ramps;
    int64_t period; /* cycles */
    double growth, shrink;
    int64_t decay_steps; /* warmup_stable_decay */
    TsScheduleShape shape;
} TsSchedule;

/* The kinds of `schedule: {type: ...}` in the order of TsScheduleKind. The value of each is a TsSchedule. */
extern const TsVariants ts_schedules;

/* The factor of `step` (the first is 1). `run_steps` stands in for TS_AUTO. */
double ts_schedule_factor(TsChoice schedule, int64_t step, int64_t run_steps);
