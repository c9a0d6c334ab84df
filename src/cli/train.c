/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera train CONFIG... [key=value...] [--force]
 */
#include "cli/command.h"

#include <string.h>

#include "base/memory.h"
#include "task/run/folds.h"
#include "task/run/follow.h"

/* By run.mode. */
static TsStatus run(TsGroup *world, const TsConfig *config, TsTrainOptions options)
{
    const TsJobConfig *job = ts_config_value(config);
    switch (job->run.mode) {
    case TS_MODE_EVAL:
        return ts_folds_evaluate(world, config, (TsEvalOptions){.part = "validation"});
    case TS_MODE_CONTINUOUS_EVAL:
        return ts_follow(world, config, (TsFollowOptions){.timeout_s = job->run.timeout_s});
    default:
        return ts_folds_train(world, config, options);
    }
}

static TsStatus train(TsGroup *world, int count, const char *const *words)
{
    TsTrainOptions options = {0};
    const char **sources = ts_calloc((size_t)count + 1, sizeof *sources);
    int source_count = 0;
    TsStatus status = TS_OK;
    for (int i = 0; i < count && !status; i++) {
        if (strcmp(words[i], "--force") == 0)
            options.force = true;
        else if (words[i][0] == '-')
            status = ts_status_error(TS_CODE_INVALID, "train: unknown option %s; see tessera help train", words[i]);
        else
            sources[source_count++] = words[i];
    }
    if (!status && source_count == 0)
        status = ts_status_error(TS_CODE_INVALID, "train: which configuration? See tessera help train");
    TsConfig *config = NULL;
    if (!status)
        status = ts_job_load(&config, world, sources, source_count);
    if (!status)
        status = run(world, config, options);
    ts_config_free(&config);
    ts_free(sources);
    return status;
}

const TsCommand ts_command_train = {
    .name = "train",
    .usage = "CONFIG... [key=value...] [--force]",
    .help =
        "Trains what the configuration says, in its run.dir. The same command again goes on where the run stands, on\n"
        "any number of ranks. --force goes on in the directory of another configuration. trace=FILE writes a timeline "
        "of\n"
        "three steps on every rank, for ui.perfetto.dev; trace: in the configuration says which.\n"
        "run.mode: eval and continuous_eval evaluate instead, as tessera eval and tessera eval --follow do.",
    .run = train};
