/* SPDX-License-Identifier: Apache-2.0
 *
 * Courses: the tasks of a job in training: whose turn it is, their passes, and what of a step they make together.
 *
 *     interleaved   a step runs one task, on all ranks, and moves what that task binds
 *     joint         a step runs one batch of every task, one after another, on all ranks; one update follows from all
 *     concurrent    the same, but the tasks run side by side, on groups of ranks: the update is that of joint
 *
 * In the last two, gradients are added up on each rank as they come, and summed over ranks once, or kept apart
 * (apart.h) where the balance asks for that: shared parameters and their optimizer state lie on the flattened whole,
 * whatever the groups. In `concurrent`, groups are cut by the batches of each task and what they were measured to cost,
 * and cut anew when that changes: what is a task's own moves with it then (own.h), and nothing else.
 *
 * What a step runs is a function of (seed, step, places in the data), the same on every rank.
 */
#pragma once

#include "task/mixture/cut.h"
#include "task/learner/guard.h"
#include "task/job.h"
#include "task/learner/learner.h"
#include "task/metric/metrics.h"
#include "task/run/recording.h"

typedef struct TsCourses TsCourses;

/* For the tasks of a job, which is borrowed, with the Learner that updates its parameters. Collective on the job's
 * group; the same status on all ranks. Owned by the caller: ts_courses_free. */
TS_MUST_USE TsStatus ts_courses_create(TsCourses **courses, TsJob *job);

/* Collective. Sets *courses to NULL; NULL is fine. */
void ts_courses_free(TsCourses **courses);

/* Of all tasks; borrowed. */
TsLearner *ts_courses_learner(const TsCourses *courses);

/* Whether there is a step to run after the last one: false where data are exhausted, and the mixture says that the run
 * ends then. */
bool ts_courses_go_on(TsCourses *courses, int64_t step);

/* What a step did. */
typedef struct TsCourseReport {
    TsLearnerReport learner;
    int64_t tokens;    /* of all its batches */
    double flops;      /* of all its passes, on all ranks together */
    TsVerdict verdict; /* of the guard: whether parameters were updated */
} TsCourseReport;

/* Runs step `step`: batches are read, passes run, losses added up, parameters updated. Collective; an error, the same
 * on all ranks, only where something had to be compiled anew. */
TS_MUST_USE TsStatus ts_courses_step(TsCourses *courses, TsCourseReport *report, int64_t step);

/* The losses of a task since they were last reset; borrowed, NULL where the task does not learn. Each rank has its part
 * of them: to be reduced over the ranks that share a batch. */
TsMetrics *ts_courses_metrics(const TsCourses *courses, int task);

/* The part of all that is counted which a task has from `step` on, and the steps that it had. */
double ts_courses_rate(TsCourses *courses, int task, int64_t step);
int64_t ts_courses_steps(const TsCourses *courses, int task);

/* gram (tasks, tasks): the products of the gradients of tasks over what they share, as they last came: those of the
 * last step, or, interleaved, of each task's last one; 0 where there is none. False, and nothing, unless gradients are
 * kept apart (mixture.conflicts, or a balance that needs them). Collective; the same on all ranks. */
bool ts_courses_conflicts(TsCourses *courses, double *gram);

/* The parameters that passes on this rank bind, by path: of a concurrent mixture, what is shared and its group's own.
 * Borrowed until groups are cut anew. */
const TsBatch *ts_courses_arrays(const TsCourses *courses);

/* The norm of all trainable parameters together. Collective on the job's group. */
double ts_courses_weight_norm(TsCourses *courses);

/* Of a concurrent mixture, what is a task's own lies on the group that runs the task: the job's arrays have no values
 * of it elsewhere, nor has the Learner's state. This fills them, the latter only with `state`, for whoever evaluates or
 * saves; ts_courses_scatter, after a gathering with `state`, makes what they hold now what groups go on with; and
 * ts_courses_release gives them back before the next step. What was bound to them must be bound anew. In other
 * modes they do nothing. Collective on the job's group. */
void ts_courses_gather(TsCourses *courses, bool state);
void ts_courses_scatter(TsCourses *courses);
void ts_courses_release(TsCourses *courses);

/* The groups of a concurrent mixture as they are cut now; NULL: they are not. Borrowed. */
const TsCut *ts_courses_cut(const TsCourses *courses);

/* From now on passes of the task count so many seconds a step, whatever they take: so that tests know how groups are to
 * be cut. Not collective; the same on all ranks. */
void ts_courses_say_cost(TsCourses *courses, int task, double seconds);

/* Programs record into the timeline of the recording, which is borrowed and marked, from now on, or where that is NULL,
 * no more. Not collective. */
void ts_courses_record(TsCourses *courses, TsRecording *recording);

/* How far tasks are, and what the guard knows, for checkpoints: adds to, and reads from, a state. Reading says loudly
 * which tasks the state, called `origin`, knows nothing of. */
void ts_courses_pack(const TsCourses *courses, json_t *state);
void ts_courses_unpack(TsCourses *courses, const json_t *state, const char *origin);
