/* SPDX-License-Identifier: Apache-2.0
 *
 * Watchdog: names the ranks for which a collective waits in vain, and ends the job.
 *
 * A collective reports four moments: begun (this rank has arrived), waiting, progress (something moved), ended. A
 * thread of each rank looks at these counters now and then. When a wait has seen no progress for the limit, the ranks
 * ask one another, on a communicator of their own, who has arrived where; ranks that did not arrive and stand still
 * are printed with host, collective and label, and the job ends with TS_EXIT_WATCHDOG. While all goes well no message
 * is sent. Long work on the host says so by ts_watch_alive.
 */
#pragma once

#include "comm/accounting.h"
#include "comm/group.h"

/* One collective of this rank, from begin to end; held by whoever runs it (a request). */
typedef struct TsWatch {
    TsGroup *group;
    uint64_t sequence; /* which collective of this group it is, from 1; 0 for send and receive */
    TsCommKind kind;
    const char *label; /* borrowed for the life of the process */
    int peer;          /* of send and receive, else -1 */
    int slot;          /* where the wait is written down; -1 while not waiting */
} TsWatch;

/* This rank has arrived at its next collective on `group`. For TS_COMM_SEND and TS_COMM_RECEIVE, `peer` is the other
 * rank; otherwise -1. Costs a few stores. Not collective. */
TsWatch ts_watch_begin(TsGroup *group, TsCommKind kind, const char *label, int peer);

/* The calling thread now waits for it, until ts_watch_end. Repeating it is fine. */
void ts_watch_wait(TsWatch *watch);

/* Something of it moved: a message came or went, a neighbour's flag changed. */
void ts_watch_progress(TsWatch *watch);

/* It is over. Also right where it was never waited for. */
void ts_watch_end(TsWatch *watch);

/* Long work outside collectives goes on, as `label` (borrowed for the life of the process). Call it at least a few
 * times within the limit. Safe from any thread. */
void ts_watch_alive(const char *label);
