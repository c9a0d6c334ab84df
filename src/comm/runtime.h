/* SPDX-License-Identifier: Apache-2.0
 *
 * The runtime: MPI from its start to its end, and the Group of all ranks from which every other is cut.
 *
 * A program without a launcher runs as one rank. Called by main and by test programs; libraries take a Group.
 */
#pragma once

#include "comm/group.h"

typedef struct TsRuntimeOptions {
    /* How long ranks may stand still, waiting for one another: 0: the default of 300 s; < 0: for ever. The environment
     * variable TESSERA_WATCHDOG_S goes before it (0: for ever, too). */
    double watchdog_s;
} TsRuntimeOptions;

/* Starts MPI (MPI_THREAD_MULTIPLE), the log's rank, the job's abort and the watchdog. Once a process. Collective on all
 * ranks of the job. Returns the Group of all ranks, owned by the runtime. Cannot fail but by aborting. */
TsGroup *ts_runtime_start(TsRuntimeOptions options);

/* Ends what ts_runtime_start began, and checks that every Group, Mesh and shared buffer was freed. Collective on all
 * ranks. The verdict is agreed: returns the largest exit_code of all ranks, which main returns. */
int ts_runtime_end(int exit_code);

/* The MPI library and its version, "Open MPI v4.1.4"; borrowed. Not collective. */
const char *ts_runtime_library(void);
