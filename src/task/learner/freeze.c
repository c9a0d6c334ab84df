/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/freeze.h"

#include "base/memory.h"
#include "base/pattern.h"

typedef struct Patterns {
    const TsList *texts; /* of const char * */
    TsPattern **pattern; /* (texts->count) */
    bool *found;         /* (texts->count) in some path */
} Patterns;

static TsStatus read_patterns(Patterns *patterns, const TsConfig *config, const TsList *texts)
{
    const char *const *text = texts->items;
    *patterns = (Patterns){.texts = texts,
                           .pattern = ts_calloc((size_t)texts->count + 1, sizeof(TsPattern *)),
                           .found = ts_calloc((size_t)texts->count + 1, sizeof(bool))};
    for (int64_t i = 0; i < texts->count; i++) {
        TsStatus status = ts_pattern_create(&patterns->pattern[i], text[i]);
        if (!status)
            continue;
        TsStatus located = ts_config_error(config, texts, "%s", ts_status_message(status));
        ts_status_free(&status);
        return located;
    }
    return TS_OK;
}

static void free_patterns(Patterns *patterns)
{
    for (int64_t i = 0; patterns->pattern && i < patterns->texts->count; i++)
        ts_pattern_free(&patterns->pattern[i]);
    ts_free(patterns->pattern);
    ts_free(patterns->found);
}

/* Whether any is found in `path`; all that are, are noted. */
static bool any_found(Patterns *patterns, const char *path)
{
    bool any = false;
    for (int64_t i = 0; i < patterns->texts->count; i++) {
        bool found = ts_pattern_found(patterns->pattern[i], path);
        patterns->found[i] |= found;
        any |= found;
    }
    return any;
}

static void freeze_row(TsJob *job, const char *path)
{
    ts_parameters_freeze(job->parameters, path);
    for (int i = 0; i < job->task_count; i++)
        if (job->own[i] && ts_parameters_find(job->own[i], path))
            ts_parameters_freeze(job->own[i], path);
}

static TsStatus expect_found(const Patterns *patterns, const TsJob *job)
{
    const char *const *text = patterns->texts->items;
    for (int64_t i = 0; i < patterns->texts->count; i++)
        if (!patterns->found[i])
            return ts_config_error(job->config, patterns->texts,
                                   "\"%s\" is found in the path of no parameter, such as %s", text[i],
                                   ts_parameters_at(job->parameters, 0)->path);
    return TS_OK;
}

TsStatus ts_freeze(TsJob *job, bool all_declared)
{
    const TsLearnerConfig *learner = &job->keys->learner;
    bool only = learner->only.count > 0;
    if (!only && !learner->freeze.count)
        return TS_OK;
    Patterns patterns = {.texts = NULL};
    TsStatus status = read_patterns(&patterns, job->config, only ? &learner->only : &learner->freeze);
    for (int i = 0; !status && i < ts_parameters_count(job->parameters); i++) {
        const char *path = ts_parameters_at(job->parameters, i)->path;
        if (any_found(&patterns, path) != only)
            freeze_row(job, path);
    }
    if (!status && all_declared && ts_parameters_count(job->parameters))
        status = expect_found(&patterns, job);
    free_patterns(&patterns);
    return status;
}
