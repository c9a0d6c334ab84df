/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sharding.h"

static const char *const words[] = {"none", "data", NULL};

static const TsKey rule_item = {.kind = TS_KIND_LIST, .element = TS_ELEMENT(TS_KIND_STRING), .range = TS_BETWEEN(2, 2)};

static TsStatus check(const void *value)
{
    const TsShardingConfig *config = value;
    if (config->gradient_shard == TS_SHARD_DATA && config->optimizer_shard == TS_SHARD_NONE)
        return ts_status_error(TS_CODE_INVALID, "gradient_shard: data, but optimizer_shard: none: an optimizer that is "
                                                "whole needs whole gradients");
    return TS_OK;
}

static const TsKey keys[] = {
    TS_KEY_ENUM(
        TsShardingConfig, shard, words,
        "parameters: whole where layers do not cut them, or cut along data too and gathered before use (ZeRO-3)",
        .fallback = "none"),
    TS_KEY_ENUM(TsShardingConfig, gradient_shard, words,
                "sums of gradients between micro-batches: whole, or cut along data (ZeRO-2)", .fallback = "none"),
    TS_KEY_ENUM(TsShardingConfig, optimizer_shard, words,
                "the optimizer's state: as the parameters, or cut along data (ZeRO-1)", .fallback = "data"),
    TS_KEY_LIST(
        TsShardingConfig, rules, &rule_item,
        "pairs [pattern, placement], as [\"tokens/table$\", \"1: model\"]: parameters whose path has the pattern "
        "lie so at rest; the first that is found holds"),
    TS_KEYS_END};

const TsConfigTable ts_sharding_table = {
    "parameters",
    "Where parameters and what belongs to them lie on the mesh, beyond what layers "
    "declare.",
    sizeof(TsShardingConfig), keys, check};

TsPlacement ts_batch_placement(void)
{
    return ts_shard(ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_DATA), 0, TS_AXIS_MICRO), 0, TS_AXIS_EXPERT);
}

TsAxisSet ts_batch_axes(void)
{
    return TS_AXIS_BIT(TS_AXIS_DATA) | TS_AXIS_BIT(TS_AXIS_EXPERT);
}

static int size_of(TsMeshShape mesh_shape, int axis)
{
    return mesh_shape.size[axis] > 1 ? mesh_shape.size[axis] : 1;
}

static int64_t parts_of(TsPlacement placement, int dim, TsMeshShape mesh_shape)
{
    int64_t parts = 1;
    for (int k = 0; k < TS_AXES && placement.axis[dim][k]; k++)
        parts *= size_of(mesh_shape, placement.axis[dim][k]);
    return parts;
}

/* Parts that are larger than others by less than this are as good as even. */
static const double UNEVEN = 1.0 / 256;

/* The dim that `parts` more parts cut most evenly; the first of equals, whose blocks lie together in memory: they are
 * gathered and scattered where they lie. */
static int most_even_dim(TsPlacement placement, TsShape shape, TsMeshShape mesh_shape, int64_t parts)
{
    int best = 0;
    double least = 0;
    for (int dim = 0; dim < shape.dims; dim++) {
        int64_t all = parts * parts_of(placement, dim, mesh_shape), size = shape.size[dim];
        double largest = size ? (double)((size + all - 1) / all) * (double)all / (double)size : 0; /* 1: even */
        if (dim == 0 || largest < least - UNEVEN) {
            best = dim;
            least = largest;
        }
    }
    return best;
}

/* The dim that the ranks which share the batch cut already; else the one that suits `parts` of them. */
static int dim_of_batch(TsPlacement placement, TsShape shape, TsMeshShape mesh_shape, int64_t parts)
{
    for (int dim = 0; dim < shape.dims; dim++)
        if (ts_placement_axes_of(placement, dim) & ts_batch_axes())
            return dim;
    return most_even_dim(placement, shape, mesh_shape, parts);
}

/* `placement`, cut among the ranks that share the batch too, as far as their axes are not used yet. */
static TsPlacement cut_among_batch(const TsShardingConfig *config, TsPlacement placement, TsShape shape,
                                   TsMeshShape mesh_shape)
{
    TsAxisSet axes = 0;
    int64_t parts = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (size_of(mesh_shape, axis) > 1 &&
            (ts_batch_axes() & ~ts_placement_axes(placement) & ~placement.partial & TS_AXIS_BIT(axis))) {
            axes |= TS_AXIS_BIT(axis);
            parts *= size_of(mesh_shape, axis);
        }
    if (!axes || !shape.dims)
        return placement;
    int dim = most_even_dim(placement, shape, mesh_shape, config->virtual_shards ? config->virtual_shards : parts);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (axes & TS_AXIS_BIT(axis))
            placement = ts_shard(placement, dim, (TsAxis)axis);
    return placement;
}

TsShards ts_sharding_apply(const TsShardingConfig *config, TsPlacement declared, const TsPlacement *rule, TsShape shape,
                           TsMeshShape mesh_shape)
{
    TsShards shards = {.rest = rule ? *rule : declared};
    if (config->shard == TS_SHARD_DATA && !rule)
        shards.rest = cut_among_batch(config, declared, shape, mesh_shape);
    shards.gathered = ts_placement_axes(shards.rest) & ~ts_placement_axes(declared) & ts_batch_axes();
    shards.state = shards.rest;
    if (config->optimizer_shard == TS_SHARD_DATA || config->shard == TS_SHARD_DATA)
        shards.state = cut_among_batch(config, shards.rest, shape, mesh_shape);
    shards.dim = dim_of_batch(shards.state, shape, mesh_shape, config->virtual_shards ? config->virtual_shards : 1);
    shards.gradient = shards.state;
    if (config->gradient_shard == TS_SHARD_NONE && config->shard == TS_SHARD_NONE)
        shards.gradient = ts_partial(shards.rest, ts_batch_axes() & ~ts_placement_axes(shards.rest));
    return shards;
}
