/* SPDX-License-Identifier: Apache-2.0
 *
 * Mesh: the ranks of a Group as a rectangular grid with named axes.
 *
 * Axes in order, major to minor: stage, data, expert, seq, model; `model` is innermost, so that its ranks lie next to
 * one another within a node. An axis of size 1 costs nothing. A Mesh may also be only described: a shape and the place
 * of one rank in it without any ranks behind it, which is what plans for machines elsewhere use.
 *
 * `micro` is an axis of time: the micro-batches that each rank goes through one after another in a step. Its size is 1
 * in every Mesh; only Placements and the passes of a Program that accumulates (tensor/program.h) know more of it.
 */
#pragma once

#include "comm/group.h"

typedef enum TsAxis { /* 0 is no axis, so that zeroed placements mean "replicated" */
                      TS_AXIS_NONE = 0,
                      TS_AXIS_STAGE,
                      TS_AXIS_DATA,
                      TS_AXIS_EXPERT,
                      TS_AXIS_SEQ,
                      TS_AXIS_MODEL,
                      TS_AXIS_MICRO,
                      TS_AXES
} TsAxis;

typedef uint32_t TsAxisSet; /* bit 1 << axis */

#define TS_AXIS_BIT(axis) ((TsAxisSet)1 << (axis))

/* "stage", …; "none" for TS_AXIS_NONE. */
const char *ts_axis_name(TsAxis axis);

/* The axis of ranks of that name, or TS_AXIS_NONE. */
TsAxis ts_axis_from_name(const char *name);

/* ts_axis_from_name with an error that names the known axes. Not collective. */
TS_MUST_USE TsStatus ts_axis_parse(TsAxis *axis, const char *name);

enum { TS_MESH_AUTO = -1 }; /* as a size: the ranks that the other axes leave */

typedef struct TsMeshShape {
    int size[TS_AXES]; /* of each axis; 0 counts as 1; one may be TS_MESH_AUTO until ts_mesh_shape_check */
} TsMeshShape;

/* "{data: 3, model: 2}": axes of size 1 are left out. */
typedef struct TsMeshText {
    char text[128];
} TsMeshText;
TsMeshText ts_mesh_text(TsMeshShape shape);

/* Fills in TS_MESH_AUTO and sizes of 0. An error if the sizes do not multiply to `ranks`: it names the axes, the
 * product and the number of ranks. Not collective. */
TS_MUST_USE TsStatus ts_mesh_shape_check(TsMeshShape *shape, int ranks);

/* "data, model" of a set of axes; "" of none. */
typedef struct TsAxesText {
    char text[64];
} TsAxesText;
TsAxesText ts_axes_text(TsAxisSet axes);

typedef struct TsMesh TsMesh;

/* Lays the ranks of `group` out as `shape`, in the order (node, rank), so that the model axis lies within a node also
 * where the launcher dealt the ranks out over nodes in turn; `shape` may hold TS_MESH_AUTO. An error (the same on all
 * ranks) if the sizes do not multiply to the size of the group: it names the axes, the product and the number of ranks.
 * Collective on group, which is borrowed for the life of the mesh. Same on all ranks: shape. */
TS_MUST_USE TsStatus ts_mesh_create(TsMesh **mesh, TsGroup *group, TsMeshShape shape);

/* A mesh of which only `rank`'s view exists; ts_mesh_group gives NULL. Not collective. */
TsMesh *ts_mesh_describe(TsMeshShape shape, int rank);

/* The same mesh at micro-batch `micro` of `micros`: an axis `micro` of that size, of which this is the coordinate.
 * Borrows `mesh` (NULL: one rank) for its life. Not collective, nor is ts_mesh_free of it. */
TsMesh *ts_mesh_at_micro(const TsMesh *mesh, int micros, int micro);

/* Collective on the group of a real mesh. Sets *mesh to NULL; NULL is fine. */
void ts_mesh_free(TsMesh **mesh);

TsMeshShape ts_mesh_shape(const TsMesh *mesh);
int ts_mesh_size(const TsMesh *mesh, TsAxis axis);  /* at least 1 */
int ts_mesh_coord(const TsMesh *mesh, TsAxis axis); /* of this rank, 0..size-1 */
int ts_mesh_ranks(const TsMesh *mesh);              /* the product of the sizes */

/* The ranks that differ from this one along `axes` only, ordered by their coordinates, axes major to minor. The empty
 * set gives a group of one. Borrowed; all were made with the mesh, so this is not collective. */
TsGroup *ts_mesh_group(const TsMesh *mesh, TsAxisSet axes);

/* The rank in ts_mesh_all (or, described, the position) at `coord`, which is indexed by TsAxis. Not collective. */
int ts_mesh_rank_at(const TsMesh *mesh, const int *coord);

/* The whole group the mesh was made of, in its own order (ts_mesh_group of all axes is ordered by coordinates); NULL
 * where it is only described. */
TsGroup *ts_mesh_all(const TsMesh *mesh);
