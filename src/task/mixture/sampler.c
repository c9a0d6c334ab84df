/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/sampler.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

typedef enum Kind { UNIFORM, PROPORTIONAL, EXAMPLES, ANNEALING, SCHEDULE, ROUND_ROBIN } Kind;

static const TsKey proportional_keys[] = {
    TS_KEY_REAL(TsProportional, alpha, "rates are weight^alpha / sum", .fallback = "1", .range = TS_AT_LEAST(0)),
    TS_KEYS_END};
static const TsConfigTable proportional_table = {"proportional", "Rates follow the weights.", sizeof(TsProportional),
                                                 proportional_keys, NULL};

static const TsKey examples_keys[] = {
    TS_KEY_REAL(TsExamplesSampler, scale, "factor of the number of examples", .fallback = "1", .range = TS_ABOVE(0)),
    TS_KEY_REAL(TsExamplesSampler, maximum, "no task counts as having more examples", .fallback = "inf",
                .takes_inf = true, .range = TS_ABOVE(0)),
    TS_KEY_REAL(TsExamplesSampler, temperature, "1 follows the numbers of examples, inf has all alike", .fallback = "1",
                .takes_inf = true, .range = TS_ABOVE(0)),
    TS_KEYS_END};
static const TsConfigTable examples_table = {
    "examples", "Rates follow weight * examples: min(that * scale, maximum)^(1 / temperature) / sum.",
    sizeof(TsExamplesSampler), examples_keys, NULL};

