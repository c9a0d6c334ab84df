/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera eval CONFIG... [--task NAME] [--part NAME] [--baselines] [--confusion] [--histograms]
 * [--follow] [key=value...]
 */
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "task/run/folds.h"
#include "task/run/follow.h"

static TsStatus follow(TsGroup *world, const TsConfig *config, const TsEvalOptions *chosen)
{
    const TsJobConfig *job = ts_config_value(config);
    if (strcmp(chosen->part, "validation") != 0 || chosen->baselines || chosen->confusion || chosen->histograms)
        return ts_status_error(TS_CODE_INVALID, "eval: --follow evaluates validation data, without baselines and "
                                                "confusion: see tessera help eval");
    return ts_follow(world, config, (TsFollowOptions){.task = chosen->task, .timeout_s = job->run.timeout_s});
}

static TsStatus eval(TsGroup *world, int count, const char *const *words)
{
    TsEvalOptions chosen = {.part = "validation"};
    bool follows = false;
    const TsOption options[] = {{.name = "--task", .value = &chosen.task},
                                {.name = "--part", .value = &chosen.part},
                                {.name = "--baselines", .flag = &chosen.baselines},
                                {.name = "--confusion", .flag = &chosen.confusion},
                                {.name = "--histograms", .flag = &chosen.histograms},
                                {.name = "--follow", .flag = &follows}};
    TsConfig *config = NULL;
    TsStatus status = ts_options_load(&config, world, "eval", options, sizeof options / sizeof *options, words, count);
    if (!status && follows)
        status = follow(world, config, &chosen);
    else if (!status)
        status = ts_folds_evaluate(world, config, chosen);
    ts_config_free(&config);
    return status;
}

const TsCommand ts_command_eval = {
    .name = "eval",
    .usage = "CONFIG... [--task NAME] [--part validation|test|train] [--baselines] [--confusion] [--histograms]\n"
             "    [--follow] [key=value...]",
    .help =
        "Evaluates tasks with the newest checkpoint of run.dir, every example once, on any number of ranks.\n"
        "A line a score: task, name, value, weight, between tabs. --baselines adds what trivial guesses reach:\n"
        "frequencies of single tokens, the commonest class, the mean. --confusion adds rows of a matrix: the\n"
        "examples of each class by the class that was predicted. --histograms adds of each class's\n"
        "probabilities, or of each value and its error: count, least, greatest, mean, and how many lie in each of 20\n"
        "equal parts. --follow evaluates every checkpoint that another job commits, the newest first, until that job\n"
        "has ended, or nothing new came for run.timeout; lines then begin with the step.",
    .run = eval};
