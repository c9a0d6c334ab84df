/* SPDX-License-Identifier: Apache-2.0
 *
 * Accounting: what this rank sent, by (mesh axes or group, kind of collective, label), in calls, bytes, messages,
 * seconds.
 *
 * Every collective adds one line to it when it ends; the Program's plan is checked against it, and summaries print it.
 * Counts are of this rank alone. Safe from any thread; a call costs a lock and a short look-up, and allocates only the
 * first time it sees a (group, kind, label).
 */
#pragma once

#include <stdio.h>

#include "comm/group.h"
#include "comm/mesh.h"

/* What ranks call together (or, send and receive, in pairs). */
typedef enum TsCommKind {
    TS_COMM_ALL_REDUCE,
    TS_COMM_REDUCE_SCATTER,
    TS_COMM_ALL_GATHER,
    TS_COMM_ALL_TO_ALL,
    TS_COMM_BROADCAST,
    TS_COMM_BARRIER,
    TS_COMM_SEND,
    TS_COMM_RECEIVE,
    TS_COMM_AGREE,        /* ts_comm_agree */
    TS_COMM_MAKE_GROUP,   /* split, duplicate, free */
    TS_COMM_SHARED_ALLOC, /* ts_shared_alloc and ts_shared_free */
    TS_COMM_KINDS
} TsCommKind;

/* "all-reduce", …: borrowed. */
const char *ts_comm_kind_name(TsCommKind kind);

typedef struct TsAccountRow {
    TsAxisSet axes;    /* of the mesh the group was made by; 0 for other groups */
    char group[32];    /* the group's name, cut to fit */
    TsCommKind kind;   /* TS_COMM_KINDS in a total over kinds */
    const char *label; /* borrowed for the life of the process; NULL in a total over labels */
    int64_t calls, bytes, messages;
    double seconds;
} TsAccountRow;

/* Adds one call. `label` is borrowed for the life of the process. Called by collectives when they end. Not
 * collective. */
void ts_account(const TsGroup *group, TsCommKind kind, const char *label, int64_t bytes, int64_t messages,
                double seconds);

/* Seconds that the calling thread has waited for other ranks so far: without what it did while messages were on their
 * way, which the seconds of rows have in them. Added by whoever waits. Not collective. */
double ts_account_waited_s(void);
void ts_account_add_wait(double seconds);

/* Copies up to `capacity` rows, those with the most bytes first, and returns how many there are. Not collective. */
int ts_account_rows(TsAccountRow *rows, int capacity);

/* The sum over labels of the rows of exactly `axes` and of `kind` (TS_COMM_KINDS: of all kinds). Not collective. */
TsAccountRow ts_account_total(TsAxisSet axes, TsCommKind kind);

/* All rows back to zero, and forgotten. Not collective. */
void ts_account_reset(void);

/* A table for people, the most bytes first, closed by one total for each set of axes. Not collective. */
void ts_account_print(FILE *to);
