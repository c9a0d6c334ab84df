/* SPDX-License-Identifier: Apache-2.0
 *
 * Versions: the same value under several placements, while the place pass writes its graph. What was moved once is
 * shared by all its readers; parameters at rest are moved once in the forward and once in the backward pass, so that
 * what was gathered is not kept in between.
 */
#pragma once

#include "tensor/passes/passes.h"
#include "tensor/redistribute.h"

typedef struct TsVersions TsVersions;

/* `graph` is borrowed; scatter_first as in ts_redistribute_plan. */
TsVersions *ts_versions_create(TsGraph *graph, TsMeshShape mesh_shape, bool scatter_first);
void ts_versions_free(TsVersions **versions);

/* `value` lies at rest between runs: a parameter, a state, or made of one such alone. It is `gathered` over these axes
 * before use. */
void ts_versions_set_at_rest(TsVersions *versions, int32_t value, TsAxisSet gathered);
bool ts_versions_at_rest(const TsVersions *versions, int32_t value);
TsAxisSet ts_versions_gathered(const TsVersions *versions, int32_t value);

/* Whether a version of `value` is there that is cut by `axis` on `dim` (or, with dim -1, whole over it), for readers of
 * this direction. */
bool ts_versions_have(const TsVersions *versions, int32_t value, int dim, TsAxis axis, bool backward);

/* Sets *out to the version of `value` with this placement; adds the moves that lead there where it is not there yet. */
TS_MUST_USE TsStatus ts_versions_move(TsVersions *versions, int32_t *out, int32_t value, TsPlacement to,
                                      const TsNode *reader);
