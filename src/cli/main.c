/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera COMMAND ...: starts the runtime, calls the command on all ranks, says once what went wrong.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/command.h"
#include "comm/runtime.h"
#include "tensor/matmul.h"

/* In the order of `tessera help`. */
const TsCommand *const ts_commands[] = {&ts_command_train,  &ts_command_eval, &ts_command_predict, &ts_command_probe,
                                        &ts_command_data,   &ts_command_plan, &ts_command_decode,  &ts_command_ckpt,
                                        &ts_command_doctor, &ts_command_help, &ts_command_version, NULL};

const TsCommand *ts_command_find(const char *name)
{
    for (const TsCommand *const *command = ts_commands; *command; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}

TsStatus ts_command_unknown(const char *name)
{
    size_t count = sizeof ts_commands / sizeof ts_commands[0] - 1;
    const char *names[sizeof ts_commands / sizeof ts_commands[0]];
    TsText shown = {0};
    for (size_t i = 0; i < count; i++)
        names[i] = ts_commands[i]->name;
    const char *nearest = ts_text_nearest(name, names, count);
    ts_text_append_shown(&shown, name);
    TsStatus status =
        nearest ? ts_status_error(TS_CODE_INVALID, "there is no command %s; did you mean %s?", shown.data, nearest)
                : ts_status_error(TS_CODE_INVALID, "there is no command %s; tessera help lists them", shown.data);
    ts_text_free(&shown);
    return status;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* The words behind the program's name. */
static TsStatus run(TsGroup *world, int count, const char *const *words)
{
    if (count == 0)
        return ts_status_error(TS_CODE_INVALID, "which command? tessera help lists them");
    if (is_help(words[0]))
        return ts_command_help.run(world, count - 1, words + 1);
    if (strcmp(words[0], "--version") == 0)
        return ts_command_version.run(world, count - 1, words + 1);
    const TsCommand *command = ts_command_find(words[0]);
    if (!command)
        return ts_command_unknown(words[0]);
    for (int i = 1; i < count; i++)
        if (is_help(words[i]))
            return ts_command_help.run(world, 1, words);
    return command->run(world, count - 1, words + 1);
}

/* Writes how it ended to the file that TESSERA_CODE_FILE names: batch scripts cannot rely on mpirun, which ends with 0
 * when Slurm loses a node. */
static void note_exit_code(int code)
{
    const char *path = getenv("TESSERA_CODE_FILE");
    char *text = ts_format("%d\n", code);
    TsStatus status = path ? ts_file_write(path, text, strlen(text)) : TS_OK;
    if (status)
        ts_log(TS_LOG_WARNING, "TESSERA_CODE_FILE: %s", ts_status_message(status));
    ts_status_free(&status);
    ts_free(text);
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){0});
    TsStatus status = ts_comm_agree(world, run(world, argc > 0 ? argc - 1 : 0, (const char *const *)argv + 1));
    int exit_code = ts_status_exit_code(status);
    if (status && ts_group_rank(world) == 0) /* the same on all ranks */
        ts_log(TS_LOG_ERROR, "%s", ts_status_message(status));
    ts_status_free(&status);
    if (ts_group_rank(world) == 0)
        note_exit_code(exit_code);
    return ts_runtime_end(exit_code);
}
