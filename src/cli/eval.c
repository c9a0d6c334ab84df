/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera eval CONFIG... [--task NAME] [--part NAME] [--baselines] [--confusion] [key=value...]
 */
#include "cli/command.h"
#include "cli/options.h"
#include "task/evaluate.h"

static TsStatus eval(TsGroup *world, int count, const char *const *words)
{
    TsEvalOptions chosen = {.part = "validation"};
    const TsOption options[] = {{.name = "--task", .value = &chosen.task},
                                {.name = "--part", .value = &chosen.part},
                                {.name = "--baselines", .flag = &chosen.baselines},
                                {.name = "--confusion", .flag = &chosen.confusion}};
    TsConfig *config = NULL;
    TsStatus status = ts_options_load(&config, world, "eval", options, sizeof options / sizeof *options, words, count);
    if (!status)
        status = ts_evaluate(world, config, chosen);
    ts_config_free(&config);
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
