/* SPDX-License-Identifier: Apache-2.0
 *
 * RunDir: the directory of a run: its resolved configuration, its log, its metrics.
 *
 *   config.yaml     the whole resolved configuration of the newest start that could go on
 *   log.txt         every line that was printed, with the time
 *   metrics.jsonl   one JSON object a line; of a step that was run again after a fault the later line counts
 *   checkpoints/    as src/ckpt keeps them
 *   lock            whose it is, while a run goes on (run_lock.h)
 *
 * Rank 0 writes; all ranks know the outcome.
 */
#pragma once

#include <jansson.h>

#include "base/config.h"
#include "comm/group.h"

typedef struct TsRunDir TsRunDir;

/* Makes the directory where it is missing, takes it for this run, which fails where another one has it, and says in it
 * what runs. If it holds a run already, keys that change what
 * is learned must be as they were: the error lists those that are not; with `force` they are warnings. Collective on
 * group, which is borrowed; the same status on all ranks. Owned by the caller. */
TS_MUST_USE TsStatus ts_run_dir_open(TsRunDir **dir, TsGroup *group, const char *path, const TsConfig *config,
                                     bool force);

/* Writes config.yaml, once the run is known to go on with it: until then the one that is there stays. Collective on the
 * group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_run_dir_write_config(TsRunDir *dir);

/* Whether another run has taken the directory over: then this one must end. Known on rank 0 alone. Not collective. */
bool ts_run_dir_lost(const TsRunDir *dir);

/* Where it is; borrowed. Not collective. */
const char *ts_run_dir_path(const TsRunDir *dir);

/* The CRC-32C of config.yaml, in hexadecimal: which configuration it is, for those that name it. Not collective, the
 * same on all ranks. Owned by the caller: ts_free. */
char *ts_run_dir_config_hash(const TsRunDir *dir);

/* Closes log and metrics, and gives the directory free. Not collective. Sets *dir to NULL; NULL is fine. */
void ts_run_dir_close(TsRunDir **dir);

/* Appends a line to metrics.jsonl on rank 0; elsewhere nothing. Takes ownership of `object`. Not collective. A failure
 * is said once in the log, and does not end the run. */
void ts_run_dir_add_metrics(TsRunDir *dir, json_t *object);
