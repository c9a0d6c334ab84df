/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/fit.h"

#include <math.h>

#include "base/machine.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "task/command/plan.h"
#include "tensor/timeline.h"

enum { MOST_RANKS = 1 << 12, MOST_SECONDS = 15 };

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
    return ts_status_error(TS_CODE_RESOURCES, "backbone: %s take %.4g GiB for %d rank%s on a host with %.4g GiB",
                           states >= 0 ? "parameters, gradients and optimizer state" : "parameters", bytes / GIB, ranks,
                           ranks == 1 ? "" : "s", memory_bytes / GIB);
}

TsStatus ts_fit_check_made(TsGroup *group)
{
    double memory_bytes = (double)ts_machine().memory_bytes;
    int ranks = ts_group_node_size(group);
    double bytes = (double)ts_memory_usage().live_bytes * ranks;
    if (memory_bytes == 0 || bytes <= memory_bytes)
        return TS_OK;
    return ts_status_error(TS_CODE_RESOURCES, "this run takes %.4g GiB for %d rank%s on a host with %.4g GiB",
                           bytes / GIB, ranks, ranks == 1 ? "" : "s", memory_bytes / GIB);
}

/* ---- which mesh has room ---- */

/* What a rank needs there, by a plan; infinity where the model cannot be laid out so. */
static double planned_bytes(TsGroup *self, const TsConfig *config, TsMeshShape shape)
{
    TsPlan *plan = NULL;
    TsStatus status = ts_plan_make(&plan, self, config, shape, (TsPlanVisitor){NULL, NULL});
    double bytes = status ? INFINITY : plan->bytes;
    ts_status_free(&status);
    ts_free(plan);
    return bytes;
}

/* The mesh of the fewest ranks, `node_ranks` of them on a host of `memory_bytes`, that has room; with fewer ranks along
 * model where there is a choice. Other axes than data and model are as in mesh_shape. False where there is none. */
static bool find_mesh(TsMeshShape *found, TsGroup *self, const TsConfig *config, TsMeshShape mesh_shape, int node_ranks,
                      double memory_bytes)
{
    double began_s = ts_timeline_now();
    int others = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (axis != TS_AXIS_DATA && axis != TS_AXIS_MODEL && mesh_shape.size[axis] > 1)
            others *= mesh_shape.size[axis];
    for (int ranks = 1; ranks * others <= MOST_RANKS;) {
        double least_bytes = INFINITY; /* that a host needs */
        for (int model = 1; model <= ranks; model++) {
            TsMeshShape shape = mesh_shape;
            int here = ranks * others < node_ranks ? ranks * others : node_ranks;
            if (ranks % model)
                continue;
            if (ts_timeline_now() - began_s > MOST_SECONDS) /* nobody waits longer for an error */
                return false;
            shape.size[TS_AXIS_DATA] = ranks / model;
            shape.size[TS_AXIS_MODEL] = model;
            double bytes = planned_bytes(self, config, shape) * here;
            if (bytes <= memory_bytes) {
                *found = shape;
                return true;
            }
            if (isinf(bytes) && model > 1) /* more ranks than heads: nor can it be with more */
                break;
            least_bytes = fmin(least_bytes, bytes);
        }
        /* n ranks need at least an n-th of what one needs: fewer than these have no room */
        double enough = isinf(least_bytes) ? ranks + 1 : floor(ranks * fmin(least_bytes / memory_bytes, MOST_RANKS));
        ranks = enough > ranks ? (int)fmin(enough, MOST_RANKS) : ranks + 1;
    }
    return false;
}

TsStatus ts_fit_explain(TsStatus status, TsGroup *group, const TsConfig *config)
{
    TsMeshShape shape, enough = {{0}};
    double found[1 + TS_AXES] = {0}; /* bytes a rank; the mesh, or zeros */
    double memory_bytes = (double)ts_machine().memory_bytes;
    int node_ranks = ts_group_node_size(group);
    if (!status || ts_status_code(status) != TS_CODE_RESOURCES || memory_bytes == 0)
        return status;
    TsStatus known = ts_plan_mesh(&shape, config, ts_group_size(group));
    if (known) {
        ts_status_free(&known);
        return status;
    }
    TsGroup *self = ts_group_split(group, "fit", ts_group_rank(group) == 0 ? 0 : -1, 0);
    if (self) {
        found[0] = planned_bytes(self, config, shape);
        if (find_mesh(&enough, self, config, shape, node_ranks, memory_bytes))
            for (int axis = 1; axis < TS_AXES; axis++)
                found[1 + axis] = enough.size[axis] > 1 ? enough.size[axis] : 1;
    }
    ts_group_free(&self);
    ts_broadcast(
        group, (TsTransfer){.out = found, .in = found, .count_elems = 1 + TS_AXES, .dtype = TS_F64, .label = "memory"},
        0);
    TsText text = {0};
    ts_text_append(&text, "%s; ", ts_status_message(status));
    if (isfinite(found[0]))
        ts_text_append(&text, "in all a rank needs %.4g GiB; ", found[0] / GIB);
    for (int axis = 1; axis < TS_AXES; axis++)
        enough.size[axis] = (int)found[1 + axis];
    if (enough.size[TS_AXIS_DATA])
        ts_text_append(&text, "the smallest mesh with room, %d rank%s on such a host, is %s", node_ranks,
                       node_ranks == 1 ? "" : "s", ts_mesh_text(enough).text);
    else
        ts_text_append(&text, "no mesh with room was found");
    if (((const TsJobConfig *)ts_config_value(config))->parameters.shard == TS_SHARD_NONE)
        ts_text_append(&text, "; parameters.shard: data would cut them further");
    ts_status_free(&status);
    status = ts_status_error(TS_CODE_RESOURCES, "%s", text.data);
    ts_text_free(&text);
    return status;
}