static const TsKey annealing_keys[] = {
    TS_KEY_INT(TsAnnealing, epochs, "over which alpha falls", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_INT(TsAnnealing, epoch_steps, "steps of the run that are an epoch here", .required = true,
               .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEYS_END};
static const TsConfigTable annealing_table = {
    "annealing", "Rates are weight^alpha / sum, with alpha falling from 1 in the first epoch to 0.2 in the last.",
    sizeof(TsAnnealing), annealing_keys, NULL};

static const TsKey row_keys[] = {
    TS_KEY_INT(TsSamplerRow, step, "from which they hold", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_MAP(TsSamplerRow, rates, (&(const TsKey){.kind = TS_KIND_REAL, .range = TS_AT_LEAST(0)}),
               "of tasks or mixtures, by name; they need not add up to 1", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEYS_END};
static const TsConfigTable row_table = {"sampler_row", "The rates from a step on.", sizeof(TsSamplerRow), row_keys,
                                        NULL};

static TsStatus check_schedule(const void *value)
{
    const TsSamplerSchedule *schedule = value;
    const TsSamplerRow *rows = schedule->table.items;
    if (rows[0].step != 1)
        return ts_status_error(TS_CODE_INVALID, "table: it begins at step %lld: the first row is of step 1",
                               (long long)rows[0].step);
    for (int64_t i = 1; i < schedule->table.count; i++)
        if (rows[i].step <= rows[i - 1].step)
            return ts_status_error(TS_CODE_INVALID, "table: step %lld comes behind step %lld: they must rise",
                                   (long long)rows[i].step, (long long)rows[i - 1].step);
    return TS_OK;
}

static const TsKey schedule_keys[] = {
    TS_KEY_LIST(TsSamplerSchedule, table, TS_ELEMENT_STRUCT(&row_table), "rows of step and rates, steps rising from 1",
                .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_BOOL(TsSamplerSchedule, linear, "between two rows rates go on the line from one to the other",
                .fallback = "false"),
    TS_KEYS_END};
static const TsConfigTable schedule_table = {"sampler_schedule", "Rates by a table.", sizeof(TsSamplerSchedule),
                                             schedule_keys, check_schedule};

/* In the order of Kind. */
static const TsVariant samplers[] = {
    [UNIFORM] = {"uniform", "all alike", NULL, NULL},
    [PROPORTIONAL] = {"proportional", "rates follow the weights", &proportional_table, NULL},
    [EXAMPLES] = {"examples", "rates follow the numbers of examples", &examples_table, NULL},
    [ANNEALING] = {"annealing", "rates follow the weights less and less", &annealing_table, NULL},
    [SCHEDULE] = {"schedule", "rates by a table of steps", &schedule_table, NULL},
    [ROUND_ROBIN] = {"round_robin", "one after the other", NULL, NULL}};
const TsVariants ts_samplers = {"sampler", samplers, sizeof samplers / sizeof *samplers};

static Kind kind_of(TsChoice sampler)
{
    return (Kind)(sampler.variant - samplers);
}

bool ts_sampler_takes_turns(TsChoice sampler)
{
    return kind_of(sampler) == ROUND_ROBIN;
}

static double alpha_of(const TsAnnealing *annealing, int64_t step)
{
    if (annealing->epochs == 1)
        return 1;
    int64_t epoch = (step - 1) / annealing->epoch_steps + 1;
    double passed = (double)(epoch - 1) / (double)(annealing->epochs - 1);
    return 1 - 0.8 * fmin(passed, 1);
}

static double row_rate(const TsSamplerRow *row, const char *name)
{
    for (int64_t i = 0; i < row->rates.count; i++)
        if (strcmp(row->rates.names[i], name) == 0)
            return ((const double *)row->rates.items)[i];
    return 0;
}

static double scheduled_rate(const TsSamplerSchedule *schedule, const char *name, int64_t step)
{
    const TsSamplerRow *rows = schedule->table.items;
    int64_t at = 0;
    while (at + 1 < schedule->table.count && rows[at + 1].step <= step)
        at++;
    double rate = row_rate(&rows[at], name);
    if (!schedule->linear || at + 1 == schedule->table.count)
        return rate;
    double way = (double)(step - rows[at].step) / (double)(rows[at + 1].step - rows[at].step);
    return rate + way * (row_rate(&rows[at + 1], name) - rate);
}

static double unscaled_rate(const TsSamplerPart *part, TsChoice sampler, int64_t step)
{
    if (part->weight == 0)
        return 0;
    switch (kind_of(sampler)) {
    case PROPORTIONAL:
        return pow(part->weight, ((const TsProportional *)sampler.value)->alpha);
    case EXAMPLES: {
        const TsExamplesSampler *keys = sampler.value;
        double counted = fmin(part->weight * (double)part->examples * keys->scale, keys->maximum);
        return counted > 0 ? pow(counted, 1 / keys->temperature) : 0;
    }
    case ANNEALING:
        return pow(part->weight, alpha_of(sampler.value, step));
    case SCHEDULE:
        return scheduled_rate(sampler.value, part->name, step);
    default:
        return 1;
    }
}

void ts_sampler_rates(double *rate, const TsSamplerPart *parts, int count, TsChoice sampler, int64_t step)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        rate[i] = unscaled_rate(&parts[i], sampler, step);
        sum += rate[i];
    }
    for (int i = 0; i < count && sum > 0; i++)
        rate[i] /= sum;
}

/* ---- what a user can get wrong ---- */

static TsStatus check_row(const TsSamplerRow *row, const char *where, const TsSamplerPart *parts, int count)
{
    double sum = 0;
    for (int64_t i = 0; i < row->rates.count; i++) {
        double rate = ((const double *)row->rates.items)[i];
        int k = 0;
        while (k < count && strcmp(parts[k].name, row->rates.names[i]) != 0)
            k++;
        if (k == count)
            return ts_status_error(TS_CODE_INVALID, "%ssampler.table: step %lld gives a rate to %s, which is not in it",
                                   where, (long long)row->step, row->rates.names[i]);
        sum += parts[k].weight > 0 ? rate : 0;
    }
    if (!(sum > 0) || !isfinite(sum))
        return ts_status_error(TS_CODE_INVALID, "%ssampler.table: the rates of step %lld add up to %g", where,
                               (long long)row->step, sum);
    return TS_OK;
}

static TsStatus nothing_to_run(const char *where, const TsSamplerPart *parts, int count, double sum)
{
    TsText names = {0};
    for (int i = 0; i < count; i++)
        ts_text_append(&names, "%s%s", i ? ", " : "", parts[i].name);
    TsStatus status = ts_status_error(TS_CODE_INVALID, "%sthe rates of %s add up to %g: there is nothing to run", where,
                                      names.data, sum);
    ts_text_free(&names);
    return status;
}

TsStatus ts_sampler_check(TsChoice sampler, const char *where, const TsSamplerPart *parts, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        if (!(parts[i].weight >= 0) || !isfinite(parts[i].weight))
            return ts_status_error(TS_CODE_INVALID, "%sthe weight of %s is %g: it must be at least 0, and finite",
                                   where, parts[i].name, parts[i].weight);
        sum += unscaled_rate(&parts[i], sampler, 1);
    }
    if (kind_of(sampler) == SCHEDULE) {
        const TsSamplerSchedule *schedule = sampler.value;
        for (int64_t i = 0; i < schedule->table.count; i++)
            TS_TRY(check_row((const TsSamplerRow *)schedule->table.items + i, where, parts, count));
    }
    return sum > 0 && isfinite(sum) ? TS_OK : nothing_to_run(where, parts, count, sum);
}
