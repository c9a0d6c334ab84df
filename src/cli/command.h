/* SPDX-License-Identifier: Apache-2.0
 *
 * Command: what follows `tessera` on the command line, one file each. main.c starts the runtime, finds the command by
 * its first word, calls it on all ranks, prints its error once, and ends with the status's exit code. A new command is
 * its file, its line at the end of this header, and its place in the table in main.c.
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

/* All of them, up to NULL. */
extern const TsCommand *const ts_commands[];

/* The command of this name, or NULL. */
const TsCommand *ts_command_find(const char *name);

/* An error that names the nearest command. */
TS_MUST_USE TsStatus ts_command_unknown(const char *name);

extern const TsCommand ts_command_train;   /* train.c */
extern const TsCommand ts_command_eval;    /* eval.c */
extern const TsCommand ts_command_predict; /* predict.c */
extern const TsCommand ts_command_probe;   /* probe.c */
extern const TsCommand ts_command_data;    /* data.c */
extern const TsCommand ts_command_decode;  /* decode.c */
extern const TsCommand ts_command_plan;    /* plan.c */
extern const TsCommand ts_command_ckpt;    /* ckpt.c */
extern const TsCommand ts_command_doctor;  /* doctor.c */
extern const TsCommand ts_command_help;    /* help.c */
extern const TsCommand ts_command_version; /* version.c */
