/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying much: past the processor's caches, where there is an instruction for it.
 *
 * A plain copy reads what it overwrites into the caches first, and drives out of them what the caller works on. Called
 * where a checkpoint is copied while training waits.
 */
#pragma once

#include <stddef.h>

/* What memcpy does, for bytes that nobody reads soon. Not collective; safe from any thread. */
void ts_copy_past_caches(void *restrict out, const void *restrict in, size_t bytes);
