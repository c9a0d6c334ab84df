/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "model/layers.h"

/* Places for tokens of a sequence that each expert has. */
static int64_t capacity_of(TsMoe options, int64_t length, const TsCache *cache)
{
    double even = (double)(options.top_k * length) / (double)options.experts;
    int64_t capacity = (int64_t)ceil(even * options.capacity - 1e-9);
    if (cache || options.capacity == 0 || capacity > length) /* a token goes to an expert once */
        return length;
    return capacity < 1 ? 1 : capacity;
}

/* (E, rows, columns); experts are cut along expert, and `cut` of the other dims along model. */
static TsTensor expert_kernel(TsScope scope, int64_t experts, int64_t rows, int64_t columns, int cut, double gain)
{
    TsPlacement placement = ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_EXPERT), cut, TS_AXIS_MODEL);
    TsDeclare declare = {.shape = ts_shape(experts, rows, columns),
                         .initializer = {TS_INIT_NORMAL, gain / sqrt((double)rows)},
                         .placement = placement,
                         .decays = true};
    return ts_leave(scope, ts_declare(scope, "kernel", declare));
}

/* Tokens of a sequence that are routed: (1), or (B) of which each is 1 at least. `mask` is 1 for them, or left out. */
static TsTensor routed_tokens(TsTensor probabilities, TsTensor mask)
{
    TsDtype dtype = ts_dtype_of(probabilities);
    if (!mask.graph)
        return ts_constant(probabilities.graph, dtype, ts_shape(1), (double)ts_dim(probabilities, 1));
    return ts_maximum(ts_sum(mask, 1 << 1 | 1 << 2, false), ts_constant(mask.graph, dtype, ts_shape(1), 1));
}

/* Says aside, of each sequence (B): what part of its choices was dropped, and E * sum over experts of the part of
 * choices times the mean probability, which is 1 where both are even (Fedus et al. 2021). probabilities (B, T, E), mask
 * (B, T, 1) or left out. */
static void note(TsAsides *asides, TsRouted routed, TsTensor probabilities, TsTensor mask, int64_t top_k)
{
    TsDtype dtype = ts_dtype_of(probabilities);
    TsTensor tokens = routed_tokens(probabilities, mask);
    TsTensor choices = ts_scale(tokens, (double)top_k);
    TsTensor each = ts_sum(mask.graph ? ts_mul(probabilities, mask) : probabilities, 1 << 1, false); /* (B, E) */
    TsTensor both = ts_sum(ts_mul(ts_cast(routed.counts, dtype), each), 1 << 1, false);
    TsTensor balance = ts_scale(ts_div(both, ts_mul(choices, tokens)), (double)ts_dim(routed.counts, 1));
    TsTensor dropped = ts_div(ts_cast(routed.dropped, dtype), choices);
    asides->balance = asides->layers ? ts_add(asides->balance, balance) : balance;
    asides->dropped = asides->layers ? ts_add(asides->dropped, dropped) : dropped;
    asides->layers++;
}

TsTensor ts_moe(TsScope scope, TsTensor x, TsMoe options, const TsCache *cache)
{
    if (options.top_k < 1 || options.top_k > options.experts)
        return ts_leave(scope, ts_graph_error(scope.graph, "the %lld best of %lld experts", (long long)options.top_k,
                                              (long long)options.experts));
    int64_t T = ts_dim(x, 1), C = ts_dim(x, 2), F = options.hidden_width, E = options.experts;
    int64_t capacity = capacity_of(options, T, cache);
    TsDtype dtype = ts_dtype_of(x), real = dtype == TS_F64 ? TS_F64 : TS_F32;
    TsTensor scores = ts_linear_with(ts_in(scope, "router"), x, (TsLinear){.out = ts_shape(E), .without_bias = true});
    TsTensor probabilities = ts_softmax(ts_cast(scores, real)); /* (B, T, E) */
    TsOrdered best = ts_top_k(probabilities, options.top_k);    /* (B, T, K) */
    TsTensor chosen = best.indices, mask = TS_NONE;
    if (options.seen.graph) { /* padding goes nowhere, and takes nobody's place */
        TsTensor seen = ts_reshape(options.seen, ts_shape(ts_dim(x, 0), T, 1));
        chosen = ts_where(seen, chosen, ts_constant(scope.graph, TS_I32, ts_scalar, -1));
        mask =
            ts_where(seen, ts_constant(scope.graph, real, ts_scalar, 1), ts_constant(scope.graph, real, ts_scalar, 0));
    }
    TsRouted routed = ts_assign_slots(chosen, E, capacity);
    TsTensor weights = best.values;
    if (options.top_k > 1)
        weights = ts_div(weights, ts_sum(weights, 1 << 2, true));
    if (scope.asides)
        note(scope.asides, routed, probabilities, mask, options.top_k);

    TsTensor h = ts_dispatch(x, routed.slots, TS_NONE, E, capacity); /* (E, B, P, C) */
    TsTensor up = ts_expert_dot(h, expert_kernel(ts_in(scope, "up"), E, C, F, 2, 1));
    if (options.gated)
        up = options.gated(ts_expert_dot(h, expert_kernel(ts_in(scope, "gate"), E, C, F, 2, 1)), up);
    else
        up = options.activation(up);
    double gain = options.out_gain ? options.out_gain : 1;
    TsTensor down = ts_expert_dot(up, expert_kernel(ts_in(scope, "down"), E, F, C, 1, gain));
    x = ts_collect(down, routed.slots, ts_cast(weights, dtype));
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), x, options.dropout));
}
