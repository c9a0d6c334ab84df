/* SPDX-License-Identifier: Apache-2.0
 *
 * Guard: whether the numbers of a step are to be believed: the losses of its tasks, and the norm of its gradient. What
 * is not finite is not, nor what lies far above the running mean of its kind, in running standard deviations. Only what
 * was believed moves these.
 *
 * It sees numbers that are the same on all ranks, and so says the same there; what it knows is in checkpoints. Courses
 * ask it before each update; what follows from steps that were skipped is the trainer's (roll_back.c).
 */
#pragma once

#include <jansson.h>

#include "base/config.h"
#include "model/model.h"

typedef struct TsGuardConfig {
    double z_score;            /* infinity: only what is not finite is doubted */
    int64_t window, after;     /* steps that means are over; that a mean must have seen before it counts */
    int64_t rollbacks;         /* at most, in a run */
    TsInterval check_replicas; /* in steps */
} TsGuardConfig;

/* The keys of `guard:`. */
extern const TsConfigTable ts_guard_table;

typedef enum TsDoubt {
    TS_BELIEVED,
    TS_LOSS_NOT_FINITE,
    TS_LOSS_JUMPED,
    TS_NORM_NOT_FINITE,
    TS_NORM_JUMPED,
    TS_NORM_TOO_LARGE /* above learner.skip_above */
} TsDoubt;

/* What came of a step. */
typedef struct TsVerdict {
    TsDoubt doubt;
    int task; /* whose loss is doubted */
    double value;
    double mean, deviation; /* of what jumped, before the step */
} TsVerdict;

typedef struct TsGuard TsGuard;

/* Of `tasks` tasks, each of which has steps by itself, or, `together`, all of them have the same. The config is
 * borrowed. Owned by the caller: ts_guard_free. */
TsGuard *ts_guard_create(const TsGuardConfig *config, double skip_above, int tasks, bool together);

/* Sets *guard to NULL; NULL is fine. */
void ts_guard_free(TsGuard **guard);

/* Before an update: losses (tasks) of this step alone, a weight of 0 where a task had none; task: whose step it is, any
 * where all are together. The largest norm of the gradient that is believed; below 0: none, since a loss is not. */
double ts_guard_look(TsGuard *guard, const TsWeightedScalar *losses, int task);

/* After it: the norm that the gradient had. */
TsVerdict ts_guard_judge(TsGuard *guard, double norm);

/* "the loss of lm is 93.1, 12.3 deviations above its mean of 2.1". Owned by the caller. */
char *ts_verdict_text(TsVerdict verdict, const char *task);

/* To and from the object "guard" of a checkpoint's state. What was saved of other tasks counts as nothing. */
void ts_guard_pack(const TsGuard *guard, json_t *state);
void ts_guard_unpack(TsGuard *guard, const json_t *state);
