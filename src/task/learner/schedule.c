/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/schedule.h"

#include <math.h>

/* ---- keys ---- */

#define WARMUP                                                                                                         \
    TS_KEY_INT(TsSchedule, warmup, "steps of a linear rise from 0", .fallback = "0", .range = TS_AT_LEAST(0),          \
               .unit = "steps")
#define STEPS                                                                                                          \
    TS_KEY_INT(TsSchedule, steps, "where the fall ends; auto is run.steps", .fallback = "auto", .takes_auto = true,    \
               .range = TS_AT_LEAST(1), .unit = "steps")
#define FINAL                                                                                                          \
    TS_KEY_REAL(TsSchedule, final, "the part of the rate that is left at the end", .fallback = "0",                    \
                .range = TS_BETWEEN(0, 1))

static const char *const shapes[] = {"linear", "cosine", "sqrt", NULL};

static const TsKey constant_keys[] = {WARMUP, TS_KEYS_END};
static const TsKey falling_keys[] = {WARMUP, STEPS, FINAL, TS_KEYS_END};
static const TsKey polynomial_keys[] = {
    WARMUP, STEPS, FINAL, TS_KEY_REAL(TsSchedule, power, "of what is left", .fallback = "2", .range = TS_ABOVE(0)),
    TS_KEYS_END};
