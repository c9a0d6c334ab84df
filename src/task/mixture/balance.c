/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/balance.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/permutation.h"

typedef enum Method { FIXED, UNCERTAINTY, DYNAMIC_AVERAGE, GRADNORM, PCGRAD } Method;

static const TsKey uncertainty_keys[] = {TS_KEY_REAL(TsUncertaintyConfig, rate, "at which log variances are learned",
                                                     .fallback = "1e-3", .range = TS_ABOVE(0)),
                                         TS_KEYS_END};
static const TsConfigTable uncertainty_table = {"uncertainty",
                                                "Tasks of a larger variance, which is learned, count less.",
                                                sizeof(TsUncertaintyConfig), uncertainty_keys, NULL};

static const TsKey dynamic_average_keys[] = {
    TS_KEY_REAL(TsDynamicAverageConfig, temperature, "the higher, the more alike the weights", .fallback = "2",
                .range = TS_ABOVE(0)),
    TS_KEY_INT(TsDynamicAverageConfig, every, "interval over which losses are averaged and compared", .fallback = "100",
               .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEYS_END};
static const TsConfigTable dynamic_average_table = {"dynamic_average", "Tasks whose loss falls slowest count most.",
                                                    sizeof(TsDynamicAverageConfig), dynamic_average_keys, NULL};

static const TsKey gradnorm_keys[] = {
    TS_KEY_REAL(TsGradnormConfig, alpha, "how much slower tasks are helped", .fallback = "1.5",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsGradnormConfig, rate, "at which weights are learned", .fallback = "0.025", .range = TS_ABOVE(0)),
    TS_KEYS_END};
static const TsConfigTable gradnorm_table = {"gradnorm",
                                             "Weights that bring the norms of gradients near to one another.",
                                             sizeof(TsGradnormConfig), gradnorm_keys, NULL};

/* In the order of Method. */
static const TsVariant methods[] = {
    [FIXED] = {"fixed", "losses count by their weights", NULL, NULL},
    [UNCERTAINTY] = {"uncertainty", "by a variance of each task that is learned", &uncertainty_table, NULL},
    [DYNAMIC_AVERAGE] = {"dynamic_average", "by how fast losses fall", &dynamic_average_table, NULL},
    [GRADNORM] = {"gradnorm", "by the norms of their gradients", &gradnorm_table, NULL},
    [PCGRAD] = {"pcgrad", "what of a gradient goes against another's is taken out", NULL, NULL}};
const TsVariants ts_balances = {"balance", methods, sizeof methods / sizeof *methods};

struct TsBalance {
    Method method;
    const void *keys;
    int count;
    uint64_t seed;
    int state_count;
    double *state; /* (state_count) by method: see below */
    double *work;  /* (count) */
};

/* Rows of `count` in the state. */
enum { LOG_VARIANCE, ADAM_MEAN, ADAM_VARIANCE, UNCERTAINTY_ROWS }; /* and the steps of Adam behind them */
enum { SUM, LAST_MEAN, MEAN_BEFORE, DYNAMIC_AVERAGE_ROWS };        /* and the steps in SUM, and intervals so far */
enum { WEIGHT, FIRST_LOSS, GRADNORM_ROWS };

static double *row(const TsBalance *balance, int number)
{
    return balance->state + number * balance->count;
}

TsBalance *ts_balance_create(TsChoice method, int count, uint64_t seed)
{
    static const int rows[] = {[UNCERTAINTY] = UNCERTAINTY_ROWS,
                               [DYNAMIC_AVERAGE] = DYNAMIC_AVERAGE_ROWS,
                               [GRADNORM] = GRADNORM_ROWS,
                               [PCGRAD] = 0};
    static const int behind[] = {[UNCERTAINTY] = 1, [DYNAMIC_AVERAGE] = 2, [PCGRAD] = 0};
    TsBalance *made = ts_calloc(1, sizeof *made);
    *made =
        (TsBalance){.method = (Method)(method.variant - methods), .keys = method.value, .count = count, .seed = seed};
    made->state_count = rows[made->method] * count + behind[made->method];
    made->state = ts_calloc((size_t)made->state_count, sizeof *made->state);
    made->work = ts_calloc((size_t)count, sizeof *made->work);
    for (int i = 0; i < count && made->method == GRADNORM; i++)
        row(made, WEIGHT)[i] = 1;
    return made;
}

void ts_balance_free(TsBalance **balance)
{
    if (!*balance)
        return;
    ts_free((*balance)->state);
    ts_free((*balance)->work);
    ts_free(*balance);
    *balance = NULL;
}

bool ts_balance_waits_for_gradients(const TsBalance *balance)
{
    return balance->method == PCGRAD;
}

bool ts_balance_takes_gram(const TsBalance *balance)
{
    return balance->method == GRADNORM;
}

int ts_balance_state(TsBalance *balance, double **state)
{
    *state = balance->state;
    return balance->state_count;
}

static bool is_active(const bool *active, int task)
{
    return !active || active[task];
}

static int count_active(const TsBalance *balance, const bool *active)
{
    int count = 0;
    for (int i = 0; i < balance->count; i++)
        count += is_active(active, i);
    return count;
}

/* ---- dynamic average ---- */

static void average_coefficients(const TsBalance *balance, double *coefficient, const bool *active)
{
    const TsDynamicAverageConfig *keys = balance->keys;
    bool known = row(balance, DYNAMIC_AVERAGE_ROWS)[1] >= 2;
    double sum = 0;
    for (int i = 0; i < balance->count; i++) {
        double before = row(balance, MEAN_BEFORE)[i];
        double pace = known && before != 0 ? row(balance, LAST_MEAN)[i] / before : 1;
        coefficient[i] = is_active(active, i) ? exp(pace / keys->temperature) : 0;
        sum += coefficient[i];
    }
    for (int i = 0; i < balance->count; i++)
        coefficient[i] *= count_active(balance, active) / sum;
}

static void average_losses(TsBalance *balance, const double *loss)
{
    const TsDynamicAverageConfig *keys = balance->keys;
    double *steps = row(balance, DYNAMIC_AVERAGE_ROWS);
    for (int i = 0; i < balance->count; i++)
        row(balance, SUM)[i] += loss[i];
    if (++steps[0] < (double)keys->every)
        return;
    for (int i = 0; i < balance->count; i++) {
        row(balance, MEAN_BEFORE)[i] = row(balance, LAST_MEAN)[i];
        row(balance, LAST_MEAN)[i] = row(balance, SUM)[i] / steps[0];
        row(balance, SUM)[i] = 0;
    }
    steps[0] = 0;
    steps[1]++;
}

/* ---- uncertainty ---- */

/* d L / d s_i = (1 - exp(-s_i) L_i) / 2, followed by Adam. */
static void learn_variances(TsBalance *balance, const double *loss, const bool *active)
{
    const TsUncertaintyConfig *keys = balance->keys;
    double *s = row(balance, LOG_VARIANCE), *mean = row(balance, ADAM_MEAN), *variance = row(balance, ADAM_VARIANCE);
    double step = ++*row(balance, UNCERTAINTY_ROWS);
    for (int i = 0; i < balance->count; i++) {
        if (!is_active(active, i))
            continue;
        double gradient = (1 - exp(-s[i]) * loss[i]) / 2;
        mean[i] = 0.9 * mean[i] + 0.1 * gradient;
        variance[i] = 0.999 * variance[i] + 0.001 * gradient * gradient;
        s[i] -= keys->rate * mean[i] / (1 - pow(0.9, step)) / (sqrt(variance[i] / (1 - pow(0.999, step))) + 1e-8);
    }
}

/* ---- GradNorm ---- */

/* The weights' own loss is sum_i | w_i |g_i| - target_i |, the targets taken as constants. */
static void learn_weights(TsBalance *balance, const double *loss, const double *gram, const bool *active)
{
    const TsGradnormConfig *keys = balance->keys;
    double *weight = row(balance, WEIGHT), *first = row(balance, FIRST_LOSS), *pace = balance->work;
    double norm = 0, mean_pace = 0, sum = 0;
    int count = balance->count, active_count = count_active(balance, active);
    for (int i = 0; i < count; i++) {
        if (!is_active(active, i))
            continue;
        first[i] = first[i] == 0 ? loss[i] : first[i];
        pace[i] = first[i] != 0 ? loss[i] / first[i] : 1;
        mean_pace += pace[i] / active_count;
        norm += weight[i] * sqrt(gram[i * count + i]) / active_count;
    }
    for (int i = 0; i < count; i++) {
        if (!is_active(active, i))
            continue;
        double length = sqrt(gram[i * count + i]);
        double target = norm * pow(fmax(pace[i] / mean_pace, 0), keys->alpha), off = weight[i] * length - target;
        weight[i] = fmax(weight[i] - keys->rate * ((off > 0) - (off < 0)) * length, 1e-6);
        sum += weight[i];
    }
    for (int i = 0; i < count; i++)
        if (is_active(active, i))
            weight[i] *= active_count / sum;
}

/* ---- PCGrad ---- */

/* g_i, as a combination of all gradients, against those that it conflicts with: coefficients added to `sum`. */
static void project(double *sum, const TsBalance *balance, int task, const double *gram, const bool *active,
                    TsPermutation order)
{
    int count = balance->count;
    double *own = balance->work;
    memset(own, 0, (size_t)count * sizeof *own);
    own[task] = 1;
    for (int at = 0; at < count; at++) {
        int other = (int)ts_permute(&order, at);
        double dot = 0;
        if (other == task || !is_active(active, other) || !(gram[other * count + other] > 0))
            continue;
        for (int k = 0; k < count; k++)
            dot += own[k] * gram[k * count + other];
        if (dot < 0)
            own[other] -= dot / gram[other * count + other];
    }
    for (int k = 0; k < count; k++)
        sum[k] += own[k];
}

static void project_all(const TsBalance *balance, double *coefficient, const double *gram, const bool *active,
                        int64_t step)
{
    memset(coefficient, 0, (size_t)balance->count * sizeof *coefficient);
    for (int i = 0; i < balance->count; i++) {
        if (!is_active(active, i))
            continue;
        TsStream stream = ts_stream(balance->seed, "pcgrad", step * balance->count + i);
        project(coefficient, balance, i, gram, active, ts_permutation(stream, balance->count));
    }
}

/* ---- all ---- */

void ts_balance_coefficients(TsBalance *balance, double *coefficient, const double *gram, const bool *active,
                             int64_t step)
{
    if (balance->method == DYNAMIC_AVERAGE)
        average_coefficients(balance, coefficient, active);
    else if (balance->method == PCGRAD)
        project_all(balance, coefficient, gram, active, step);
    else
        for (int i = 0; i < balance->count; i++) {
            double own = balance->method == UNCERTAINTY ? exp(-row(balance, LOG_VARIANCE)[i]) / 2
                         : balance->method == GRADNORM  ? row(balance, WEIGHT)[i]
                                                        : 1;
            coefficient[i] = is_active(active, i) ? own : 0;
        }
}

/* Numbers that went bad skip the step, and teach nothing. */
static bool is_finite(const TsBalance *balance, const double *loss, const double *gram, const bool *active)
{
    bool finite = true;
    for (int i = 0; i < balance->count; i++)
        finite &= !is_active(active, i) || (isfinite(loss[i]) && (!gram || isfinite(gram[i * balance->count + i])));
    return finite;
}

void ts_balance_update(TsBalance *balance, const double *loss, const double *gram, const bool *active)
{
    if (!is_finite(balance, loss, gram, active))
        return;
    if (balance->method == UNCERTAINTY)
        learn_variances(balance, loss, active);
    else if (balance->method == DYNAMIC_AVERAGE)
        average_losses(balance, loss);
    else if (balance->method == GRADNORM)
        learn_weights(balance, loss, gram, active);
}
