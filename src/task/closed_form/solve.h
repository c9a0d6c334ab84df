/* SPDX-License-Identifier: Apache-2.0
 *
 * Solve: finds the parameters of a job's tasks that are solved and not trained.
 */
#pragma once

#include "task/closed_form/embeddings.h"

typedef struct TsSolveOptions {
    const TsBatch *arrays; /* parameters by path: those of solutions are filled in */
    const char *only;      /* a task's name; NULL: all that are solved */
    bool keeps;            /* embeddings stay in RUN/embeddings, and are taken from there again */
    bool tells;            /* what is found goes into the log */
} TsSolveOptions;

/* Whether a job has tasks that are solved. */
bool ts_solve_is_needed(const TsJob *job);

/* Solves; what is worth to be known of each solution is written into RUN/solutions/TASK.json. Collective on the job's
 * group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_solve(const TsJob *job, TsSolveOptions options);
