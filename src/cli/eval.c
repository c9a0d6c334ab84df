/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera eval CONFIG... [--task NAME] [--part NAME] [--baselines] [--confusion] [key=value...]
 */
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "task/evaluate.h"

static TsStatus read_words(TsEvalOptions *options, const char **sources, int *source_count, int count,
                           const char *const *words)
{
    for (int i = 0; i < count; i++) {
        bool takes_value = strcmp(words[i], "--task") == 0 || strcmp(words[i], "--part") == 0;
        if (takes_value && i + 1 == count)
            return ts_status_error(TS_CODE_INVALID, "eval: %s needs a value", words[i]);
        if (strcmp(words[i], "--task") == 0)
            options->task = words[++i];
        else if (strcmp(words[i], "--part") == 0)
            options->part = words[++i];
        else if (strcmp(words[i], "--baselines") == 0)
            options->baselines = true;
        else if (strcmp(words[i], "--confusion") == 0)
            options->confusion = true;
        else if (words[i][0] == '-')
            return ts_status_error(TS_CODE_INVALID, "eval: unknown option %s; see tessera help eval", words[i]);
        else
            sources[(*source_count)++] = words[i];
    }
    if (*source_count == 0)
        return ts_status_error(TS_CODE_INVALID, "eval: which configuration? See tessera help eval");
    return TS_OK;
}

static TsStatus eval(TsGroup *world, int count, const char *const *words)
{
    TsEvalOptions options = {.part = "validation"};
    const char **sources = ts_calloc((size_t)count + 1, sizeof *sources);
    int source_count = 0;
    TsConfig *config = NULL;
    TsStatus status = read_words(&options, sources, &source_count, count, words);
    if (!status)
        status = ts_job_load(&config, world, sources, source_count);
    if (!status)
        status = ts_evaluate(world, config, options);
    ts_config_free(&config);
    ts_free(sources);
    return status;
}

const TsCommand ts_command_eval = {
    .name = "eval",
    .usage = "CONFIG... [--task NAME] [--part validation|test|train] [--baselines] [--confusion] [key=value...]",
    .help = "Evaluates tasks with the newest checkpoint of run.dir, every example once, on any number of ranks.\n"
            "A line a score: task, name, value, weight, between tabs. --baselines adds what trivial guesses reach:\n"
            "frequencies of single tokens, the commonest class, the mean. --confusion adds rows of a matrix: the\n"
            "examples of each class by the class that was predicted.",
    .run = eval};
