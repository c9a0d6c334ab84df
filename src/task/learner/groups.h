/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups: which optimizer each parameter has. Group 0 is learner.optimizer; the groups of learner.optimizers follow,
 * each of which takes the parameters that its pattern is found in.
 */
#pragma once

#include "task/learner/learner.h"

typedef struct TsGroups {
    int count;
    const TsChoice *optimizer, *schedule; /* (count); owned, what they show is the config's */
    int *of;                              /* (rows of the table) the group of each */
    double *decay;                        /* (rows) of weights */
} TsGroups;

/* Errors: two groups that take one parameter, a group that takes none, an optimizer that does not take what it is
 * given, a pattern that is found in no path. Not collective; the same on all ranks. Owned by the caller, also where it
 * fails. */
TS_MUST_USE TsStatus ts_groups_create(TsGroups *groups, const TsLearnerConfig *config, const TsParameters *parameters);

void ts_groups_free(TsGroups *groups);

/* The rate of a group at a step. */
double ts_groups_rate(const TsGroups *groups, int group, int64_t step, int64_t run_steps);
