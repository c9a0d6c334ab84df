/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpack: a gzipped text beside prepared data, plain, so that each rank can read any part of it.
 */
#pragma once

#include "comm/group.h"

/* The path of the plain text: `path` itself where that is not gzipped; else of what rank 0 unpacked into `directory`,
 * now or earlier, when the file was the same. Collective on group; the same status on all ranks. *plain is owned by the
 * caller: ts_free; NULL where it fails. */
TS_MUST_USE TsStatus ts_unpack(char **plain, TsGroup *group, const char *path, const char *directory);
