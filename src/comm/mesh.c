/* SPDX-License-Identifier: Apache-2.0 */
#include "comm/mesh.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/group_internal.h"

static const char *const axis_names[TS_AXES] = {"none", "stage", "data", "expert", "seq", "model", "micro"};

enum { AXIS_SETS = 1 << TS_AXES };

struct TsMesh {
    TsMeshShape shape; /* every size at least 1 */
    int coord[TS_AXES];
    int ranks;
    TsAxisSet active;          /* axes of more than one rank */
    TsGroup *all;              /* borrowed; NULL where only described */
    int *rank_at;              /* (ranks) owned: the rank in `all` at each position, row-major over the axes */
    TsGroup *group[AXIS_SETS]; /* owned; of each subset of `active`, else NULL */
    bool borrows;              /* groups and ranks are another mesh's */
};

const char *ts_axis_name(TsAxis axis)
{
    TS_CHECK(axis < TS_AXES, "there is no axis %d", (int)axis);
    return axis_names[axis];
}

TsAxis ts_axis_from_name(const char *name)
{
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXIS_MICRO; axis++)
        if (strcmp(name, axis_names[axis]) == 0)
            return axis;
    return TS_AXIS_NONE;
}

TsStatus ts_axis_parse(TsAxis *axis, const char *name)
{
    *axis = ts_axis_from_name(name);
    if (*axis != TS_AXIS_NONE)
        return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "a mesh has no axis \"%s\"; its axes are stage, data, expert, seq, model",
                           name);
}

TsMeshText ts_mesh_text(TsMeshShape shape)
{
    TsMeshText out = {"{"};
    size_t used = 1;
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++) {
        if (shape.size[axis] == 0 || shape.size[axis] == 1)
            continue;
        const char *comma = used > 1 ? ", " : "";
        int wrote = shape.size[axis] == TS_MESH_AUTO
                        ? snprintf(out.text + used, sizeof out.text - used, "%s%s: auto", comma, axis_names[axis])
                        : snprintf(out.text + used, sizeof out.text - used, "%s%s: %d", comma, axis_names[axis],
                                   shape.size[axis]);
        used += (size_t)wrote;
    }
    snprintf(out.text + used, sizeof out.text - used, "}");
    return out;
}

TsAxesText ts_axes_text(TsAxisSet axes)
{
    TsAxesText out = {""};
    size_t used = 0;
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
        if (axes & TS_AXIS_BIT(axis))
            used +=
                (size_t)snprintf(out.text + used, sizeof out.text - used, "%s%s", used ? ", " : "", axis_names[axis]);
    return out;
}

TsStatus ts_mesh_shape_check(TsMeshShape *shape, int ranks)
{
    TsAxis left = TS_AXIS_NONE; /* the axis that takes what is left */
    int64_t product = 1;
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++) {
        int size = shape->size[axis];
        if (size < TS_MESH_AUTO)
            return ts_status_error(TS_CODE_INVALID, "mesh: axis %s has size %d; a size is at least 1, or auto",
                                   axis_names[axis], size);
        if (size == TS_MESH_AUTO && left != TS_AXIS_NONE)
            return ts_status_error(TS_CODE_INVALID, "mesh: both %s and %s are auto; only one axis can be",
                                   axis_names[left], axis_names[axis]);
        if (size == TS_MESH_AUTO)
            left = axis;
        else if (size > 1 && product <= INT_MAX) /* beyond it, it is wrong whatever follows */
            product *= size;
    }
    TsMeshText text = ts_mesh_text(*shape);
    if (left != TS_AXIS_NONE && ranks % product != 0)
        return ts_status_error(TS_CODE_INVALID,
                               "mesh %s: its other axes take %lld ranks, which do not divide the %d of this job",
                               text.text, (long long)product, ranks);
    if (left == TS_AXIS_NONE && product != ranks)
        return ts_status_error(TS_CODE_INVALID, "mesh %s needs %lld ranks, this job has %d", text.text,
                               (long long)product, ranks);
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
        if (shape->size[axis] == 0)
            shape->size[axis] = 1;
    if (left != TS_AXIS_NONE)
        shape->size[left] = (int)(ranks / product);
    return TS_OK;
}

/* The coordinates of a position, row-major, `model` running fastest. */
static void place(TsMesh *mesh, int position)
{
    for (int axis = TS_AXES - 1; axis >= TS_AXIS_STAGE; axis--) {
        mesh->coord[axis] = position % mesh->shape.size[axis];
        position /= mesh->shape.size[axis];
        if (mesh->shape.size[axis] > 1)
            mesh->active |= TS_AXIS_BIT(axis);
    }
}

