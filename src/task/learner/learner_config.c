/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of `learner`, and what follows from them alone.
 */
#include "task/learner/learner.h"

static const TsKey group_keys[] = {
    TS_KEY_STRING(TsOptimizerGroup, parameters, "a regular expression: those in whose path it is found",
                  .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_CHOICE(TsOptimizerGroup, optimizer, &ts_optimizers, "how gradients become updates", .flat = true,
                  .required = true),
    TS_KEY_CHOICE(TsOptimizerGroup, schedule, &ts_schedules, "of the learning rate; left out: learner.schedule"),
    TS_KEYS_END};
static const TsConfigTable group_table = {"optimizer_group", "Another optimizer for some parameters.",
                                          sizeof(TsOptimizerGroup), group_keys, NULL};

static const TsKey ema_keys[] = {
    TS_KEY_REAL(TsEmaConfig, decay, "of the averages; at step t + 1 at most (1 + t) / (10 + t)", .fallback = "0.9999",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_BOOL(TsEmaConfig, evaluate, "evaluation and decoding use the averages instead of the parameters",
                .fallback = "false"),
    TS_KEYS_END};
static const TsConfigTable ema_table = {"ema", "Exponential moving averages of parameters, beside them.",
                                        sizeof(TsEmaConfig), ema_keys, NULL};

static const TsKey keys[] = {
    TS_KEY_CHOICE(TsLearnerConfig, optimizer, &ts_optimizers, "how gradients become updates", .fallback = "adamw"),
    TS_KEY_CHOICE(TsLearnerConfig, schedule, &ts_schedules, "of the learning rate", .fallback = "constant"),
    TS_KEY_MAP(TsLearnerConfig, optimizers, TS_ELEMENT_STRUCT(&group_table),
               "other optimizers by name, each for the parameters that it names", .fallback = "{}"),
    TS_KEY_LIST(TsLearnerConfig, freeze, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path one is found stay as they are", .fallback = "[]"),
    TS_KEY_LIST(TsLearnerConfig, only, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path none is found stay as they are; instead of freeze",
                .fallback = "[]"),
    TS_KEY_LIST(TsLearnerConfig, no_decay, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path one is found do not decay, as biases and norms never do",
                .fallback = "[]"),
    TS_KEY_OPTIONAL(TsLearnerConfig, ema, &ema_table, "averages of the parameters; left out: none"),
    TS_KEY_REAL(TsLearnerConfig, clip, "the largest global norm of a gradient; 0 is no clipping", .fallback = "1",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLearnerConfig, clip_each, "the largest norm of each parameter's gradient; instead of clip: 0",
                .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLearnerConfig, skip_above, "a step with a larger norm of the gradient is skipped", .fallback = "inf",
                .takes_inf = true, .range = TS_ABOVE(0)),
    TS_KEY_INT(
        TsLearnerConfig, skip_limit,
        "after so many skipped steps in a row the run goes back to an older checkpoint (guard.rollbacks), or ends",
        .fallback = "20", .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEY_INT(TsLearnerConfig, accumulate,
               "micro-batches that each rank cuts its part of a batch into, to go through them one after another: the "
               "same step with the activations of one",
               .fallback = "1", .range = TS_BETWEEN(1, 1 << 16), .unit = "micro-batches"),
    TS_KEY_BYTES(TsLearnerConfig, bucket,
                 "small gradients are reduced together up to this size, small parameters gathered; 0: each by itself",
                 .fallback = "4 MiB", .range = TS_BETWEEN(0, 1 << 30)),
    TS_KEYS_END};

static TsStatus check_learner(const void *value)
{
    const TsLearnerConfig *config = value;
    if (config->freeze.count && config->only.count)
        return ts_status_error(TS_CODE_INVALID,
                               "freeze says what stays as it is, only what does not: give one of them");
    if (config->clip > 0 && config->clip_each > 0)
        return ts_status_error(TS_CODE_INVALID, "clip is by the norm of the whole gradient, clip_each by that of each "
                                                "parameter: one of them must be 0");
    return TS_OK;
}

const TsConfigTable ts_learner_table = {"learner", "How parameters learn.", sizeof(TsLearnerConfig), keys,
                                        check_learner};

int64_t ts_learner_bucket_bytes(const TsLearnerConfig *config)
{
    return config->bucket ? config->bucket : -1;
}

double ts_learner_states(const TsLearnerConfig *config)
{
    const TsOptimizer *optimizer = config->optimizer.variant->extra;
    return optimizer->states(config->optimizer.value) + (config->ema ? 1 : 0);
}
