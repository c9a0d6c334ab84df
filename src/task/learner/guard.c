/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/guard.h"

#include <math.h>

#include "base/memory.h"
#include "base/text.h"

/* ---- keys ---- */

static const TsKey keys[] = {
    TS_KEY_REAL(
        TsGuardConfig, z_score,
        "a step is skipped whose loss, or norm of the gradient, is so many standard deviations above its running "
        "mean; inf: only what is not finite is",
        .fallback = "inf", .takes_inf = true, .range = TS_ABOVE(0)),
    TS_KEY_INT(TsGuardConfig, window, "what means and deviations are about over", .fallback = "100",
               .range = TS_AT_LEAST(2), .unit = "steps"),
    TS_KEY_INT(TsGuardConfig, after, "of a task, before its means count", .fallback = "20", .range = TS_AT_LEAST(2),
               .unit = "steps"),
    TS_KEY_INT(
        TsGuardConfig, rollbacks,
        "so often a run goes back to an older checkpoint after learner.skip_limit skipped steps in a row, before "
        "it ends; its data go on from where they are",
        .fallback = "2", .range = TS_AT_LEAST(0)),
    TS_KEY_INTERVAL(TsGuardConfig, check_replicas,
                    "how often, in steps, checksums of parameters that several ranks hold are compared; the rank that "
                    "differs ends the run",
                    .fallback = "never"),
    TS_KEYS_END};

static TsStatus check_guard(const void *value)
{
    TsIntervalUnit unit = ((const TsGuardConfig *)value)->check_replicas.unit;
    if (unit != TS_NEVER && unit != TS_STEPS)
        return ts_status_error(TS_CODE_UNSUPPORTED, "check_replicas: give steps, as in \"100 steps\"");
    return TS_OK;
}

const TsConfigTable ts_guard_table = {"guard", "What a run does about numbers that go bad.", sizeof(TsGuardConfig),
                                      keys, check_guard};

/* ---- what is usual ---- */

static const double least_deviation = 0.01; /* over the mean: a plateau is no reason to doubt a small change */

/* Mean and variance of what was believed so far, the later the more. */
typedef struct Series {
    int64_t count;
    double mean, variance;
} Series;

struct TsGuard {
    const TsGuardConfig *config;
    double skip_above;
    int tasks;
    bool together;
    Series *losses, *norms; /* (tasks); together: of norms the first alone */
    TsWeightedScalar *seen; /* (tasks) the losses of the step */
    int task;
    TsVerdict verdict; /* on these losses */
};

static double deviation_of(const Series *series)
{
    return fmax(sqrt(series->variance), least_deviation * fabs(series->mean));
}

/* The largest value that is no jump. */
static double limit_of(const TsGuard *guard, const Series *series)
{
    if (isinf(guard->config->z_score) || series->count < guard->config->after)
        return INFINITY;
    return series->mean + guard->config->z_score * deviation_of(series);
}

/* Welford's update while there are few; then an average whose weights fall off over the window. */
static void add(const TsGuard *guard, Series *series, double value)
{
    int64_t window = guard->config->window;
    series->count += series->count < INT64_MAX;
    double part = 1.0 / (double)(series->count < window ? series->count : window), change = value - series->mean;
    series->mean += part * change;
    series->variance = (1 - part) * (series->variance + part * change * change);
}

TsGuard *ts_guard_create(const TsGuardConfig *config, double skip_above, int tasks, bool together)
{
    TsGuard *made = ts_calloc(1, sizeof *made);
    *made = (TsGuard){.config = config,
                      .skip_above = skip_above,
                      .tasks = tasks,
                      .together = together,
                      .losses = ts_calloc((size_t)tasks, sizeof *made->losses),
                      .norms = ts_calloc((size_t)tasks, sizeof *made->norms),
                      .seen = ts_calloc((size_t)tasks, sizeof *made->seen)};
    return made;
}

void ts_guard_free(TsGuard **guard)
{
    if (!*guard)
        return;
    ts_free((*guard)->losses);
    ts_free((*guard)->norms);
    ts_free((*guard)->seen);
    ts_free(*guard);
    *guard = NULL;
}

/* ---- a step ---- */

