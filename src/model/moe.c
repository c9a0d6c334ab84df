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

/* E * sum over experts of the part of choices times the mean probability: 1 where both are even (Fedus et al. 2021), of
 * each sequence. counts (B, E) i32, probabilities (B, T, E) -> (B) */
static TsTensor balance_of(TsTensor counts, TsTensor probabilities, int64_t choices)
{
    TsTensor part = ts_scale(ts_cast(counts, ts_dtype_of(probabilities)), 1 / (double)choices);
    TsTensor mean = ts_mean(probabilities, 1 << 1, false); /* (B, E) */
    return ts_scale(ts_sum(ts_mul(part, mean), 1 << 1, false), (double)ts_dim(counts, 1));
}

static void note(TsAsides *asides, TsRouted routed, TsTensor probabilities, int64_t choices)
{
    TsTensor balance = balance_of(routed.counts, probabilities, choices);
    TsTensor dropped = ts_scale(ts_cast(routed.dropped, ts_dtype_of(probabilities)), 1 / (double)choices);
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
    TsRouted routed = ts_assign_slots(best.indices, E, capacity);
    TsTensor weights = best.values;
    if (options.top_k > 1)
        weights = ts_div(weights, ts_sum(weights, 1 << 2, true));
    if (scope.asides)
        note(scope.asides, routed, probabilities, T * options.top_k);

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
