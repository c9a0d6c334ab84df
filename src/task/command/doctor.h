/* SPDX-License-Identifier: Apache-2.0
 *
 * Doctor: what is found on the ranks at hand before a long job, on one page, with what to do where something is wrong.
 */
#pragma once

#include "base/text.h"
#include "comm/group.h"

/* Appends the page: versions, hosts, binding, threads, instruction sets, what ranks, memory, links and the file system
 * of `directory` (made if it is not there) give when all ranks work at the same time, and then findings. *findings (may
 * be NULL) is how many. Takes some seconds. Collective; the same on all ranks, also the status: an error where the
 * directory cannot be written. */
TS_MUST_USE TsStatus ts_doctor(TsText *page, int *findings, TsGroup *group, const char *directory);
