/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <string.h>

#include "base/memory.h"
#include "base/unit.h"
#include "task/config.h"

static const TsOption *find(const TsOption *options, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(options[i].name, word) == 0)
            return &options[i];
    return NULL;
}

/* Takes an option at words[*at], and moves *at to the last word of it. */
static TsStatus take(const TsOption *option, const char *command, const char *const *words, int count, int *at)
{
    bool takes_value = option->value || option->list || option->number;
    if (takes_value && *at + 1 == count)
        return ts_status_error(TS_CODE_INVALID, "%s: %s needs a value", command, option->name);
    const char *word = takes_value ? words[++*at] : NULL;
    if (option->flag)
        *option->flag = true;
    if (option->value)
        *option->value = word;
    if (option->list) {
        option->room[option->list->count++] = word;
        option->list->items = option->room;
    }
    if (option->number && (!ts_unit_read_int(option->number, word, NULL) || *option->number < 1))
        return ts_status_error(TS_CODE_INVALID, "%s: %s %s: a whole number, 1 or above", command, option->name, word);
    return TS_OK;
}

TsStatus ts_options_load(TsConfig **config, TsGroup *world, const char *command, const TsOption *options,
                         int option_count, const char *const *words, int count)
{
    const char **sources = ts_calloc((size_t)count + 1, sizeof *sources);
    int source_count = 0;
    TsStatus status = TS_OK;
    *config = NULL;
    for (int i = 0; i < count && !status; i++) {
        const TsOption *option = find(options, option_count, words[i]);
        if (option)
            status = take(option, command, words, count, &i);
        else if (words[i][0] == '-')
            status = ts_status_error(TS_CODE_INVALID, "%s: unknown option %s; see tessera help %s", command, words[i],
                                     command);
        else
            sources[source_count++] = words[i];
    }
    if (!status && source_count == 0)
        status = ts_status_error(TS_CODE_INVALID, "%s: which configuration? See tessera help %s", command, command);
    if (!status)
        status = ts_job_load(config, world, sources, source_count);
    ts_free(sources);
    return status;
}
