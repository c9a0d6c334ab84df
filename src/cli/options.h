/* SPDX-License-Identifier: Apache-2.0
 *
 * Options: the words behind a command that takes configurations: --NAME VALUE, --NAME, and what is neither, files and
 * key=value, which become the configuration. Not collective but for what says so.
 */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "comm/group.h"

/* An option. One of value, list, number and flag is what it fills in; without value, list and number it takes none. */
typedef struct TsOption {
    const char *name;   /* "--task" */
    const char **value; /* the word behind it, borrowed */
    TsList *list;       /* it may stand several times: the words behind it, borrowed; room for as many as words */
    const char **room;  /* of the list */
    int64_t *number;    /* a whole number, 1 or above */
    bool *flag;         /* it stands there */
} TsOption;

/* Reads words and loads the configuration: *config is a job's. An unknown option, one without its value, and no
 * configuration are errors that name the command. Collective on world; the same status on all ranks. Owned by the
 * caller: ts_config_free. */
TS_MUST_USE TsStatus ts_options_load(TsConfig **config, TsGroup *world, const char *command, const TsOption *options,
                                     int option_count, const char *const *words, int count);
