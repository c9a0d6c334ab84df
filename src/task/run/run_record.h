/* SPDX-License-Identifier: Apache-2.0
 *
 * Run record: RUN/run.json: who ran what, where and when: an object for each start of the run, the newest last.
 *
 *   {"starts": [{"version": "0.1.0", "commit": "1a2b3c", "began": "2026-01-31T12:00:00Z", "from_step": 0,
 *                "mesh": "data 4", "threads": 2, "hosts": [{"host": "node17", "ranks": 4}],
 *                "ended": "2026-01-31T13:00:00Z", "outcome": "done"}]}
 *
 * `ended` and `outcome` are missing while it runs, and where it was killed. The outcome is "done", or why it ended.
 */
#pragma once

#include "comm/mesh.h"

typedef struct TsRunStart {
    const char *run_dir;
    const TsMesh *mesh; /* of all ranks */
    int threads;        /* of a rank */
    int64_t step;       /* after which it goes on */
} TsRunStart;

/* Adds a start. Collective on the mesh; the same status on all ranks. */
TS_MUST_USE TsStatus ts_run_record_begin(TsRunStart start);

/* Says how the newest start ended; rank 0 alone. A failure is a warning. */
void ts_run_record_end(const char *run_dir, const char *outcome);

/* Whether the newest start has ended. What cannot be read has not. Not collective. */
bool ts_run_record_ended(const char *run_dir);
