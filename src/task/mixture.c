/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture.h"

#include <math.h>

#include "base/memory.h"
#include "base/philox.h"

typedef enum Sampler { UNIFORM, PROPORTIONAL, ROUND_ROBIN } Sampler;

static const TsKey proportional_keys[] = {
    TS_KEY_REAL(TsProportional, alpha, "rates are weight^alpha / sum", .fallback = "1", .range = TS_AT_LEAST(0)),
    TS_KEYS_END};
static const TsConfigTable proportional_table = {"proportional", "Rates follow the tasks' weights.",
                                                 sizeof(TsProportional), proportional_keys, NULL};

/* In the order of Sampler. */
static const TsVariant samplers[] = {
    [UNIFORM] = {"uniform", "all tasks alike", NULL, NULL},
    [PROPORTIONAL] = {"proportional", "rates follow the tasks' weights", &proportional_table, NULL},
    [ROUND_ROBIN] = {"round_robin", "one task after the other", NULL, NULL}};
const TsVariants ts_samplers = {"sampler", samplers, sizeof samplers / sizeof *samplers};

static const char *const mode_words[] = {"interleaved", NULL};

static const TsKey keys[] = {
    TS_KEY_ENUM(TsMixtureConfig, mode, mode_words, "how tasks share the steps", .fallback = "interleaved"),
    TS_KEY_CHOICE(TsMixtureConfig, sampler, &ts_samplers, "which task a step runs", .fallback = "proportional"),
    TS_KEYS_END};
const TsConfigTable ts_mixture_table = {"mixture", "Which task is learned when.", sizeof(TsMixtureConfig), keys, NULL};

struct TsMixture {
    Sampler sampler;
    int count;
    double *rate;        /* (count) */
    uint32_t *threshold; /* (count): the draws below it, and not below the one before, are this task's */
    uint64_t seed;
};

static TsStatus check_weights(const char *const *names, const double *weights, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        if (!(weights[i] >= 0) || !isfinite(weights[i]))
            return ts_status_error(TS_CODE_INVALID, "tasks.%s.weight: %g is no weight: at least 0, and finite",
                                   names[i], weights[i]);
        sum += weights[i];
    }
    if (!(sum > 0) || !isfinite(sum))
        return ts_status_error(TS_CODE_INVALID, "tasks: the weights add up to %g: there is nothing to run", sum);
    return TS_OK;
}

/* Integer thresholds, the last of a task with a rate forced to the top: no draw is left without a task. */
static void set_thresholds(TsMixture *mixture)
{
    double sum = 0;
    int last = 0;
    for (int i = 0; i < mixture->count; i++) {
        sum += mixture->rate[i];
        mixture->threshold[i] = (uint32_t)fmin(floor(sum * 0x1p32), 0xffffffff);
        last = mixture->rate[i] > 0 ? i : last;
    }
    for (int i = last; i < mixture->count; i++)
        mixture->threshold[i] = UINT32_MAX;
}

TsStatus ts_mixture_create(TsMixture **mixture, const TsMixtureConfig *config, const char *const *names,
                           const double *weights, int count, uint64_t seed)
{
    *mixture = NULL;
    TS_TRY(check_weights(names, weights, count));
    TsMixture *made = ts_calloc(1, sizeof *made);
    *made = (TsMixture){.sampler = (Sampler)(config->sampler.variant - samplers),
                        .count = count,
                        .rate = ts_calloc((size_t)count, sizeof *made->rate),
                        .threshold = ts_calloc((size_t)count, sizeof *made->threshold),
                        .seed = seed};
    double sum = 0;
    for (int i = 0; i < count; i++) {
        const TsProportional *proportional = config->sampler.value;
        made->rate[i] = made->sampler == PROPORTIONAL ? weights[i] > 0 ? pow(weights[i], proportional->alpha) : 0 : 1;
        sum += made->rate[i];
    }
    for (int i = 0; i < count; i++)
        made->rate[i] /= sum;
    set_thresholds(made);
    *mixture = made;
    return TS_OK;
}

void ts_mixture_free(TsMixture **mixture)
{
    if (!*mixture)
        return;
    ts_free((*mixture)->rate);
    ts_free((*mixture)->threshold);
    ts_free(*mixture);
    *mixture = NULL;
}

int ts_mixture_task(const TsMixture *mixture, int64_t step)
{
    if (mixture->sampler == ROUND_ROBIN)
        return (int)((step - 1) % mixture->count);
    uint32_t draw;
    ts_stream_fill_bits(ts_stream(mixture->seed, "mixture", step), &draw, 0, 1);
    int task = 0;
    while (draw >= mixture->threshold[task] && mixture->threshold[task] < UINT32_MAX)
        task++;
    return task;
}

double ts_mixture_rate(const TsMixture *mixture, int task)
{
    return mixture->rate[task];
}
