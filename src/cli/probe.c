/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera probe CONFIG... [--task NAME] [--force] [key=value...]
 */
#include "task/command/probe.h"

#include "cli/command.h"
#include "cli/options.h"

static TsStatus probe(TsGroup *world, int count, const char *const *words)
{
    TsProbeOptions chosen = {.task = NULL};
    const TsOption options[] = {{.name = "--task", .value = &chosen.task}, {.name = "--force", .flag = &chosen.force}};
    TsConfig *config = NULL;
    TsStatus status = ts_options_load(&config, world, "probe", options, sizeof options / sizeof *options, words, count);
    if (!status)
        status = ts_probe(world, config, chosen);
    ts_config_free(&config);
    return status;
}

const TsCommand ts_command_probe = {
    .name = "probe",
    .usage = "CONFIG... [--task NAME] [--force] [key=value...]",
    .help =
        "Solves the tasks that need no training: ridge, logistic, pca, kmeans, anomaly, on the features that the\n"
        "backbone gives: that of the newest checkpoint of run.dir, or of init_from, or as it begins. Features are\n"
        "computed once and kept, a row an example, in RUN/embeddings; what was found is in RUN/solutions/TASK.json "
        "and,\n"
        "as parameters, in a checkpoint, so that eval and predict work as after training. Then a line a score of\n"
        "validation and test data: task, part, name, value, weight, between tabs. --force goes on in a run directory\n"
        "of another configuration.",
    .run = probe};
