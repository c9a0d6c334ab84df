/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera predict CONFIG... [--task NAME] [--part NAME | --file FILE...] [--out FILE] [key=value...]
 */
#include "base/memory.h"
#include "cli/command.h"
#include "cli/options.h"
#include "task/command/predict.h"

static TsStatus predict(TsGroup *world, int count, const char *const *words)
{
    TsPredictOptions chosen = {.part = "validation"};
    const char **room = ts_calloc((size_t)count + 1, sizeof *room);
    const TsOption options[] = {{.name = "--task", .value = &chosen.task},
                                {.name = "--part", .value = &chosen.part},
                                {.name = "--out", .value = &chosen.out},
                                {.name = "--file", .list = &chosen.files, .room = room}};
    TsConfig *config = NULL;
    TsStatus status =
        ts_options_load(&config, world, "predict", options, sizeof options / sizeof *options, words, count);
    if (!status)
        status = ts_predict(world, config, chosen);
    ts_config_free(&config);
    ts_free(room);
    return status;
}

const TsCommand ts_command_predict = {
    .name = "predict",
    .usage = "CONFIG... [--task NAME] [--part validation|test|train] [--file FILE]... [--out FILE] [key=value...]",
    .help = "Writes what the newest checkpoint of run.dir predicts: one row an example, in order, each once, on any\n"
            "number of ranks. --out FILE.jsonl gets JSON lines, FILE.h5 HDF5, another FILE fields between tabs; "
            "without --out\n"
            "JSON lines are printed. --file predicts the examples of other files, which need no labels: classes and\n"
            "scales are those of the checkpoint.",
    .run = predict};
