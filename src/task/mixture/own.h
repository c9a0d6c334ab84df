/* SPDX-License-Identifier: Apache-2.0
 *
 * Own: what is a task's own in a concurrent mixture, the parameters that it alone binds, with their gradients,
 * optimizer state and averages: it lies on the ranks of the group that runs the task, and nowhere else.
 *
 * Until ranks are cut for the first time, all lies on all ranks, as in every other mode. When they are cut, and cut
 * anew, what is a task's own moves to the group that has the task then; what tasks share does not move. Evaluation and
 * checkpoints see the job's arrays, and the Learner's, which are filled for as long as they need it
 * (ts_own_gather, ts_own_release). Tasks that do not learn have nothing of their own here. Private to Courses.
 */
#pragma once

#include "comm/partition.h"
#include "task/mixture/cut.h"
#include "task/job.h"
#include "task/learner/learner.h"

typedef struct TsOwn TsOwn;

/* Of a job, borrowed. Not collective. Owned by the caller. */
TsOwn *ts_own_create(TsJob *job);

/* Who updates what is shared: a Learner that leads. Borrowed, and named before the first cut. */
void ts_own_lead(TsOwn *own, TsLearner *learner);

/* Collective. Sets *own to NULL; NULL is fine. */
void ts_own_free(TsOwn **own);

/* (rows of the job's parameters) whether each is shared; borrowed. */
const bool *ts_own_shared(const TsOwn *own);

/* The part of the cut that a task's own lies on: its group, or for one that does not run, any. */
int ts_own_home(const TsCut *cut, int task);

/* Moves all to where tasks run now. active (tasks): who learns from the next step on. Programs that are bound to what
 * lay elsewhere are gone already, all but the leading Learner's. The partition is borrowed until the next cut, and the
 * one before is still there. After an error all lies where it did. Collective on the job's group; the same Status on
 * all ranks. */
TS_MUST_USE TsStatus ts_own_cut(TsOwn *own, const TsPartition *partition, const TsCut *cut, const bool *active);

/* By path: the parameters that passes on this rank's group bind, what is shared and what is own; and arrays
 * "gradient/PATH" of what is own, to which passes add. Borrowed until the next cut. */
const TsBatch *ts_own_arrays(const TsOwn *own);
TsBatch *ts_own_gradients(const TsOwn *own);

/* After them: multiplies the gradients of each task's own by factor[task]. Not collective. */
void ts_own_scale(TsOwn *own, const double *factor);

/* The sum of squares of all those gradients, over all groups. Collective; the same on all ranks. */
double ts_own_squares(TsOwn *own, TsLearnerTurn turn);

/* Updates what lies here by the factor that the leading Learner found. Collective on the group. */
void ts_own_follow(TsOwn *own, double factor, TsLearnerTurn turn);

/* The sum of squares of all that is own and learns. Collective; the same on all ranks. */
double ts_own_weight_squares(TsOwn *own);

/* Fills the job's arrays, and with `state` those of the Learner's state, with what is own, on all ranks; until
 * ts_own_release. Collective. */
void ts_own_gather(TsOwn *own, bool state);

/* The other way: groups have what those arrays, gathered with `state`, hold now. Collective. */
void ts_own_scatter(TsOwn *own);

/* Collective. */
void ts_own_release(TsOwn *own);

/* Records what its Learner's steps do from now on, also after another cut; NULL: no more. */
void ts_own_record(TsOwn *own, TsTimeline *timeline);
