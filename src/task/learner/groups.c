/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/groups.h"

#include "base/memory.h"
#include "base/pattern.h"
#include "task/learner/optimizer.h"

static const char *name_of(const TsLearnerConfig *config, int group)
{
    return config->optimizers.names[group - 1];
}

/* Gives the parameters that the pattern of `group` finds to it. */
static TsStatus take(TsGroups *groups, const TsLearnerConfig *config, const TsParameters *parameters, int group)
{
    const TsOptimizerGroup *item = (const TsOptimizerGroup *)config->optimizers.items + (group - 1);
    TsPattern *pattern = NULL;
    TsStatus status = ts_pattern_create(&pattern, item->parameters);
    bool found = false;
    for (int i = 0; !status && i < ts_parameters_count(parameters); i++) {
        const char *path = ts_parameters_at(parameters, i)->path;
        if (!ts_pattern_found(pattern, path))
            continue;
        found = true;
        if (groups->of[i])
            status = ts_status_error(TS_CODE_INVALID, "it takes %s, as learner.optimizers.%s does", path,
                                     name_of(config, groups->of[i]));
        groups->of[i] = group;
    }
    if (!status && !found)
        status = ts_status_error(TS_CODE_INVALID, "\"%s\" is found in the path of no parameter", item->parameters);
    ts_pattern_free(&pattern);
    return ts_status_annotate(status, "learner.optimizers.%s", name_of(config, group));
}

/* That each optimizer takes what it is given. */
static TsStatus check_rows(const TsGroups *groups, const TsLearnerConfig *config, const TsParameters *parameters)
{
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        const TsVariant *variant = groups->optimizer[groups->of[i]].variant;
        const TsOptimizer *optimizer = variant->extra;
        const char *why = row->trainable && optimizer->refuse ? optimizer->refuse(row) : NULL;
        if (why)
            return ts_status_error(TS_CODE_INVALID,
                                   "learner.optimizer%s%s: %s does not take %s %s: %s; another optimizer under "
                                   "learner.optimizers can have it",
                                   groups->of[i] ? "s." : "", groups->of[i] ? name_of(config, groups->of[i]) : "",
                                   variant->name, row->path, ts_shape_text(row->shape).text, why);
    }
    return TS_OK;
}

static TsStatus set_decays(TsGroups *groups, const TsLearnerConfig *config, const TsParameters *parameters)
{
    const char *const *texts = config->no_decay.items;
    for (int i = 0; i < ts_parameters_count(parameters); i++)
        groups->decay[i] = ts_parameters_at(parameters, i)->decays
                               ? ((const TsOptimizerConfig *)groups->optimizer[groups->of[i]].value)->decay
                               : 0;
    for (int64_t k = 0; k < config->no_decay.count; k++) {
        TsPattern *pattern = NULL;
        bool found = false;
        TsStatus status = ts_pattern_create(&pattern, texts[k]);
        for (int i = 0; !status && i < ts_parameters_count(parameters); i++)
            if (ts_pattern_found(pattern, ts_parameters_at(parameters, i)->path)) {
                groups->decay[i] = 0;
                found = true;
            }
        if (!status && !found)
            status = ts_status_error(TS_CODE_INVALID, "\"%s\" is found in the path of no parameter", texts[k]);
        ts_pattern_free(&pattern);
        if (status)
            return ts_status_annotate(status, "learner.no_decay");
    }
    return TS_OK;
}

TsStatus ts_groups_create(TsGroups *groups, const TsLearnerConfig *config, const TsParameters *parameters)
{
    int rows = ts_parameters_count(parameters), count = 1 + (int)config->optimizers.count;
    TsChoice *optimizer = ts_calloc((size_t)count, sizeof *optimizer),
             *schedule = ts_calloc((size_t)count, sizeof *schedule);
    *groups = (TsGroups){.count = count,
                         .optimizer = optimizer,
                         .schedule = schedule,
                         .of = ts_calloc((size_t)rows + 1, sizeof(int)),
                         .decay = ts_calloc((size_t)rows + 1, sizeof(double))};
    optimizer[0] = config->optimizer;
    schedule[0] = config->schedule;
    for (int group = 1; group < count; group++) {
        const TsOptimizerGroup *item = (const TsOptimizerGroup *)config->optimizers.items + (group - 1);
        optimizer[group] = item->optimizer;
        schedule[group] = item->schedule.variant ? item->schedule : config->schedule;
        TS_TRY(take(groups, config, parameters, group));
    }
    TS_TRY(check_rows(groups, config, parameters));
    return set_decays(groups, config, parameters);
}

void ts_groups_free(TsGroups *groups)
{
    ts_free((TsChoice *)groups->optimizer);
    ts_free((TsChoice *)groups->schedule);
    ts_free(groups->of);
    ts_free(groups->decay);
    *groups = (TsGroups){.count = 0};
}

double ts_groups_rate(const TsGroups *groups, int group, int64_t step, int64_t run_steps)
{
    const TsOptimizerConfig *optimizer = groups->optimizer[group].value;
    return optimizer->rate * ts_schedule_factor(groups->schedule[group], step, run_steps);
}
