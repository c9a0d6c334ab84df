/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/slab.h"

#include "base/check.h"

/* The dim along which to cut for `parts` shares. */
static int dim_to_cut(TsShape shape, int parts)
{
    int longest = 0;
    for (int d = 0; d < shape.dims; d++) {
        if (shape.size[d] >= parts)
            return d;
        if (shape.size[d] > shape.size[longest])
            longest = d;
    }
    return longest;
}

TsBlockRange ts_slab_share(TsBlockRange slab, int part, int parts)
{
    TS_CHECK(part >= 0 && part < parts, "part %d of %d", part, parts);
    if (slab.shape.dims == 0) {
        if (part != 0) /* a scalar has no dim to be empty in: an empty slab of one dim stands for "nothing" */
            slab.shape = ts_shape(0);
        return slab;
    }
    int d = dim_to_cut(slab.shape, parts);
    int64_t size = slab.shape.size[d];
    int64_t first = part * size / parts, end = (part + 1) * size / parts;
    slab.first[d] += first;
    slab.shape.size[d] = end - first;
    return slab;
}

TsBlockRange ts_slab_owned(const TsArray *array, const TsGroup *group)
{
    if (!array->mesh)
        return ts_slab_share(array->block, ts_group_rank(group), ts_group_size(group));
    TsPlacement placement = array->placement;
    TsAxisSet cut = ts_placement_axes(placement);
    if (placement.at_axis != TS_AXIS_NONE) {
        if (ts_mesh_coord(array->mesh, (TsAxis)placement.at_axis) != placement.at_coord)
            return (TsBlockRange){.shape = ts_shape(0)};
        cut |= TS_AXIS_BIT(placement.at_axis);
    }
    int part = 0, parts = 1;
    for (int axis = TS_AXIS_STAGE; axis < TS_AXES; axis++)
        if (!(cut & TS_AXIS_BIT(axis))) {
            part = part * ts_mesh_size(array->mesh, (TsAxis)axis) + ts_mesh_coord(array->mesh, (TsAxis)axis);
            parts *= ts_mesh_size(array->mesh, (TsAxis)axis);
        }
    return ts_slab_share(array->block, part, parts);
}

TsBlockRange ts_slab_whole(TsShape shape)
{
    return (TsBlockRange){.shape = shape};
}

bool ts_slab_empty(TsBlockRange slab)
{
    return ts_shape_elems(slab.shape) == 0;
}

TsStatus ts_slab_pieces(TsBlockRange slab, int64_t limit_elems, TsSlabVisit visit, void *context)
{
    int64_t elems = ts_shape_elems(slab.shape);
    if (elems == 0)
        return TS_OK;
    if (elems <= limit_elems || elems == 1)
        return visit(slab, context);
    int d = 0;
    while (slab.shape.size[d] == 1)
        d++;
    TsBlockRange upper = slab, lower = slab;
    upper.shape.size[d] = slab.shape.size[d] / 2;
    lower.shape.size[d] = slab.shape.size[d] - upper.shape.size[d];
    lower.first[d] += upper.shape.size[d];
    TS_TRY(ts_slab_pieces(upper, limit_elems, visit, context));
    return ts_slab_pieces(lower, limit_elems, visit, context);
}

/* How a slab falls into runs. */
typedef struct Runs {
    int outer;         /* dims that are iterated over */
    int64_t run_elems; /* of the dims from there on */
    int64_t stride[TS_MAX_DIMS], block_stride[TS_MAX_DIMS];
} Runs;

static Runs find_runs(TsShape shape, TsBlockRange block, TsBlockRange slab)
{
    Runs runs = {.outer = shape.dims, .run_elems = 1};
    for (int64_t d = shape.dims - 1, stride = 1, block_stride = 1; d >= 0; d--) {
        runs.stride[d] = stride;
        runs.block_stride[d] = block_stride;
        stride *= shape.size[d];
        block_stride *= block.shape.size[d];
    }
    bool whole = true; /* all dims further in are whole */
    while (runs.outer > 0 && whole) {
        runs.outer--;
        runs.run_elems *= slab.shape.size[runs.outer];
        whole = slab.shape.size[runs.outer] == shape.size[runs.outer] &&
                slab.shape.size[runs.outer] == block.shape.size[runs.outer];
    }
    return runs;
}

/* Moves to the next run; false after the last. */
static bool next_run(int64_t *index, TsShape slab, int outer)
{
    int d = outer - 1;
    while (d >= 0 && ++index[d] == slab.size[d])
        index[d--] = 0;
    return d >= 0;
}

TsStatus ts_slab_runs(TsShape shape, TsBlockRange block, TsBlockRange slab, TsSlabRunVisit visit, void *context)
{
    if (ts_slab_empty(slab))
        return TS_OK;
    Runs runs = find_runs(shape, block, slab);
    int64_t index[TS_MAX_DIMS] = {0};
    do {
        TsSlabRun run = {.elems = runs.run_elems};
        for (int d = 0; d < shape.dims; d++) {
            run.array_elem += (slab.first[d] + index[d]) * runs.stride[d];
            run.block_elem += (slab.first[d] - block.first[d] + index[d]) * runs.block_stride[d];
        }
        TS_TRY(visit(run, context));
    } while (next_run(index, slab.shape, runs.outer));
    return TS_OK;
}
