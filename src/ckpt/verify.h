/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: reads back a whole state file, each rank a share of every array, and compares the checksums of a manifest.
 * What a save does before it commits, and what start-up does before it trusts a checkpoint.
 */
#pragma once

#include "ckpt/manifest.h"
#include "ckpt/pace.h"

/* Fails with the first array that cannot be read or differs. Collective on group. Same on all ranks: manifest, path.
 * pace: NULL but in the background. */
TS_MUST_USE TsStatus ts_verify_state(TsGroup *group, const TsManifest *manifest, const char *state_path, TsPace *pace);
