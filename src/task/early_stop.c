/* SPDX-License-Identifier: Apache-2.0 */
#include "task/early_stop.h"

#include <string.h>

const char *const ts_better_words[] = {"lower", "higher", NULL};

static const TsKey keys[] = {
    TS_KEY_STRING(TsEarlyStopConfig, by, "the metric, TASK/METRIC as evaluation names it", .required = true,
                  .range = TS_AT_LEAST(1)),
    TS_KEY_ENUM(TsEarlyStopConfig, better, ts_better_words, "which values of it are better", .fallback = "lower"),
    TS_KEY_INT(TsEarlyStopConfig, patience, "after so many that are not better than the best the run ends",
               .fallback = "5", .range = TS_AT_LEAST(1), .unit = "evaluations"),
    TS_KEY_REAL(TsEarlyStopConfig, least_change, "that counts as better", .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_INT(TsEarlyStopConfig, after, "evaluations up to this step never count against the run", .fallback = "0",
               .range = TS_AT_LEAST(0), .unit = "steps"),
    TS_KEYS_END};

const TsConfigTable ts_early_stop_table = {"early_stop", "When a run ends because it does not become better.",
                                           sizeof(TsEarlyStopConfig), keys, NULL};

/* NaN is better than nothing, and never ends as the best of more. */
static bool is_better(const TsEarlyStop *stop, double value)
{
    double change = stop->config->better == TS_BETTER_LOWER ? stop->best - value : value - stop->best;
    return !stop->any || (stop->best != stop->best && value == value) ||
           (change > 0 && change >= stop->config->least_change);
}

void ts_early_stop_note(TsEarlyStop *stop, int64_t step, const char *path, double value)
{
    if (!stop->config || strcmp(path, stop->config->by) != 0 || (stop->any && step <= stop->noted_step))
        return;
    if (is_better(stop, value)) {
        *stop =
            (TsEarlyStop){.config = stop->config, .any = true, .best = value, .best_step = step, .noted_step = step};
        return;
    }
    stop->noted_step = step;
    stop->worse += step > stop->config->after;
}

bool ts_early_stop_now(const TsEarlyStop *stop)
{
    return stop->config && stop->worse >= stop->config->patience;
}

void ts_early_stop_pack(const TsEarlyStop *stop, json_t *state)
{
    if (!stop->config || !stop->any)
        return;
    json_t *best = json_real(stop->best); /* NULL where it is not finite: JSON has no such number */
    json_object_set_new(state, "early_stop",
                        json_pack("{s:o, s:I, s:I, s:I}", "best", best ? best : json_null(), "best_step",
                                  (json_int_t)stop->best_step, "noted_step", (json_int_t)stop->noted_step, "worse",
                                  (json_int_t)stop->worse));
}

void ts_early_stop_unpack(TsEarlyStop *stop, const json_t *state)
{
    const json_t *kept = json_object_get(state, "early_stop");
    if (!stop->config || !json_is_object(kept))
        return;
    const json_t *best = json_object_get(kept, "best");
    stop->any = true;
    stop->best = json_is_number(best) ? json_number_value(best) : NAN;
    stop->best_step = json_integer_value(json_object_get(kept, "best_step"));
    stop->noted_step = json_integer_value(json_object_get(kept, "noted_step"));
    stop->worse = json_integer_value(json_object_get(kept, "worse"));
}