TsMesh *ts_mesh_describe(TsMeshShape shape, int rank)
{
    TsMesh *mesh = ts_calloc(1, sizeof *mesh);
    int64_t ranks = 1;
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++) {
        TS_CHECK(shape.size[axis] >= 0, "axis %s has size %d", axis_names[axis], shape.size[axis]);
        if (shape.size[axis] == 0)
            shape.size[axis] = 1;
        ranks *= shape.size[axis];
        TS_CHECK(ranks <= INT_MAX, "mesh %s has too many ranks", ts_mesh_text(shape).text);
    }
    TS_CHECK(rank >= 0 && rank < ranks, "mesh %s has no rank %d", ts_mesh_text(shape).text, rank);
    shape.size[TS_AXIS_NONE] = 1;
    mesh->shape = shape;
    mesh->ranks = (int)ranks;
    place(mesh, rank);
    ts_resource_count(TS_RESOURCE_MESH, 1);
    return mesh;
}

/* "data", "data+model"; "self" for the empty set. */
static void name_axes(TsAxisSet axes, char *name, size_t size_bytes)
{
    size_t used = 0;
    name[0] = '\0';
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
        if (axes & TS_AXIS_BIT(axis))
            used += (size_t)snprintf(name + used, size_bytes - used, "%s%s", used ? "+" : "", axis_names[axis]);
    if (!used)
        snprintf(name, size_bytes, "self");
}

/* The group of the ranks that differ from this one along `axes` only. */
static TsGroup *make_group(TsMesh *mesh, TsAxisSet axes)
{
    char name[64];
    name_axes(axes, name, sizeof name);
    int color = 0, key = 0; /* the position within what `axes` leaves out, and within what they span */
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXES; axis++) {
        int *index = axes & TS_AXIS_BIT(axis) ? &key : &color;
        *index = *index * mesh->shape.size[axis] + mesh->coord[axis];
    }
    return ts_group_split_axes(mesh->all, name, axes, color, key);
}

TsStatus ts_mesh_create(TsMesh **mesh, TsGroup *group, TsMeshShape shape)
{
    *mesh = NULL;
    TS_TRY(ts_comm_agree(group, ts_mesh_shape_check(&shape, group->size)));
    /* Ranks by (node, rank): the ranks of one model group lie within a node however the launcher dealt them out. */
    int position = group->node_first[group->node_of[group->rank]] + group->node_rank_of[group->rank];
    TsMesh *self = ts_mesh_describe(shape, position);
    self->all = group;
    self->rank_at = ts_alloc((size_t)group->size * sizeof *self->rank_at);
    memcpy(self->rank_at, group->node_member, (size_t)group->size * sizeof *self->rank_at);
    for (TsAxisSet axes = 0; axes < AXIS_SETS; axes++)
        if ((axes & ~self->active) == 0)
            self->group[axes] = make_group(self, axes);
    *mesh = self;
    return TS_OK;
}

TsMesh *ts_mesh_at_micro(const TsMesh *mesh, int micros, int micro)
{
    TS_CHECK(micro >= 0 && micro < micros, "micro-batch %d of %d", micro, micros);
    TsMesh *self = mesh ? ts_alloc(sizeof *self) : ts_mesh_describe((TsMeshShape){{0}}, 0);
    if (mesh) {
        *self = *mesh;
        ts_resource_count(TS_RESOURCE_MESH, 1);
    }
    self->borrows = true;
    self->shape.size[TS_AXIS_MICRO] = micros;
    self->coord[TS_AXIS_MICRO] = micro;
    return self;
}

void ts_mesh_free(TsMesh **mesh)
{
    TsMesh *self = *mesh;
    if (!self)
        return;
    if (!self->borrows) {
        for (int axes = AXIS_SETS - 1; axes >= 0; axes--)
            ts_group_free(&self->group[axes]);
        ts_free(self->rank_at);
    }
    ts_free(self);
    *mesh = NULL;
    ts_resource_count(TS_RESOURCE_MESH, -1);
}

TsMeshShape ts_mesh_shape(const TsMesh *mesh)
{
    return mesh->shape;
}

int ts_mesh_size(const TsMesh *mesh, TsAxis axis)
{
    TS_CHECK(axis < TS_AXES, "there is no axis %d", (int)axis);
    return mesh->shape.size[axis];
}

int ts_mesh_coord(const TsMesh *mesh, TsAxis axis)
{
    TS_CHECK(axis < TS_AXES, "there is no axis %d", (int)axis);
    return mesh->coord[axis];
}

int ts_mesh_ranks(const TsMesh *mesh)
{
    return mesh->ranks;
}

int ts_mesh_rank_at(const TsMesh *mesh, const int *coord)
{
    int position = 0;
    for (TsAxis axis = TS_AXIS_STAGE; axis < TS_AXIS_MICRO; axis++) {
        TS_CHECK(coord[axis] >= 0 && coord[axis] < mesh->shape.size[axis], "axis %s of size %d has no coordinate %d",
                 axis_names[axis], mesh->shape.size[axis], coord[axis]);
        position = position * mesh->shape.size[axis] + coord[axis];
    }
    return mesh->rank_at ? mesh->rank_at[position] : position;
}

TsGroup *ts_mesh_group(const TsMesh *mesh, TsAxisSet axes)
{
    return mesh->group[axes & mesh->active];
}

TsGroup *ts_mesh_all(const TsMesh *mesh)
{
    return mesh->all;
}
