/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: what start-up found out about a checkpoint that does not verify, so that the next start need not read it
 * again to skip it, and so that it does not count among those that are kept.
 *
 * DIR/damaged is text: the reason, and the size and time of each file of the checkpoint as it was when it was read.
 * Once one of them is another, somebody has mended it, and the file counts no more. Not collective: rank 0's work.
 */
#pragma once

#include <stdbool.h>

#include "base/status.h"

/* Writes the reason down; where that cannot be, nothing is said: the next start will read it again. */
void ts_damage_note(const char *dir, const char *reason);

/* Whether the checkpoint is known to be damaged; *reason is owned by the caller then, and NULL is fine for it. */
bool ts_damage_known(char **reason, const char *dir);