static const TsKey exponential_keys[] = {
    WARMUP,
    FINAL,
    TS_KEY_REAL(TsSchedule, decay, "what the rate is multiplied by in `every` steps", .fallback = "0.1",
                .range = TS_ABOVE_UP_TO(0, 1)),
    TS_KEY_INT(TsSchedule, every, "so many steps", .required = true, .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEY_BOOL(TsSchedule, stairs, "in stairs of so many steps", .fallback = "false"),
    TS_KEYS_END};
static const TsKey inverse_keys[] = {
    WARMUP,
    TS_KEY_INT(TsSchedule, timescale,
               "after three times so many more steps the rate is half; auto is the warm-up, or 1", .fallback = "auto",
               .takes_auto = true, .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEYS_END};
static const TsKey piecewise_keys[] = {
    WARMUP,
    TS_KEY_LIST(TsSchedule, boundaries, (&(const TsKey){.kind = TS_KIND_INT, .range = TS_AT_LEAST(1)}),
                "the steps from which on the next factor holds, rising", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_LIST(TsSchedule, factors, (&(const TsKey){.kind = TS_KIND_REAL, .range = TS_AT_LEAST(0)}),
                "of the rate, one more than boundaries", .required = true, .range = TS_AT_LEAST(2)),
    TS_KEY_BOOL(TsSchedule, ramps, "straight lines, the first from step 0, instead of jumps", .fallback = "false"),
    TS_KEYS_END};
static const TsKey cycle_keys[] = {
    WARMUP,
    FINAL,
    TS_KEY_INT(TsSchedule, period, "of the first cycle", .required = true, .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEY_REAL(TsSchedule, growth, "how much longer each cycle is than the one before", .fallback = "1",
                .range = TS_AT_LEAST(1)),
    TS_KEY_REAL(TsSchedule, shrink, "how high each cycle begins, beside the one before", .fallback = "1",
                .range = TS_ABOVE_UP_TO(0, 1)),
    TS_KEYS_END};
static const TsKey stable_keys[] = {WARMUP,
                                    STEPS,
                                    FINAL,
                                    TS_KEY_INT(TsSchedule, decay_steps, "of the fall at the end", .required = true,
                                               .range = TS_AT_LEAST(1), .unit = "steps"),
                                    TS_KEY_ENUM(TsSchedule, shape, shapes, "of the fall", .fallback = "linear"),
                                    TS_KEYS_END};

static TsStatus check_piecewise(const void *value)
{
    const TsSchedule *schedule = value;
    const int64_t *at = schedule->boundaries.items;
    if (schedule->factors.count != schedule->boundaries.count + 1)
        return ts_status_error(TS_CODE_INVALID, "%lld boundaries part %lld factors, not %lld",
                               (long long)schedule->boundaries.count, (long long)schedule->boundaries.count + 1,
                               (long long)schedule->factors.count);
    for (int64_t i = 1; i < schedule->boundaries.count; i++)
        if (at[i] <= at[i - 1])
            return ts_status_error(TS_CODE_INVALID, "boundaries: %lld does not come after %lld", (long long)at[i],
                                   (long long)at[i - 1]);
    return TS_OK;
}

#define TABLE(kind, text, list, checker)                                                                               \
    static const TsConfigTable kind##_table = {#kind "_schedule", text ", after a warm-up.", sizeof(TsSchedule), list, \
                                               checker}
TABLE(constant, "The same rate", constant_keys, NULL);
TABLE(linear, "A straight fall", falling_keys, NULL);
TABLE(cosine, "Half a wave of a cosine", falling_keys, NULL);
TABLE(polynomial, "A power of what is left", polynomial_keys, NULL);
TABLE(exponential, "The same factor in the same time, down to `final`", exponential_keys, NULL);
TABLE(inverse_sqrt, "One over the root of the steps", inverse_keys, NULL);
TABLE(piecewise, "Factors between boundaries", piecewise_keys, check_piecewise);
TABLE(cycles, "Cosines again and again", cycle_keys, NULL);
TABLE(warmup_stable_decay, "The same rate, and a fall at the end", stable_keys, NULL);

/* In the order of TsScheduleKind. */
static const TsVariant kinds[] = {
    {"constant", "the same rate, after a warm-up", &constant_table, NULL},
    {"linear", "a straight fall, after a warm-up", &linear_table, NULL},
    {"cosine", "half a wave of a cosine, after a warm-up", &cosine_table, NULL},
    {"polynomial", "a power of what is left, after a warm-up", &polynomial_table, NULL},
    {"exponential", "the same factor in the same time, after a warm-up", &exponential_table, NULL},
    {"inverse_sqrt", "one over the root of the steps, after a warm-up", &inverse_sqrt_table, NULL},
    {"piecewise", "factors between boundaries, after a warm-up", &piecewise_table, NULL},
    {"cycles", "cosines with restarts, after a warm-up", &cycles_table, NULL},
    {"warmup_stable_decay", "the same rate, and a fall at the end", &warmup_stable_decay_table, NULL}};

const TsVariants ts_schedules = {"schedule", kinds, sizeof kinds / sizeof *kinds};

/* ---- values ---- */

/* What is left of 1 when `done` of the way is done, by a shape. */
static double left_of(TsScheduleShape shape, double done)
{
    switch (shape) {
    case TS_SHAPE_COSINE:
        return 0.5 * (1 + cos(acos(-1.0) * done));
    case TS_SHAPE_SQRT:
        return 1 - sqrt(done);
    default:
        return 1 - done;
    }
}

static double between(double final, double left)
{
    return final + (1 - final) * left;
}

/* A fall from `begin` to `end`. */
static double fall(const TsSchedule *schedule, TsScheduleKind kind, int64_t step, int64_t begin, int64_t end)
{
    if (step >= end)
        return schedule->final;
    double done = (double)(step - begin) / (double)(end - begin);
    return between(schedule->final, kind == TS_SCHEDULE_POLYNOMIAL ? pow(1 - done, schedule->power)
                                    : kind == TS_SCHEDULE_COSINE   ? left_of(TS_SHAPE_COSINE, done)
                                                                   : left_of(TS_SHAPE_LINEAR, done));
}

static double exponential(const TsSchedule *schedule, int64_t step)
{
    double times = (double)(step - schedule->warmup) / (double)schedule->every;
    return fmax(schedule->final, pow(schedule->decay, schedule->stairs ? floor(times) : times));
}

static double inverse_sqrt(const TsSchedule *schedule, int64_t step)
{
    int64_t timescale = schedule->timescale != TS_AUTO ? schedule->timescale
                        : schedule->warmup > 1         ? schedule->warmup
                                                       : 1;
    return sqrt((double)timescale / (double)(timescale + step - schedule->warmup));
}

static double piecewise(const TsSchedule *schedule, int64_t step)
{
    const int64_t *at = schedule->boundaries.items;
    const double *factor = schedule->factors.items;
    int64_t k = 0;
    while (k < schedule->boundaries.count && step >= at[k])
        k++;
    if (!schedule->ramps || k == schedule->boundaries.count)
        return factor[k];
    int64_t begin = k ? at[k - 1] : 0;
    return factor[k] + (factor[k + 1] - factor[k]) * (double)(step - begin) / (double)(at[k] - begin);
}

static double cycles(const TsSchedule *schedule, int64_t step)
{
    double at = (double)(step - schedule->warmup), period = (double)schedule->period, height = 1;
    if (schedule->growth == 1) {
        height = pow(schedule->shrink, floor(at / period));
        at = fmod(at, period);
    }
    for (; at >= period; height *= schedule->shrink) {
        at -= period;
        period *= schedule->growth;
    }
    return schedule->final + (height - schedule->final) * left_of(TS_SHAPE_COSINE, at / period);
}

static double stable(const TsSchedule *schedule, int64_t step, int64_t end)
{
    int64_t begin = end - schedule->decay_steps;
    begin = begin > schedule->warmup ? begin : schedule->warmup;
    if (step >= end)
        return schedule->final;
    if (step <= begin)
        return 1;
    return between(schedule->final, left_of(schedule->shape, (double)(step - begin) / (double)(end - begin)));
}

double ts_schedule_factor(TsChoice schedule, int64_t step, int64_t run_steps)
{
    const TsSchedule *options = schedule.value;
    TsScheduleKind kind = (TsScheduleKind)(schedule.variant - kinds);
    int64_t end = options->steps == TS_AUTO ? run_steps : options->steps;
    if (step < options->warmup)
        return (double)step / (double)options->warmup;
    switch (kind) {
    case TS_SCHEDULE_EXPONENTIAL:
        return exponential(options, step);
    case TS_SCHEDULE_INVERSE_SQRT:
        return inverse_sqrt(options, step);
    case TS_SCHEDULE_PIECEWISE:
        return piecewise(options, step);
    case TS_SCHEDULE_CYCLES:
        return cycles(options, step);
    case TS_SCHEDULE_STABLE:
        return stable(options, step, end);
    case TS_SCHEDULE_CONSTANT:
        return 1;
    default:
        return fall(options, kind, step, options->warmup, end);
    }
}
