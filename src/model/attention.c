/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
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

/* f32 (f64 for f64) (count): factor^1, factor^2 or, by `stride` 2, factor^1, factor^3, ... */
static TsTensor powers(TsGraph *graph, TsDtype dtype, int64_t count, double factor, int stride)
{
    TsTensor index = ts_running_sum(ts_constant(graph, dtype, ts_shape(count), 1), 0, false); /* 1, 2, ... */
    return ts_exp(ts_scale(ts_shift(ts_scale(index, stride), 1 - stride), log(factor)));
}

/* The slopes of ALiBi: 2^(-8/n), 2^(-16/n), ... for the largest power of two n up to the number of heads; the heads
 * beyond it take those of 2n that lie between. */
static TsTensor alibi_slopes(TsScope scope, int64_t heads)
{
    TsDtype dtype = scope.dtype == TS_F64 ? TS_F64 : TS_F32;
    int64_t power = 1;
    while (2 * power <= heads)
        power *= 2;
    TsTensor first = powers(scope.graph, dtype, power, exp2(-8.0 / (double)power), 1);
    if (power == heads)
        return first;
    TsTensor between = powers(scope.graph, dtype, heads - power, exp2(-4.0 / (double)power), 2);
    return ts_concatenate((const TsTensor[]){first, between}, 2, 0);
}

TsTensor ts_attention(TsScope scope, TsTensor x, TsAttention options, const TsCache *cache)
{
    int64_t width = ts_dim(x, -1), key_value_heads = options.key_value_heads ? options.key_value_heads : options.heads;
    if (options.heads < 1 || width % options.heads)
        return ts_leave(scope, ts_graph_error(scope.graph, "%lld heads do not divide the width %lld",
                                              (long long)options.heads, (long long)width));
    if (key_value_heads < 1 || options.heads % key_value_heads)
        return ts_leave(scope,
                        ts_graph_error(scope.graph, "%lld heads of keys and values do not divide %lld of queries",
                                       (long long)key_value_heads, (long long)options.heads));
    TsLinear to_heads = {.out = ts_shape(options.heads, width / options.heads),
                         .without_bias = options.without_bias,
                         .cut_columns = TS_AXIS_MODEL};
    TsLinear to_fewer = to_heads;
    to_fewer.out.size[0] = key_value_heads;
    TsTensor query = ts_linear_with(ts_in(scope, "query"), x, to_heads); /* (B, T, H, D) */
    TsTensor key = ts_linear_with(ts_in(scope, "key"), x, to_fewer);
    TsTensor value = ts_linear_with(ts_in(scope, "value"), x, to_fewer);
    TsTensor first = cache ? cache->first : TS_NONE;
    if (options.rotary) {
        query = ts_rotary(query, first, (TsRotary){.base = options.rotary_base});
        key = ts_rotary(key, first, (TsRotary){.base = options.rotary_base});
    }
    if (cache) { /* what lies behind the newest position is hidden by the causal mask */
        key = extend_cache(scope, "key", key, cache);
        value = extend_cache(scope, "value", value, cache);
    }
    TsAttended attended =
        ts_attend(query, key, value, first,
                  (TsAttend){.causal = options.causal,
                             .window = options.window,
                             .keys_seen = options.keys_seen,
                             .slopes = options.alibi ? alibi_slopes(scope, options.heads) : (TsTensor){0}});
    TsTensor out = ts_linear_with(ts_in(scope, "out"), attended.out,
                                  (TsLinear){.out = ts_shape(width),
                                             .contract = 2,
                                             .without_bias = options.without_bias,
                                             .cut_rows = TS_AXIS_MODEL,
                                             .gain = options.out_gain});
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), out, options.dropout));
}
