/* SPDX-License-Identifier: Apache-2.0
 *
 * Follow: evaluation of a run by other ranks than those that train it: each time a checkpoint is committed the newest
 * one is evaluated, until the run has ended.
 *
 * Scores go to standard output (STEP, TASK, name, value, weight, between tabs), to RUN/evaluations.jsonl, and to
 * TensorBoard.
 */
#pragma once

#include "task/job.h"

typedef struct TsFollowOptions {
    const char *task; /* NULL: all that have validation data */
    double timeout_s; /* without a new checkpoint, after which it ends; infinity: never */
} TsFollowOptions;

/* Ends where run.steps is reached, the run's record says that it has ended, nothing new came for timeout_s, or a signal
 * asks for it. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_follow(TsGroup *group, const TsConfig *config, TsFollowOptions options);
