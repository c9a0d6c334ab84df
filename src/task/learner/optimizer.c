/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/optimizer.h"

#include <stdio.h>

#include "base/check.h"
#include "tensor/ops.h"

/* ---- keys ---- */

#define RATE(value)                                                                                                    \
    TS_KEY_REAL(TsOptimizerConfig, rate, "the peak learning rate", .fallback = value, .range = TS_AT_LEAST(0))
#define DECAY(value, text) TS_KEY_REAL(TsOptimizerConfig, decay, text, .fallback = value, .range = TS_AT_LEAST(0))
#define DECOUPLED          "of weights, decoupled from the gradient"
#define BETA1(value)                                                                                                   \
    TS_KEY_REAL(TsOptimizerConfig, beta1, "decay of the mean of gradients", .fallback = value,                         \
                .range = TS_FROM_TO(0, 1))
#define BETA2(value)                                                                                                   \
    TS_KEY_REAL(TsOptimizerConfig, beta2, "decay of the mean of their squares", .fallback = value,                     \
                .range = TS_FROM_TO(0, 1))
#define EPSILON(value)                                                                                                 \
    TS_KEY_REAL(TsOptimizerConfig, epsilon, "added to the root of the mean of squares", .fallback = value,             \
                .range = TS_ABOVE(0))
#define THRESHOLD                                                                                                      \
    TS_KEY_REAL(TsOptimizerConfig, threshold, "the largest root mean square of an update; what is larger is scaled",   \
                .fallback = "1", .range = TS_ABOVE(0))
#define MOMENTUM(value)                                                                                                \
    TS_KEY_REAL(TsOptimizerConfig, momentum, "decay of the velocity", .fallback = value, .range = TS_FROM_TO(0, 1))
#define NESTEROV(value)                                                                                                \
    TS_KEY_BOOL(TsOptimizerConfig, nesterov, "the gradient is taken ahead of the velocity", .fallback = value)

static const char *const muon_scales[] = {"original", "match_rms", NULL};

static const TsKey adamw_keys[] = {RATE("3e-4"),  DECAY("0.1", DECOUPLED), BETA1("0.9"),
                                   BETA2("0.99"), EPSILON("1e-8"),         TS_KEYS_END};
static const TsKey adam_keys[] = {RATE("3e-4"),    DECAY("0", "of weights, added to the gradient"),
                                  BETA1("0.9"),    BETA2("0.999"),
                                  EPSILON("1e-8"), TS_KEYS_END};
static const TsKey adam_pax_keys[] = {
    RATE("3e-4"), DECAY("0", DECOUPLED), BETA1("0.9"), BETA2("0.999"), EPSILON("1e-6"), THRESHOLD, TS_KEYS_END};
static const TsKey sgd_keys[] = {RATE("0.1"), DECAY("0", "of weights, added to the gradient"), MOMENTUM("0"),
                                 NESTEROV("false"), TS_KEYS_END};
static const TsKey lion_keys[] = {RATE("1e-4"), DECAY("0.1", DECOUPLED),
                                  TS_KEY_REAL(TsOptimizerConfig, beta1, "what is left of the mean in an update",
                                              .fallback = "0.9", .range = TS_FROM_TO(0, 1)),
                                  TS_KEY_REAL(TsOptimizerConfig, beta2, "decay of the mean of gradients",
                                              .fallback = "0.99", .range = TS_FROM_TO(0, 1)),
                                  TS_KEYS_END};
static const TsKey lamb_keys[] = {RATE("1e-3"),    DECAY("0.01", "of weights, a part of the update that is scaled"),
                                  BETA1("0.9"),    BETA2("0.999"),
                                  EPSILON("1e-6"), TS_KEYS_END};
static const TsKey adafactor_keys[] = {
    RATE("0.01"),
    DECAY("0", DECOUPLED),
    TS_KEY_REAL(TsOptimizerConfig, beta1, "decay of a mean of updates; 0: there is none", .fallback = "0",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsOptimizerConfig, exponent, "the mean of squares at step t decays by 1 - t^-exponent",
                .fallback = "0.8", .range = TS_ABOVE_UP_TO(0, 1)),
    TS_KEY_REAL(TsOptimizerConfig, epsilon, "added to squares of gradients", .fallback = "1e-30", .range = TS_ABOVE(0)),
    THRESHOLD,
    TS_KEY_BOOL(TsOptimizerConfig, scale_parameter, "the rate is relative to the parameter's root mean square",
                .fallback = "true"),
    TS_KEY_REAL(TsOptimizerConfig, least_scale, "but at least to this", .fallback = "1e-3", .range = TS_ABOVE(0)),
    TS_KEYS_END};
