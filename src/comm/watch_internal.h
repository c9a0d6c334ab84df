/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the watchdog: what one rank tells another about where it stands, in three parts.
 *
 *   watchdog.c        the hooks, and this rank's own state: cheap, in the way of every collective
 *   watch_thread.c    the thread: notices that a wait stands still, asks all ranks, answers those who ask
 *   watch_verdict.c   from all answers: who is waited for in vain, in words
 *
 * A stalled rank reports its wait to an inquirer (rank 0, or others in turn if that one is silent). The inquirer
 * gathers reports, asks every rank about these waits, and judges. Messages fit MPI libraries' eager limits, so that no
 * send waits for its receiver. Included by the watchdog's own files and runtime.c.
 */
#pragma once

#include "comm/group_internal.h"

enum {
    TS_WATCH_SLOTS = 64,     /* waits of this rank at one time: one for each thread that communicates */
    TS_WATCH_WAITS = 4,      /* of those, how many an answer tells */
    TS_WATCH_QUESTIONS = 12, /* waits that one inquiry asks about */
    TS_WATCH_HOST = 48,      /* bytes of a host name that are kept */
};

/* A wait, as told to another rank. */
typedef struct TsWatchWait {
    uint64_t group_id, sequence; /* sequence 0: send or receive, with `peer` */
    int32_t kind, group_size;
    int32_t rank, peer; /* numbers in the whole job: who waits, and for whom; -1 for nobody in particular */
    char group[32], label[80];
} TsWatchWait;

/* Where a rank stands in a collective that was asked about. */
typedef struct TsWatchPlace {
    uint64_t arrivals; /* collectives it has begun on that group */
    int32_t member;    /* does it have that group at all */
    int32_t kind;      /* what it called as that number; -1: not yet, or long ago */
    char label[80];
} TsWatchPlace;

/* Are they the same call: of one collective, or of one message? */
bool ts_watch_same_wait(const TsWatchWait *a, const TsWatchWait *b);

typedef struct TsWatchQuery {
    int32_t number, count;
    TsWatchWait wait[TS_WATCH_QUESTIONS];
} TsWatchQuery;

typedef struct TsWatchAnswer {
    int32_t number; /* of the query; 0: none came */
    int32_t waits;
    double idle_s;                          /* since anything at all moved on that rank */
    int32_t last_kind;                      /* the last collective it began; -1: none yet */
    char last_label[80], alive_label[80];   /* and what it last called long work; "" for none */
    TsWatchWait wait[TS_WATCH_WAITS];       /* what it waits in */
    TsWatchPlace place[TS_WATCH_QUESTIONS]; /* one for each wait of the query */
} TsWatchAnswer;

/* This rank's state, for the thread. */
uint64_t ts_watch_activity(void);                    /* moves whenever anything does */
bool ts_watch_slot(int slot, uint64_t *progress);    /* is it a wait under way; how far has it come */
bool ts_watch_describe(int slot, TsWatchWait *wait); /* false if it has ended meanwhile */
void ts_watch_answer(TsWatchAnswer *answer, const TsWatchQuery *query); /* all but number and idle_s */

/* Judges an inquiry: answers[r] is that of rank r of the job, host[r] its name. Prints and returns true if a wait is in
 * vain; false if all may still come to an end. Less idle than `limit_s` is progress. */
bool ts_watch_judge(const TsWatchQuery *query, const TsWatchAnswer *answers, const char (*host)[TS_WATCH_HOST],
                    int ranks, double limit_s);

/* Starts and stops the thread. Collective on `world`, the group of all ranks, borrowed. limit_s <= 0: there is none. */
void ts_watch_thread_start(const TsGroup *world, double limit_s);
void ts_watch_thread_stop(void);

/* Ends this process with the code after so many seconds, whatever hangs then; 0 seconds: no longer. */
void ts_runtime_end_within(int exit_code, unsigned seconds);