static TsVerdict judge_loss(const TsGuard *guard, int task)
{
    const Series *series = &guard->losses[task];
    TsVerdict verdict = {
        .task = task, .value = guard->seen[task].value, .mean = series->mean, .deviation = deviation_of(series)};
    if (!isfinite(verdict.value))
        verdict.doubt = TS_LOSS_NOT_FINITE;
    else if (verdict.value > limit_of(guard, series))
        verdict.doubt = TS_LOSS_JUMPED;
    return verdict;
}

double ts_guard_look(TsGuard *guard, const TsWeightedScalar *losses, int task)
{
    guard->task = guard->together ? 0 : task;
    guard->verdict = (TsVerdict){.doubt = TS_BELIEVED};
    for (int i = 0; i < guard->tasks; i++) {
        guard->seen[i] = losses[i];
        if (losses[i].weight > 0 && guard->verdict.doubt == TS_BELIEVED)
            guard->verdict = judge_loss(guard, i);
    }
    if (guard->verdict.doubt != TS_BELIEVED)
        return -1;
    return fmin(guard->skip_above, limit_of(guard, &guard->norms[guard->task]));
}

TsVerdict ts_guard_judge(TsGuard *guard, double norm)
{
    Series *series = &guard->norms[guard->task];
    if (guard->verdict.doubt != TS_BELIEVED)
        return guard->verdict;
    TsVerdict verdict = {.value = norm, .mean = series->mean, .deviation = deviation_of(series)};
    if (!isfinite(norm))
        verdict.doubt = TS_NORM_NOT_FINITE;
    else if (norm > (double)(float)guard->skip_above) /* the Learner compares in f32 */
        verdict.doubt = TS_NORM_TOO_LARGE;
    else if (norm > (double)(float)limit_of(guard, series))
        verdict.doubt = TS_NORM_JUMPED;
    if (verdict.doubt != TS_BELIEVED)
        return verdict;
    add(guard, series, norm);
    for (int i = 0; i < guard->tasks; i++)
        if (guard->seen[i].weight > 0)
            add(guard, &guard->losses[i], guard->seen[i].value);
    return verdict;
}

char *ts_verdict_text(TsVerdict verdict, const char *task)
{
    double z = (verdict.value - verdict.mean) / verdict.deviation;
    switch (verdict.doubt) {
    case TS_LOSS_NOT_FINITE:
        return ts_format("the loss of %s is %g", task, verdict.value);
    case TS_LOSS_JUMPED:
        return ts_format("the loss of %s is %.6g, %.3g deviations above its mean of %.6g", task, verdict.value, z,
                         verdict.mean);
    case TS_NORM_NOT_FINITE:
        return ts_format("the norm of the gradient is %g", verdict.value);
    case TS_NORM_JUMPED:
        return ts_format("the norm of the gradient is %.6g, %.3g deviations above its mean of %.6g", verdict.value, z,
                         verdict.mean);
    case TS_NORM_TOO_LARGE:
        return ts_format("the norm of the gradient is %.6g, above learner.skip_above", verdict.value);
    default:
        return ts_strdup("nothing is wrong");
    }
}

/* ---- checkpoints ---- */

static json_t *pack_series(const Series *series, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("[I, f, f]", (json_int_t)series[i].count, series[i].mean, series[i].variance));
    return list;
}

void ts_guard_pack(const TsGuard *guard, json_t *state)
{
    json_object_set_new(state, "guard",
                        json_pack("{s:o, s:o}", "losses", pack_series(guard->losses, guard->tasks), "norms",
                                  pack_series(guard->norms, guard->together ? 1 : guard->tasks)));
}

static void unpack_series(Series *series, int count, const json_t *list)
{
    for (int i = 0; i < count && json_array_size(list) == (size_t)count; i++) {
        const json_t *one = json_array_get(list, (size_t)i);
        series[i] = (Series){.count = json_integer_value(json_array_get(one, 0)),
                             .mean = json_number_value(json_array_get(one, 1)),
                             .variance = json_number_value(json_array_get(one, 2))};
    }
}

void ts_guard_unpack(TsGuard *guard, const json_t *state)
{
    const json_t *kept = json_object_get(state, "guard");
    unpack_series(guard->losses, guard->tasks, json_object_get(kept, "losses"));
    unpack_series(guard->norms, guard->together ? 1 : guard->tasks, json_object_get(kept, "norms"));
}
