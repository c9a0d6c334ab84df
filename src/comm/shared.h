/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffers that lie in memory shared by the ranks of a node, so that neighbours read and reduce them where they are.
 *
 * Large blocks of ts_alloc are seen by neighbours too, mostly (comm/neighbour.h); these always are, however small. A
 * collective recognises such a buffer by its address; nothing else about a call changes.
 */
#pragma once

#include <stddef.h>

#include "comm/group.h"

/* `size_bytes` zeroed bytes on each rank (sizes may differ; 0 is allowed), aligned to 64, visible to the ranks of the
 * group on the same node. Collective on group. Owned by the caller: ts_shared_free. */
void *ts_shared_alloc(TsGroup *group, size_t size_bytes);

/* Collective on the group that the buffer was made with. NULL is fine where all ranks pass NULL. */
void ts_shared_free(void *buffer);
