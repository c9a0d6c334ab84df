/* SPDX-License-Identifier: Apache-2.0
 *
 * RunLock: one run at a time in a directory. RUN/lock says who it is, as text:
 *
 *   tessera run lock 1
 *   host node17
 *   process 4242 started 815403        the second number is the kernel's, and tells a process from a later one
 *   kernel 4a1c…-pid:[4026531836]      which processes can be seen: the machine's start, and its space of processes
 *   job 991                            Slurm's; - outside Slurm
 *   token 89abcdef01234567
 *
 * The lock is a lease: a thread of the holder sets the file's time every TS_RUN_LOCK_RENEW_S seconds, and one that was
 * not renewed for TS_RUN_LOCK_LEASE_S is taken over. So is at once that of a process that is gone from this host, and
 * that of this same Slurm job on another host, which is what a job that was requeued finds. A process that is seen
 * alive on this host keeps its lock. Who loses its lock (a machine that slept through its lease) learns it at the next
 * renewal, and must write no more.
 *
 * Not collective: rank 0's work.
 */
#pragma once

#include <stdbool.h>

#include "base/status.h"

enum { TS_RUN_LOCK_LEASE_S = 60, TS_RUN_LOCK_RENEW_S = 10 };

typedef struct TsRunLock TsRunLock;

/* Takes the lock of the directory, and begins to renew it. Waits a few seconds for a holder that is just ending. Fails
 * where another run holds it: names its host, process and job. *lock is owned by the caller: ts_run_lock_release; NULL
 * after an error. */
TS_MUST_USE TsStatus ts_run_lock_take(TsRunLock **lock, const char *run_dir);

/* Whether another run has taken it over. Safe from any thread. */
bool ts_run_lock_lost(const TsRunLock *lock);

/* Ends the renewing, and removes the file if it is still this lock. Sets *lock to NULL; NULL is fine. */
void ts_run_lock_release(TsRunLock **lock);
