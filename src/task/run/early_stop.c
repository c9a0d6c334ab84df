/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/early_stop.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

const char *const ts_better_words[] = {"lower", "higher", NULL};

static const TsKey keys[] = {
    TS_KEY_STRING(TsEarlyStopConfig, by,
                  "the metric, TASK/METRIC as evaluation names it; average/METRIC over all tasks, or "
                  "all/METRIC of every task, where all of them must have become no better",
                  .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_ENUM(TsEarlyStopConfig, better, ts_better_words, "which values of it are better", .fallback = "lower"),
    TS_KEY_INT(TsEarlyStopConfig, patience, "after so many that are not better than the best the run ends",
               .fallback = "5", .range = TS_AT_LEAST(1), .unit = "evaluations"),
    TS_KEY_REAL(TsEarlyStopConfig, least_change, "that counts as better", .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_INT(TsEarlyStopConfig, after, "evaluations up to this step never count against the run", .fallback = "0",
               .range = TS_AT_LEAST(0), .unit = "steps"),
    TS_KEYS_END};

const TsConfigTable ts_early_stop_table = {"early_stop", "When a run ends because it does not become better.",
                                           sizeof(TsEarlyStopConfig), keys, NULL};

bool ts_early_stop_watches(const TsEarlyStopConfig *config, const char *path)
{
    const char *metric = strchr(path, '/');
    if (strncmp(config->by, "all/", 4) == 0)
        return metric && strcmp(metric + 1, config->by + 4) == 0 && strncmp(path, "average/", 8) != 0;
    return strcmp(path, config->by) == 0;
}

/* NaN is better than nothing, and never ends as the best of more. */
static bool is_better(const TsEarlyStopConfig *config, const TsWatchedMetric *metric, double value)
{
    double change = config->better == TS_BETTER_LOWER ? metric->best - value : value - metric->best;
    return (metric->best != metric->best && value == value) || (change > 0 && change >= config->least_change);
}

static TsWatchedMetric *find(const TsEarlyStop *stop, const char *path)
{
    for (int i = 0; i < stop->count; i++)
        if (strcmp(stop->watched[i].path, path) == 0)
            return &stop->watched[i];
    return NULL;
}

static void watch(TsEarlyStop *stop, TsWatchedMetric metric)
{
    stop->watched = ts_realloc(stop->watched, (size_t)(stop->count + 1) * sizeof *stop->watched);
    metric.path = ts_strdup(metric.path);
    stop->watched[stop->count++] = metric;
}

void ts_early_stop_note(TsEarlyStop *stop, int64_t step, const char *path, double value)
{
    if (!stop->config || !ts_early_stop_watches(stop->config, path))
        return;
    TsWatchedMetric *metric = find(stop, path);
    if (!metric) {
        watch(stop, (TsWatchedMetric){.path = (char *)path, .best = value, .best_step = step, .noted_step = step});
        return;
    }
    if (step <= metric->noted_step)
        return;
    bool better = is_better(stop->config, metric, value);
    metric->noted_step = step;
    metric->worse = better ? 0 : metric->worse + (step > stop->config->after);
    if (better) {
        metric->best = value;
        metric->best_step = step;
    }
}

bool ts_early_stop_now(const TsEarlyStop *stop)
{
    bool now = stop->config && stop->count > 0;
    for (int i = 0; i < stop->count; i++)
        now &= stop->watched[i].worse >= stop->config->patience;
    return now;
}

void ts_early_stop_pack(const TsEarlyStop *stop, json_t *state)
{
    json_t *kept = json_object();
    for (int i = 0; i < stop->count; i++) {
        const TsWatchedMetric *metric = &stop->watched[i];
        json_t *best = json_real(metric->best); /* NULL where it is not finite: JSON has no such number */
        json_object_set_new(kept, metric->path,
                            json_pack("{s:o, s:I, s:I, s:I}", "best", best ? best : json_null(), "best_step",
                                      (json_int_t)metric->best_step, "noted_step", (json_int_t)metric->noted_step,
                                      "worse", (json_int_t)metric->worse));
    }
    if (stop->count)
        json_object_set(state, "early_stop", kept);
    json_decref(kept);
}

void ts_early_stop_unpack(TsEarlyStop *stop, const json_t *state)
{
    const char *path;
    json_t *one;
    json_object_foreach(json_object_get(state, "early_stop"), path, one)
    {
        const json_t *best = json_object_get(one, "best");
        if (stop->config && ts_early_stop_watches(stop->config, path) && json_is_object(one))
            watch(stop, (TsWatchedMetric){.path = (char *)path,
                                          .best = json_is_number(best) ? json_number_value(best) : NAN,
                                          .best_step = json_integer_value(json_object_get(one, "best_step")),
                                          .noted_step = json_integer_value(json_object_get(one, "noted_step")),
                                          .worse = json_integer_value(json_object_get(one, "worse"))});
    }
}

void ts_early_stop_free(TsEarlyStop *stop)
{
    for (int i = 0; i < stop->count; i++)
        ts_free(stop->watched[i].path);
    ts_free(stop->watched);
    *stop = (TsEarlyStop){.config = stop->config};
}
