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

/* An error where the heads cannot be dealt out. */
static TsStatus check_heads(TsScope scope, int64_t heads, int64_t key_value_heads, int64_t width)
{
    const TsMesh *mesh = ts_parameters_mesh(scope.parameters);
    int ranks = mesh ? ts_mesh_size(mesh, TS_AXIS_MODEL) : 1;
    if (heads < 1 || width % heads)
        return ts_status_error(TS_CODE_INVALID, "%lld heads do not divide the width %lld", (long long)heads,
                               (long long)width);
    if (key_value_heads < 1 || heads % key_value_heads)
        return ts_status_error(TS_CODE_INVALID, "%lld heads of keys and values do not divide %lld of queries",
                               (long long)key_value_heads, (long long)heads);
    if (ranks > key_value_heads)
        return ts_status_error(
            TS_CODE_INVALID,
            "mesh.model: %d ranks for %lld head%s of keys and values: a head is not cut, so more ranks "
            "would have no work",
            ranks, (long long)key_value_heads, key_value_heads == 1 ? "" : "s");
    return TS_OK;
}

TsTensor ts_attention(TsScope scope, TsTensor x, TsAttention options, const TsCache *cache)
{
    int64_t width = ts_dim(x, -1), key_value_heads = options.key_value_heads ? options.key_value_heads : options.heads;
    TsStatus status = check_heads(scope, options.heads, key_value_heads, width);
    if (status) {
        TsTensor error = ts_graph_error(scope.graph, "%s", ts_status_message(status));
        ts_status_free(&status);
        return ts_leave(scope, error);
    }
    int64_t group = options.heads / key_value_heads, head_width = width / options.heads;
    TsLinear to_fewer = {.out = ts_shape(key_value_heads, head_width),
                         .without_bias = options.without_bias,
                         .cut_columns = TS_AXIS_MODEL};
    TsLinear to_heads = to_fewer;
    if (group > 1)
        to_heads.out = ts_shape(key_value_heads, group, head_width);
    TsTensor query = ts_linear_with(ts_in(scope, "query"), x, to_heads); /* (B, T, H, D), or (B, T, Hkv, G, D) */
    TsTensor key = ts_linear_with(ts_in(scope, "key"), x, to_fewer);
    TsTensor value = ts_linear_with(ts_in(scope, "value"), x, to_fewer);
    TsTensor first = cache ? cache->first : TS_NONE;
    if (options.rotary) {
        TsRotary rotary = {.base = options.rotary_base, .scaling = options.rotary_scaling};
        query = ts_rotary(query, first, rotary);
        key = ts_rotary(key, first, rotary);
    }
    if (cache) { /* what lies behind the newest position is hidden by the causal mask */
        key = extend_cache(scope, "key", key, cache);
        value = extend_cache(scope, "value", value, cache);
    }
    TsTensor slopes = {0};
    if (options.alibi)
        slopes = ts_reshape(alibi_slopes(scope, options.heads),
                            group > 1 ? ts_shape(key_value_heads, group) : ts_shape(options.heads));
    TsTensor seen = cache && cache->seen.graph ? cache->seen : options.keys_seen, bias = options.bias;
    if (bias.graph && group > 1)
        bias = ts_reshape(bias, ts_shape(key_value_heads, group, ts_dim(bias, 1), ts_dim(bias, 2)));
    TsAttended attended = ts_attend(query, key, value, first,
                                    (TsAttend){.causal = options.causal,
                                               .window = options.window,
                                               .keys_seen = seen,
                                               .segments = options.segments,
                                               .slopes = slopes,
                                               .bias = bias});
    TsTensor out = ts_linear_with(ts_in(scope, "out"), attended.out,
                                  (TsLinear){.out = ts_shape(width),
                                             .contract = to_heads.out.dims,
                                             .without_bias = options.without_bias,
                                             .cut_rows = TS_AXIS_MODEL,
                                             .gain = options.out_gain});
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), out, options.dropout));
}

/* ---- across ---- */

/* Keys or values of the memory: (B, S, H, D) */
static TsTensor from_memory(TsScope scope, const char *name, TsTensor memory, TsCrossAttention options)
{
    TsLinear to_heads = {.out = ts_shape(options.heads, ts_dim(memory, -1) / options.heads),
                         .without_bias = options.without_bias,
                         .cut_columns = TS_AXIS_MODEL};
    return ts_linear_with(ts_in(scope, name), memory, to_heads);
}

/* The state that keeps them: (B, S, H, D) */
static TsTensor remembered(TsScope scope, const char *name, int64_t rows, int64_t head_width, TsCrossAttention options,
                           const TsCache *cache)
{
    char path[2 * TS_MAX_PATH];
    snprintf(path, sizeof path, "memory/%s/%s", scope.path, name);
    return ts_state(scope.graph, path, scope.dtype, ts_shape(rows, cache->sources, options.heads, head_width),
                    ts_shard(cache->placement, 2, TS_AXIS_MODEL));
}

void ts_cross_attention_remember(TsScope scope, TsTensor memory, TsCrossAttention options, const TsCache *cache)
{
    static const char *const names[] = {"key", "value"};
    if (memory.id < 0)
        return;
    for (int i = 0; i < 2; i++) {
        TsTensor made = from_memory(scope, names[i], memory, options);
        if (made.id >= 0)
            ts_assign(remembered(scope, names[i], ts_dim(memory, 0), ts_dim(made, 3), options, cache), made);
    }
    (void)ts_leave(scope, memory);
}

TsTensor ts_cross_attention(TsScope scope, TsTensor x, TsTensor memory, TsCrossAttention options, const TsCache *cache)
{
    int64_t width = ts_dim(x, -1);
    TsStatus status = check_heads(scope, options.heads, options.heads, width);
    if (status) {
        TsTensor error = ts_graph_error(scope.graph, "%s", ts_status_message(status));
        ts_status_free(&status);
        return ts_leave(scope, error);
    }
    int64_t head_width = width / options.heads;
    TsTensor query = from_memory(scope, "query", x, options); /* the same shape of kernel */
    TsTensor key = cache ? remembered(scope, "key", ts_dim(x, 0), head_width, options, cache)
                         : from_memory(scope, "key", memory, options);
    TsTensor value = cache ? remembered(scope, "value", ts_dim(x, 0), head_width, options, cache)
                           : from_memory(scope, "value", memory, options);
    TsAttended attended = ts_attend(query, key, value, TS_NONE,
                                    (TsAttend){.keys_seen = cache ? cache->sources_seen : options.memory_seen});
    TsTensor out = ts_linear_with(ts_in(scope, "out"), attended.out,
                                  (TsLinear){.out = ts_shape(width),
                                             .contract = 2,
                                             .without_bias = options.without_bias,
                                             .cut_rows = TS_AXIS_MODEL,
                                             .gain = options.out_gain});
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), out, options.dropout));
}
