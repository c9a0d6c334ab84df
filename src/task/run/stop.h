/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop: what asks a run to end before it is done: SIGTERM, SIGINT, SIGUSR1, or the end of the time that Slurm gives the
 * job. Nothing is interrupted: those who work in steps or batches look, and all ranks agree on where they stop.
 *
 * Every rank sees what reaches it; one rank that is asked is enough. The state is the process's.
 */
#pragma once

#include "base/status.h"
#include "comm/group.h"

/* Signals are taken from here on; none has come yet. */
void ts_stop_watch(void);

/* This long before the time of SLURM_JOB_END_TIME (seconds since 1970; other values and none are no limit), at most a
 * quarter of what is left now, the job is asked to stop. 0: it is not. */
void ts_stop_before_end(double margin_s);

/* Signals do again what they did before. Not after an error: ranks then end one after another, and launchers send
 * SIGTERM to those that end later. */
void ts_stop_ignore(void);

enum { TS_STOP_BY_TIME = 1000 }; /* above all signals */

/* What asks this rank: the number of a signal, TS_STOP_BY_TIME, or 0. Not collective. */
int ts_stop_asked(void);

/* The same of all ranks: the largest. Collective: one small reduction. */
int ts_stop_agreed(TsGroup *group);

/* "signal 10", or "the end of its time, 2026-11-20 23:00:00". Owned by the caller. */
char *ts_stop_reason(int why);

/* The error of what was stopped by `why`, with code TS_CODE_INTERRUPTED. */
TS_MUST_USE TsStatus ts_stop_error(int why);
