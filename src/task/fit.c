/* SPDX-License-Identifier: Apache-2.0 */
#include "task/fit.h"

#include "base/machine.h"

enum { MOST_RANKS = 1 << 12 };

static const double GIB = 1 << 30;

static double block_bytes(TsPlacement placement, const TsParameter *row, TsMeshShape mesh_shape, const int *coord)
{
    TsBlockRange block = ts_placement_block(placement, row->shape, mesh_shape, coord);
    return (double)ts_shape_elems(block.shape) * (double)ts_dtype_bytes(row->dtype);
}

double ts_fit_bytes(const TsParameters *parameters, TsMeshShape mesh_shape, const int *coord, double states)
{
    const TsShardingConfig *sharding = ts_parameters_sharding(parameters);
    double bytes = 0;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        TsShards shards =
            ts_sharding_apply(sharding, row->declared, row->has_rule ? &row->placement : NULL, row->shape, mesh_shape);
        bytes += block_bytes(shards.rest, row, mesh_shape, coord);
        if (states >= 0 && row->trainable)
            bytes += (1 + states) * block_bytes(shards.state, row, mesh_shape, coord);
    }
    return bytes;
}

/* The mesh of the fewest ranks, `node_ranks` of them on a host of `memory_bytes`, that has room; with fewer ranks along
 * model where there is a choice. False where there is none. */
static bool find_mesh(TsMeshShape *found, const TsParameters *parameters, TsMeshShape mesh_shape, int node_ranks,
                      double memory_bytes, double states)
{
    int others = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (axis != TS_AXIS_DATA && axis != TS_AXIS_MODEL && mesh_shape.size[axis] > 1)
            others *= mesh_shape.size[axis];
    static const int first[TS_AXES];
    double whole_bytes = ts_fit_bytes(parameters, (TsMeshShape){{0}}, first, states);
    for (int ranks = 1; ranks * others <= MOST_RANKS; ranks++) {
        if (whole_bytes / ranks / others > memory_bytes) /* not even if all were cut */
            continue;
        for (int model = 1; model <= ranks; model++) {
            if (ranks % model)
                continue;
            TsMeshShape shape = mesh_shape;
            shape.size[TS_AXIS_DATA] = ranks / model;
            shape.size[TS_AXIS_MODEL] = model;
            int coord[TS_AXES], here = ranks * others < node_ranks ? ranks * others : node_ranks;
            for (int axis = 0; axis < TS_AXES; axis++)
                coord[axis] =
                    shape.size[axis] > 1 ? shape.size[axis] - 1 : 0; /* the last has the most: floors are taken */
            if (ts_fit_bytes(parameters, shape, coord, states) * here <= memory_bytes) {
                *found = shape;
                return true;
            }
        }
    }
    return false;
}

TsStatus ts_fit_check(const TsParameters *parameters, TsGroup *group, double states)
{
    const TsMesh *mesh = ts_parameters_mesh(parameters);
    double memory_bytes = (double)ts_machine().memory_bytes;
    int ranks = ts_group_node_size(group), coord[TS_AXES] = {0};
    for (int axis = 1; axis < TS_AXES; axis++)
        coord[axis] = ts_mesh_coord(mesh, (TsAxis)axis);
    double bytes = ts_fit_bytes(parameters, ts_mesh_shape(mesh), coord, states) * ranks;
    if (memory_bytes == 0 || bytes <= memory_bytes)
        return TS_OK;
    TsText text = {0};
    TsMeshShape enough;
    ts_text_append(&text, "%s take %.4g GiB for %d rank%s on a host with %.4g GiB of memory; ",
                   states >= 0 ? "parameters, gradients and optimizer state" : "parameters", bytes / GIB, ranks,
                   ranks == 1 ? "" : "s", memory_bytes / GIB);
    if (find_mesh(&enough, parameters, ts_mesh_shape(mesh), ranks, memory_bytes, states))
        ts_text_append(&text, "the smallest mesh with room, %d rank%s on such a host, is %s", ranks,
                       ranks == 1 ? "" : "s", ts_mesh_text(enough).text);
    else
        ts_text_append(&text, "no mesh of up to %d ranks has room", MOST_RANKS);
    if (ts_parameters_sharding(parameters)->shard == TS_SHARD_NONE)
        ts_text_append(&text, "; parameters.shard: data would cut them further");
    TsStatus status = ts_status_error(TS_CODE_RESOURCES, "backbone: %s", text.data);
    ts_text_free(&text);
    return status;
}
