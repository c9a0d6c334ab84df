/* SPDX-License-Identifier: Apache-2.0
 *
 * Command: what follows `tessera` on the command line, one file each. main.c starts the runtime, finds the command by
 * its first word, calls it on all ranks, prints its error once, and ends with the status's exit code.
 */
#pragma once

#include "comm/group.h"

typedef struct TsCommand {
    const char *name;  /* "train" */
    const char *usage; /* what follows the name: "CONFIG... [key=value...] [--force]" */
    const char *help;  /* for `tessera help NAME`: a sentence or more, the first line also for the list of commands */

    /* Runs it with the words behind the name. Collective on world; the same status on all ranks. */
    TsStatus (*run)(TsGroup *world, int count, const char *const *words);
} TsCommand;

extern const TsCommand ts_command_train;  /* train.c */
extern const TsCommand ts_command_decode; /* decode.c */
