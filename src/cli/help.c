/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera help [COMMAND] | help config [KEY | --markdown]
 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "task/config.h"

/* How long the first sentence is, or the first line if that is shorter. */
static int sentence(const char *text)
{
    size_t line = strcspn(text, "\n");
    const char *stop = strstr(text, ". ");
    return (int)(stop && (size_t)(stop - text) < line ? (size_t)(stop - text) + 1 : line);
}

static void list_commands(TsText *out)
{
    ts_text_append(out, "tessera trains, evaluates and decodes mixtures of tasks on shared foundation models.\n\n"
                        "  [mpirun -n RANKS] tessera COMMAND ...\n\n");
    for (const TsCommand *const *command = ts_commands; *command; command++) {
        const char *text = (*command)->help;
        ts_text_append(out, "  %-10s %.*s\n", (*command)->name, sentence(text), text);
    }
    ts_text_append(out, "\nFor a first run: mpirun -n 2 tessera train jobs/line.yaml\n\n"
                        "tessera help COMMAND says more; tessera help config lists the keys of a configuration, and\n"
                        "tessera help config KEY says what one means.\n");
}

static TsStatus help_config(TsText *out, int count, const char *const *words)
{
    if (count > 1)
        return ts_status_error(TS_CODE_INVALID, "help config: expected at most one key");
    if (count == 0 || strcmp(words[0], "--markdown") != 0)
        return ts_config_help(out, &ts_job_table, count ? words[0] : NULL);
    ts_text_append(out, "# Configuration\n\n"
                        "Every key that a configuration can have, by where it stands; the first table is the top.\n"
                        "`tessera help config KEY` says the same of one key. This page is written by\n"
                        "`tessera help config --markdown` from the tables that read configurations.\n");
    ts_config_markdown(out, &ts_job_table);
    return TS_OK;
}

static TsStatus help_command(TsText *out, int count, const char *const *words)
{
    if (count > 1)
        return ts_status_error(TS_CODE_INVALID, "help: expected at most one command");
    const TsCommand *command = ts_command_find(words[0]);
    if (!command)
        return ts_command_unknown(words[0]);
    ts_text_append(out, "tessera %s %s\n\n%s\n", command->name, command->usage, command->help);
    return TS_OK;
}

static TsStatus help(TsGroup *world, int count, const char *const *words)
{
    TsText out = {0};
    TsStatus status = TS_OK;
    if (count == 0)
        list_commands(&out);
    else if (strcmp(words[0], "config") == 0)
        status = help_config(&out, count - 1, words + 1);
    else
        status = help_command(&out, count, words);
    if (!status && ts_group_rank(world) == 0 && (fputs(out.data, stdout) < 0 || fflush(stdout) != 0))
        status = ts_status_error(TS_CODE_IO, "the help could not be printed");
    ts_text_free(&out);
    return ts_comm_agree(world, status);
}

const TsCommand ts_command_help = {
    .name = "help",
    .usage = "[COMMAND] | help config [KEY | --markdown]",
    .help = "Says what commands there are, what one does, or what a key of a configuration means.\n"
            "KEY is a path such as learner.optimizer.rate, or the last part of one.",
    .run = help};
