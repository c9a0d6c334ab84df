/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera predict CONFIG... [--task NAME] [--part NAME] [--out FILE] [key=value...]
 */
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "task/evaluate.h"

static TsStatus read_words(TsPredictOptions *options, const char **sources, int *source_count, int count,
                           const char *const *words)
{
    for (int i = 0; i < count; i++) {
        const char **value = strcmp(words[i], "--task") == 0   ? &options->task
                             : strcmp(words[i], "--part") == 0 ? &options->part
                             : strcmp(words[i], "--out") == 0  ? &options->out
                                                               : NULL;
        if (value && i + 1 == count)
            return ts_status_error(TS_CODE_INVALID, "predict: %s needs a value", words[i]);
        if (value)
            *value = words[++i];
        else if (words[i][0] == '-')
            return ts_status_error(TS_CODE_INVALID, "predict: unknown option %s; see tessera help predict", words[i]);
        else
            sources[(*source_count)++] = words[i];
    }
    if (*source_count == 0)
        return ts_status_error(TS_CODE_INVALID, "predict: which configuration? See tessera help predict");
    return TS_OK;
}

static TsStatus predict(TsGroup *world, int count, const char *const *words)
{
    TsPredictOptions options = {.part = "validation"};
    const char **sources = ts_calloc((size_t)count + 1, sizeof *sources);
    int source_count = 0;
    TsConfig *config = NULL;
    TsStatus status = read_words(&options, sources, &source_count, count, words);
    if (!status)
        status = ts_job_load(&config, world, sources, source_count);
    if (!status)
        status = ts_predict(world, config, options);
    ts_config_free(&config);
    ts_free(sources);
    return status;
}

const TsCommand ts_command_predict = {
    .name = "predict",
    .usage = "CONFIG... [--task NAME] [--part validation|test|train] [--out FILE] [key=value...]",
    .help = "Writes what the newest checkpoint of run.dir predicts: one row an example, in order, each once, on any\n"
            "number of ranks. FILE.jsonl gets JSON lines, another FILE fields between tabs; without --out, JSON lines\n"
            "are printed.",
    .run = predict};
