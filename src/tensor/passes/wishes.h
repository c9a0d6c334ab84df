/* SPDX-License-Identifier: Apache-2.0
 *
 * Wishes: how a value would best be cut once it is summed up, looking ahead at who reads it. A gradient that is wanted
 * next to optimizer state which is cut by `data` is scattered along the same dim, also where something that could take
 * it whole (its norm) reads it first.
 */
#pragma once

#include "tensor/passes/passes.h"

typedef struct TsWish {
    uint8_t dim[TS_AXES]; /* of each axis: the dim that it should cut, plus one; 0: no wish */
} TsWish;

/* One for each value of `graph`, owned by the caller. */
TsWish *ts_wishes_find(const TsGraph *graph, TsMeshShape mesh_shape);
