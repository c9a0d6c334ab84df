/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing: offsets in one arena for buffers that live from one step to another, so that those which live at the same
 * time do not overlap.
 */
#pragma once

#include "tensor/passes/passes.h"

/* Sets offset_bytes of the buffers of the arena, arena_bytes, and live_bytes. Sizes are rounded to the alignment. */
void ts_pack_buffers(TsLayout *layout, int32_t steps);
