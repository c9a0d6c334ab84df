/* SPDX-License-Identifier: Apache-2.0
 *
 * Cut: which tasks share a group of ranks, and how many ranks each group has, so that groups of a step end together.
 *
 * A value that is computed from the loads of tasks alone, the same on every rank. Groups are made of slots: as many
 * ranks as a mesh needs beside its data axis.
 */
#pragma once

#include <stdint.h>

enum { TS_MAX_CUT = 64 }; /* tasks of a mixture that run side by side */

typedef struct TsCut {
    int tasks, groups;
    int group_of[TS_MAX_CUT]; /* (tasks) -1: of no load */
    int slots[TS_MAX_CUT];    /* (groups) */
} TsCut;

/* load (tasks): what a step of each costs one slot, in any unit; 0: it does not run. A group of s slots does a load in
 * load / s^(1 + log2 scaling): `scaling` is the efficiency of twice as many. The cut of the least time for the slowest
 * group; of equals, of the most groups. */
TsCut ts_cut_make(const double *load, int tasks, int slots, double scaling);

/* The time of the slowest group. */
double ts_cut_time(const TsCut *cut, const double *load, double scaling);
