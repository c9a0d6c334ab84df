/* SPDX-License-Identifier: Apache-2.0
 *
 * Freeze: which parameters of a job are not learned, by learner.freeze or learner.only.
 *
 * What is frozen has no gradient and no optimizer state, and is not sent anywhere but where it is needed to compute.
 */
#pragma once

#include "task/job.h"

/* Marks them in all tables of the job, whose parameters are declared. With `all_declared`, a pattern that is found in
 * no path is an error. Not collective; the same on all ranks. */
TS_MUST_USE TsStatus ts_freeze(TsJob *job, bool all_declared);
