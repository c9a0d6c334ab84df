/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: how a Tensor lies on a Mesh. A value; all zero is replicated on every rank.
 *
 * Each dim has an ordered list of mesh axes that cut it, major to minor. Over the axes in `partial` the ranks hold
 * parts whose reduction is the value. `at` pins the Tensor to one coordinate of one axis: other ranks hold nothing. An
 * axis occurs at most once in all of these; over axes named nowhere the Tensor is replicated.
 *
 * A dim of n elements cut by one axis of size s: coordinate k owns [k*n/s, (k+1)*n/s), floors taken; further axes cut
 * that range again the same way. Sizes need not divide, and a block may be empty.
 */
#pragma once

#include "comm/collectives.h"
#include "comm/mesh.h"
#include "tensor/shape.h"

typedef struct TsPlacement {
    uint8_t axis[TS_MAX_DIMS][TS_AXES]; /* of dim d: TsAxis values, major first, ended by TS_AXIS_NONE */
    TsAxisSet partial;
    uint8_t reduction; /* TsReduction of the partial axes: TS_SUM, or TS_MAX */
    uint8_t at_axis;   /* TsAxis, or TS_AXIS_NONE */
    int16_t at_coord;
} TsPlacement;

/* Whole on every rank. */
extern const TsPlacement ts_replicated;

/* `dim` cut by `axis` (innermost, after what cuts it already); the rest as in `placement`. */
TsPlacement ts_shard(TsPlacement placement, int dim, TsAxis axis);

/* A sum over `axes` of what the ranks hold. */
TsPlacement ts_partial(TsPlacement placement, TsAxisSet axes);

bool ts_placement_equal(TsPlacement a, TsPlacement b);

/* The axes that cut `dim`, and those that cut any. */
TsAxisSet ts_placement_axes_of(TsPlacement placement, int dim);
TsAxisSet ts_placement_axes(TsPlacement placement);

/* The same without the axes of which a mesh of this shape has only one coordinate: what placements are compared by. */
TsPlacement ts_placement_simplify(TsPlacement placement, TsMeshShape mesh_shape);

/* What one rank holds of an array: the range [first, first + size) in each dim. */
typedef struct TsBlockRange {
    TsShape shape; /* local sizes */
    int64_t first[TS_MAX_DIMS];
} TsBlockRange;

/* The block of the rank at `coord` (indexed by TsAxis) of a mesh of `mesh_shape`. Not collective. */
TsBlockRange ts_placement_block(TsPlacement placement, TsShape shape, TsMeshShape mesh_shape, const int *coord);

/* The block of this rank of `mesh`. Not collective. */
TsBlockRange ts_placement_local(TsPlacement placement, TsShape shape, const TsMesh *mesh);

/* "0: model, data; 1: seq; partial: expert", "partial max: model", "at: stage 2", "replicated". */
typedef struct TsPlacementText {
    char text[160];
} TsPlacementText;
TsPlacementText ts_placement_text(TsPlacement placement);

/* Reads the same words. `dims` bounds the dims that may be named. An error names the word that is not understood. */
TS_MUST_USE TsStatus ts_placement_parse(TsPlacement *placement, const char *text, int dims);
