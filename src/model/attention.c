/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "model/layers.h"

/* The cache `name` of this layer, after this run's `block` (B, T, H, D) was written to it: (B, positions, H, D). */
static TsTensor extend_cache(TsScope scope, const char *name, TsTensor block, const TsCache *cache)
{
    char path[2 * TS_MAX_PATH];
    snprintf(path, sizeof path, "cache/%s/%s", scope.path, name);
    TsPlacement placement = ts_shard(cache->placement, 2, TS_AXIS_MODEL);
    TsShape shape = ts_shape(ts_dim(block, 0), cache->positions, ts_dim(block, 2), ts_dim(block, 3));
    TsTensor before = ts_state(scope.graph, path, ts_dtype_of(block), shape, placement);
    TsTensor after = ts_update(before, block, cache->first, 1);
    ts_assign(before, after);
    return after;
}

TsTensor ts_attention(TsScope scope, TsTensor x, TsAttention options, const TsCache *cache)
{
    int64_t width = ts_dim(x, -1);
    if (options.heads < 1 || width % options.heads)
        return ts_leave(scope, ts_graph_error(scope.graph, "%lld heads do not divide the width %lld",
                                              (long long)options.heads, (long long)width));
    TsLinear to_heads = {.out = ts_shape(options.heads, width / options.heads), .cut_columns = TS_AXIS_MODEL};
    TsTensor query = ts_linear_with(ts_in(scope, "query"), x, to_heads); /* (B, T, H, D) */
    TsTensor key = ts_linear_with(ts_in(scope, "key"), x, to_heads);
    TsTensor value = ts_linear_with(ts_in(scope, "value"), x, to_heads);
    if (cache) { /* what lies behind the newest position is hidden by the causal mask */
        key = extend_cache(scope, "key", key, cache);
        value = extend_cache(scope, "value", value, cache);
    }
    TsAttended attended = ts_attend(query, key, value, cache ? cache->first : TS_NONE,
                                    (TsAttend){.causal = options.causal, .keys_seen = options.keys_seen});
    TsTensor out = ts_linear_with(
        ts_in(scope, "out"), attended.out,
        (TsLinear){.out = ts_shape(width), .contract = 2, .cut_rows = TS_AXIS_MODEL, .gain = options.out_gain});
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), out, options.dropout));
}
