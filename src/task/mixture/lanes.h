/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: on which ranks each task of a concurrent mixture runs: the groups that ranks are cut into, and when they are
 * cut anew: by what the passes of each task were measured to cost.
 */
#pragma once

#include "comm/partition.h"
#include "task/mixture/course.h"
#include "task/mixture/cut.h"
#include "task/mixture/own.h"

typedef struct TsLanes {
    const TsJob *job;       /* borrowed */
    TsOwn *own;             /* owned */
    TsPartition *partition; /* NULL: nothing is cut yet */
    TsCut cut;
    int64_t looked_step;         /* of the last look */
    double cost[TS_MAX_CUT];     /* (tasks) a batch, on one slot, as last measured; 0: not yet */
    int64_t batches[TS_MAX_CUT]; /* (tasks) as at the last look */
    bool whole;                  /* groups turned out too small for a task: all ranks run all of them */
} TsLanes;

/* An error that names the key: what cannot run side by side. */
TS_MUST_USE TsStatus ts_lanes_check(const TsJob *job);

/* Whether groups are to be cut anew before `step`: at the first, every mixture.recut steps, when rates have changed,
 * and when a task has ended or begun; into *cut. Costs since the last look are taken out of `courses`. batches (tasks):
 * how many of each the step has; 0: it does not run. Collective on the job's group; the same on all ranks. */
bool ts_lanes_look(TsLanes *lanes, TsCut *cut, TsCourse *courses, const int64_t *batches, int64_t step);

/* The cut that leaves all ranks together for the tasks that run; from now on ts_lanes_look wants no other. */
TsCut ts_lanes_stay_whole(TsLanes *lanes, const int64_t *batches);

/* Cuts the ranks so; no task has passes on the old groups any more. What is a task's own moves to its group. After an
 * error the groups are as they were. active (tasks): who learns. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_lanes_cut(TsLanes *lanes, TsCut cut, const bool *active);

/* Whether this rank runs the task. */
bool ts_lanes_run_here(const TsLanes *lanes, int task);

/* Collective. */
void ts_lanes_free(TsLanes *lanes);
