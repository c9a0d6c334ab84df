/* SPDX-License-Identifier: Apache-2.0 */
#include "model/fine_tune.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/pattern.h"

static const char trunk[] = "backbone/";

struct TsFineTune {
    const TsFineTuneConfig *config;
    const char *task;
    TsPattern *targets; /* NULL: not lora */
    bool found;
};

/* ---- keys ---- */

static const char *const mode_words[] = {"full", "frozen", "lora", "adapters", NULL};

static const TsKey unfreeze_keys[] = {
    TS_KEY_STRING(TsUnfreeze, parameters, "a pattern of their paths", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_INT(TsUnfreeze, step, "the first in which they move", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEYS_END};
static const TsConfigTable unfreeze_table = {"unfreeze", "Parameters that learn only from a step on.",
                                             sizeof(TsUnfreeze), unfreeze_keys, NULL};

static const TsKey keys[] = {
    TS_KEY_ENUM(TsFineTuneConfig, mode, mode_words,
                "what of the backbone learns: all, nothing, or what is put into it: low-rank updates of its linear "
                "layers, or residual adapters behind its blocks",
                .fallback = "full"),
    TS_KEY_INT(TsFineTuneConfig, r,
               "lora: of the update of a kernel, which is a product of two of so many columns and "
               "rows",
               .fallback = "16", .range = TS_BETWEEN(1, 65536)),
    TS_KEY_REAL(TsFineTuneConfig, alpha, "lora: the update counts alpha / r times", .fallback = "32",
                .range = TS_ABOVE(0)),
    TS_KEY_STRING(TsFineTuneConfig, targets, "lora: a pattern of the paths of linear layers that are updated",
                  .fallback = "\"attention/(query|value)$\"", .range = TS_AT_LEAST(1)),
    TS_KEY_BOOL(TsFineTuneConfig, rank_stabilized, "lora: the update counts alpha / sqrt(r) times instead",
                .fallback = "false"),
    TS_KEY_REAL(TsFineTuneConfig, dropout, "lora: of what goes into the update", .fallback = "0",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_INT(TsFineTuneConfig, width, "adapters: inside each", .fallback = "64", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_LIST(TsFineTuneConfig, unfreeze, TS_ELEMENT_STRUCT(&unfreeze_table),
                "parameters that learn only from a step on, such as {parameters: \"layer_0[0-5]/\", step: 1000}; the "
                "first that is found in a path counts"),
    TS_KEYS_END};

static TsStatus check(const void *value)
{
    const TsFineTuneConfig *config = value;
    const TsUnfreeze *items = config->unfreeze.items;
    TsPattern *pattern = NULL;
    TS_TRY(ts_status_annotate(ts_pattern_create(&pattern, config->targets), "targets"));
    ts_pattern_free(&pattern);
    for (int64_t i = 0; i < config->unfreeze.count; i++) {
        TS_TRY(ts_status_annotate(ts_pattern_create(&pattern, items[i].parameters), "unfreeze.%lld", (long long)i));
        ts_pattern_free(&pattern);
    }
    return TS_OK;
}

const TsConfigTable ts_fine_tune_table = {"fine_tune", "Which part of a pre-trained backbone learns.",
                                          sizeof(TsFineTuneConfig), keys, check};

/* ---- what layers ask ---- */

TsStatus ts_fine_tune_create(TsFineTune **fine_tune, const TsFineTuneConfig *config, const char *task)
{
    TsFineTune *made = ts_calloc(1, sizeof *made);
    *made = (TsFineTune){.config = config, .task = task};
    TsStatus status = config->mode == TS_FINE_TUNE_LORA ? ts_pattern_create(&made->targets, config->targets) : TS_OK;
    if (status)
        ts_fine_tune_free(&made);
    *fine_tune = made;
    return status;
}

void ts_fine_tune_free(TsFineTune **fine_tune)
{
    if (!*fine_tune)
        return;
    ts_pattern_free(&(*fine_tune)->targets);
    ts_free(*fine_tune);
    *fine_tune = NULL;
}

static bool is_of_trunk(const char *path)
{
    return strncmp(path, trunk, sizeof trunk - 1) == 0;
}

bool ts_fine_tune_adds(const char *path)
{
    const char *last = strrchr(path, '/');
    return (last && (strcmp(last, "/lora_a") == 0 || strcmp(last, "/lora_b") == 0)) ||
           (strncmp(path, "tasks/", 6) == 0 && strstr(path, "/residual/"));
}

const TsFineTuneConfig *ts_fine_tune_config(const TsFineTune *fine_tune)
{
    return fine_tune ? fine_tune->config : NULL;
}

bool ts_fine_tune_learns(const TsFineTuneConfig *config, const char *path)
{
    return !config || config->mode == TS_FINE_TUNE_FULL || !is_of_trunk(path) || ts_fine_tune_adds(path);
}

const TsFineTuneConfig *ts_fine_tune_lora(TsFineTune *fine_tune, const char *path)
{
    if (!fine_tune || !fine_tune->targets || !is_of_trunk(path) || !ts_pattern_found(fine_tune->targets, path))
        return NULL;
    fine_tune->found = true;
    return fine_tune->config;
}

int64_t ts_fine_tune_adapters(const TsFineTune *fine_tune, const char **task)
{
    bool has = fine_tune && fine_tune->config->mode == TS_FINE_TUNE_ADAPTERS && fine_tune->task;
    *task = has ? fine_tune->task : NULL;
    return has ? fine_tune->config->width : 0;
}

double ts_fine_tune_scale(const TsFineTuneConfig *config)
{
    return config->alpha / (config->rank_stabilized ? sqrt((double)config->r) : (double)config->r);
}

bool ts_fine_tune_found(const TsFineTune *fine_tune)
{
    return !fine_tune || !fine_tune->targets || fine_tune->found;
}
