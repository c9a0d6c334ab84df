/* SPDX-License-Identifier: Apache-2.0
 *
 * Sharding: how a run lies on its mesh, beyond what layers declare: which parameters, gradients and optimizer state are
 * cut among the ranks that share the batch, and rules that place single parameters otherwise.
 *
 *     parameters: {shard: data, rules: [["tokens/table$", "1: model"]]}
 *
 * The ranks that share the batch are those along `data` and `expert`. ZeRO-1 is optimizer_shard: data (the default),
 * ZeRO-2 gradient_shard: data beside it, ZeRO-3 (FSDP) shard: data: Rajbhandari et al. 2020.
 */
#pragma once

#include "base/config.h"
#include "tensor/placement.h"

typedef enum TsShardAxis { TS_SHARD_NONE, TS_SHARD_DATA } TsShardAxis;

typedef struct TsShardingConfig {
    TsShardAxis shard, gradient_shard, optimizer_shard;
    TsList rules;       /* of TsList (2) of const char *: a pattern of paths, a placement */
    int virtual_shards; /* not a key: where numerics are reproducible, so many ranks at most cut the batch, and a
                           parameter is cut on the dim that suits them, however many there are; else 0 */
} TsShardingConfig;

/* The keys of `parameters:`. */
extern const TsConfigTable ts_sharding_table;

/* Where a batch of examples lies: dim 0 along data, in micro-batches, then along expert. */
TsPlacement ts_batch_placement(void);

/* The axes along which ranks hold different examples. */
TsAxisSet ts_batch_axes(void);

/* Where a parameter lies, with what belongs to it. */
typedef struct TsShards {
    TsPlacement rest;     /* the parameter between steps */
    TsAxisSet gathered;   /* the axes of `rest` over which it is gathered before use */
    TsPlacement state;    /* the optimizer's state, and the gradient that it is updated by */
    TsPlacement gradient; /* the sum of gradients between micro-batches */
    int dim;              /* on which the state is cut among the ranks that share the batch, or would be */
} TsShards;

/* What becomes of a parameter that its layer places as `declared`. `rule` stands instead of `declared` at rest; NULL:
 * no rule. Sizes of mesh_shape may be 0, which count as 1. Not collective. */
TsShards ts_sharding_apply(const TsShardingConfig *config, TsPlacement declared, const TsPlacement *rule, TsShape shape,
                           TsMeshShape mesh_shape);
