/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera help [COMMAND]
 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void list_commands(TsText *out)
{
    ts_text_append(out, "tessera trains, evaluates and decodes mixtures of tasks on shared foundation models.\n\n"
                        "  [mpirun -n RANKS] tessera COMMAND ...\n\n");
    for (const TsCommand *const *command = ts_commands; *command; command++) {
        const char *help = (*command)->help;
        ts_text_append(out, "  %-10s %.*s\n", (*command)->name, (int)strcspn(help, "\n"), help);
    }
    ts_text_append(out, "\ntessera help COMMAND says more.\n");
}

static TsStatus help(TsGroup *world, int count, const char *const *words)
{
    TsText out = {0};
    TsStatus status = TS_OK;
    if (count > 1)
        status = ts_status_error(TS_CODE_INVALID, "help: expected at most one command");
    else if (count == 0)
        list_commands(&out);
    else {
        const TsCommand *command = ts_command_find(words[0]);
        if (command)
            ts_text_append(&out, "tessera %s %s\n\n%s\n", command->name, command->usage, command->help);
        else
            status = ts_command_unknown(words[0]);
    }
    if (!status && ts_group_rank(world) == 0 && (fputs(out.data, stdout) < 0 || fflush(stdout) != 0))
        status = ts_status_error(TS_CODE_IO, "the help could not be printed");
    ts_text_free(&out);
    return ts_comm_agree(world, status);
}

const TsCommand ts_command_help = {
    .name = "help", .usage = "[COMMAND]", .help = "Says what commands there are, or what one does.", .run = help};
