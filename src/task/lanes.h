/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: on which ranks each task of a concurrent mixture runs: the groups that ranks are cut into, and when they are
 * cut anew: by what the passes of each task were measured to cost.
 */
#pragma once

#include "comm/partition.h"
#include "task/course.h"
#include "task/cut.h"

typedef struct TsLanes {
    const TsJob *job;       /* borrowed */
    TsPartition *partition; /* NULL: nothing is cut yet */
    TsCut cut;
    int64_t looked_step; /* of the last look */
    bool whole;          /* groups turned out too small for a task: all ranks run all of them */
} TsLanes;

/* An error that names the key: what cannot run side by side. */
TS_MUST_USE TsStatus ts_lanes_check(const TsJob *job);

/* Whether groups are to be cut anew before `step`: at the first, every mixture.recut steps, and when a task has ended
 * or begun; into *cut. Costs since the last look are taken out of `courses`. active (tasks): who runs. Collective on
 * the job's group; the same on all ranks. */
bool ts_lanes_look(TsLanes *lanes, TsCut *cut, TsCourse *courses, const bool *active, int64_t step);

/* The cut that leaves all ranks together for the active tasks; from now on ts_lanes_look wants no other. */
TsCut ts_lanes_stay_whole(TsLanes *lanes, const bool *active);

/* Cuts the ranks so; no task has passes on the old groups any more. Collective. */
TS_MUST_USE TsStatus ts_lanes_cut(TsLanes *lanes, TsCut cut);

/* Whether this rank runs the task. */
bool ts_lanes_run_here(const TsLanes *lanes, int task);

/* Collective. */
void ts_lanes_free(TsLanes *lanes);
