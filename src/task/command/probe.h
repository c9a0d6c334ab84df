/* SPDX-License-Identifier: Apache-2.0
 *
 * Probe: what `tessera probe` does: solves the tasks of a config that are solved and not trained, on the backbone as
 * the run, or init_from, has it; keeps the solutions in a checkpoint of the run; and evaluates them.
 */
#pragma once

#include "task/job.h"

typedef struct TsProbeOptions {
    const char *task; /* NULL: all that are solved */
    bool force;       /* go on in a run directory of another configuration */
} TsProbeOptions;

/* Prints, on rank 0, a line for each score: TASK, PART, name, value, weight, between tabs. Collective; the same status
 * on all ranks. */
TS_MUST_USE TsStatus ts_probe(TsGroup *group, const TsConfig *config, TsProbeOptions options);