static const TsKey muon_keys[] = {
    RATE("0.02"),
    DECAY("0.1", DECOUPLED),
    MOMENTUM("0.95"),
    NESTEROV("true"),
    TS_KEY_INT(TsOptimizerConfig, iterations, "of Newton and Schulz", .fallback = "5", .range = TS_BETWEEN(1, 100)),
    TS_KEY_REAL(TsOptimizerConfig, epsilon, "added to the norm of a matrix", .fallback = "1e-7", .range = TS_ABOVE(0)),
    TS_KEY_ENUM(TsOptimizerConfig, scale, muon_scales,
                "of an update of (rows, columns): original is sqrt(max(1, columns / rows)), match_rms 0.2 "
                "sqrt(max(rows, columns)), which goes with a rate of AdamW",
                .fallback = "original"),
    TS_KEYS_END};
static const TsKey shampoo_keys[] = {
    RATE("1e-3"),
    DECAY("0.1", DECOUPLED),
    BETA1("0.9"),
    TS_KEY_REAL(TsOptimizerConfig, beta2, "decay of the mean of squares, of Adam's update whose length is taken",
                .fallback = "0.99", .range = TS_FROM_TO(0, 1)),
    EPSILON("1e-8"),
    TS_KEY_REAL(TsOptimizerConfig, factor_decay, "of the sums of squares of rows and of columns", .fallback = "0.95",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsOptimizerConfig, ridge, "added to eigenvalues, as a part of the largest", .fallback = "1e-6",
                .range = TS_ABOVE(0)),
    TS_KEY_INT(TsOptimizerConfig, every, "from one decomposition to the next", .fallback = "10",
               .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEY_INT(TsOptimizerConfig, block, "the most rows or columns that are decomposed together; larger dims are cut",
               .fallback = "128", .range = TS_BETWEEN(1, 8192)),
    TS_KEYS_END};

static TsStatus check_sgd(const void *value)
{
    const TsOptimizerConfig *sgd = value;
    return sgd->nesterov && sgd->momentum == 0 ? ts_status_error(TS_CODE_INVALID, "nesterov needs a momentum") : TS_OK;
}

#define TABLE(name, text, check)                                                                                       \
    static const TsConfigTable name##_table = {#name, text, sizeof(TsOptimizerConfig), name##_keys, check}
TABLE(adamw, "Adam with decoupled weight decay: Loshchilov and Hutter 2019.", NULL);
TABLE(adam, "Kingma and Ba 2015.", NULL);
TABLE(adam_pax, "Adam as Pax has it: decays without a bias, and updates of a limited root mean square.", NULL);
TABLE(sgd, "Gradient descent, with a momentum if that is given.", check_sgd);
TABLE(lion, "The sign of a mean: Chen et al. 2023.", NULL);
TABLE(lamb, "Adam relative to the norm of each parameter: You et al. 2020.", NULL);
TABLE(adafactor, "Means of squares by rows and columns: Shazeer and Stern 2018.", NULL);
TABLE(shampoo, "Means of gradients by inverse roots of their squares, of rows and of columns: Gupta et al. 2018.",
      NULL);
TABLE(muon, "Updates made orthogonal, of matrices alone: Jordan et al. 2024.", NULL);

/* ---- one op a step ---- */

TsTensor ts_update_state(const TsUpdate *update, const char *what)
{
    char name[256];
    snprintf(name, sizeof name, "optimizer/%s/%s", what, update->row->path);
    return ts_state(update->graph, name, update->row->dtype, update->row->shape, update->row->state);
}

TsTensor ts_update_squares(const TsUpdate *update, TsTensor x)
{
    if (!update->parts)
        return ts_sum_squares(x);
    TsTensor parts = ts_sum_squares_parts(x, update->row->dim, update->parts);
    return ts_sum(ts_constrain(parts, ts_replicated), -1, false);
}

int ts_update_split(TsShape shape)
{
    int best = 0;
    int64_t fewest = INT64_MAX;
    for (int split = 1; split < shape.dims; split++) {
        int64_t rows = 1, columns = 1;
        for (int d = 0; d < shape.dims; d++)
            *(d < split ? &rows : &columns) *= shape.size[d];
        if (rows + columns < fewest) {
            fewest = rows + columns;
            best = split;
        }
    }
    return best;
}

static TsTensor adamw(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    TsAdamwIn in = {.parameter = update->parameter,
                    .gradient = update->gradient,
                    .mean = ts_update_state(update, "mean"),
                    .variance = ts_update_state(update, "variance"),
                    .rate = update->scalars.rate,
                    .factor = update->scalars.factor,
                    .step = update->scalars.step};
    TsAdamwOut out = ts_adamw(
        in, (TsAdamw){
                .beta1 = options->beta1, .beta2 = options->beta2, .epsilon = options->epsilon, .decay = update->decay});
    ts_assign(in.mean, out.mean);
    ts_assign(in.variance, out.variance);
    return out.parameter;
}

static TsOptimizerRuleOptions rule_options(const TsUpdate *update)
{
    const TsOptimizerConfig *options = update->options;
    return (TsOptimizerRuleOptions){
        .beta1 = options->beta1, .beta2 = options->beta2, .epsilon = options->epsilon, .decay = update->decay};
}

static TsTensor adam(const TsUpdate *update)
{
    TsTensor mean = ts_update_state(update, "mean"), variance = ts_update_state(update, "variance");
    TsOptimizerOut out =
        ts_adam(update->parameter, mean, variance, update->gradient, update->scalars, rule_options(update));
    ts_assign(mean, out.second);
    ts_assign(variance, out.third);
    return out.first;
}

static TsTensor lion(const TsUpdate *update)
{
    TsTensor mean = ts_update_state(update, "mean");
    TsOptimizerOut out = ts_lion(update->parameter, mean, update->gradient, update->scalars, rule_options(update));
    ts_assign(mean, out.second);
    return out.first;
}

static TsTensor sgd(const TsUpdate *update)
{
    TsOptimizerRuleOptions rule = {
        .beta1 = update->options->momentum, .decay = update->decay, .nesterov = update->options->nesterov};
    if (rule.beta1 == 0)
        return ts_sgd(update->parameter, update->gradient, update->scalars, rule);
    TsTensor velocity = ts_update_state(update, "velocity");
    TsOptimizerOut out = ts_momentum(update->parameter, velocity, update->gradient, update->scalars, rule);
    ts_assign(velocity, out.second);
    return out.first;
}

/* ---- the registry ---- */

static double two_states(const TsOptimizerConfig *options)
{
    (void)options;
    return 2;
}

static double one_state(const TsOptimizerConfig *options)
{
    (void)options;
    return 1;
}

static double states_of_sgd(const TsOptimizerConfig *options)
{
    return options->momentum > 0;
}

/* But for rows and columns, which are few. */
static double states_of_adafactor(const TsOptimizerConfig *options)
{
    return options->beta1 > 0;
}

static const char *refuse_no_matrix(const TsParameter *row)
{
    return row->shape.dims < 2 ? "it is no matrix" : NULL;
}

static const TsOptimizer rules[] = {{adamw, two_states, NULL, NULL},
                                    {sgd, states_of_sgd, NULL, NULL},
                                    {adam, two_states, NULL, NULL},
                                    {ts_rule_adam_pax, two_states, NULL, NULL},
                                    {ts_rule_adafactor, states_of_adafactor, NULL, NULL},
                                    {lion, one_state, NULL, NULL},
                                    {ts_rule_lamb, two_states, NULL, NULL},
                                    {ts_rule_muon, one_state, refuse_no_matrix, NULL},
                                    {ts_rule_shampoo, two_states, NULL, ts_rule_shampoo_after}};

static const TsVariant optimizers[] = {
    {"adamw", "Adam with decoupled weight decay", &adamw_table, &rules[0]},
    {"sgd", "gradient descent, with or without momentum", &sgd_table, &rules[1]},
    {"adam", "Adam, with weight decay in the gradient", &adam_table, &rules[2]},
    {"adam_pax", "Adam as Pax has it", &adam_pax_table, &rules[3]},
    {"adafactor", "Adam with little memory", &adafactor_table, &rules[4]},
    {"lion", "the sign of a mean of gradients", &lion_table, &rules[5]},
    {"lamb", "Adam relative to the norm of each parameter, for large batches", &lamb_table, &rules[6]},
    {"muon", "orthogonal updates, of matrices", &muon_table, &rules[7]},
    {"shampoo", "roots of squares of rows and of columns", &shampoo_table, &rules[8]}};
TsVariants ts_optimizers = {"optimizer", optimizers, sizeof optimizers / sizeof *optimizers};
