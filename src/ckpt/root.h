/* SPDX-License-Identifier: Apache-2.0
 *
 * What rank 0 does alone and all ranks learn: directories, commits and manifests are its work; what came of it, and
 * what it read, is told to the others.
 */
#pragma once

#include <stddef.h>

#include "comm/group.h"

/* Makes rank 0's status that of all ranks; the others pass TS_OK. Takes ownership. Collective on group. */
TS_MUST_USE TsStatus ts_root_status(TsGroup *group, TsStatus status);

/* Gives every rank a copy of rank 0's *bytes, zero-terminated; *text of the others is replaced. Owned by the caller:
 * ts_free. Collective on group. */
void ts_root_text(TsGroup *group, char **text, size_t *bytes);

/* Gives every rank rank 0's `values`. Collective on group. */
void ts_root_integers(TsGroup *group, int64_t *values, int64_t count);
