/* SPDX-License-Identifier: Apache-2.0
 *
 * Relative positions as T5 has them. The class of a distance is how many thresholds it reaches, and the bias of a pair
 * that of its distance, looked up among all distances there are.
 */
#include <math.h>

#include "model/layers.h"

enum { CLASSES = 32, FARTHEST = 128 };

/* The class of a distance n >= 0 in one direction, of `classes`: T5's formula, in f32 as there. */
static int class_of(int n, int classes)
{
    int exact = classes / 2;
    if (n < exact)
        return n;
    float part = logf((float)n / (float)exact) / logf((float)FARTHEST / (float)exact);
    int wide = exact + (int)(part * (float)(classes - exact));
    return wide < classes - 1 ? wide : classes - 1;
}

/* 0, 1, 2, ...: (count) */
static TsTensor numbers(TsGraph *graph, TsDtype dtype, int64_t count)
{
    return ts_shift(ts_running_sum(ts_constant(graph, dtype, ts_shape(count), 1), 0, false), -1);
}

/* How many thresholds of classes a distance has reached: x (n) -> (n) */
static TsTensor classify(TsTensor x, int classes)
{
    TsDtype dtype = ts_dtype_of(x);
    TsTensor one = ts_constant(x.graph, dtype, ts_scalar, 1), zero = ts_constant(x.graph, dtype, ts_scalar, 0);
    TsTensor reached = ts_scale(x, 0);
    for (int n = 1, last = 0; n <= 2 * FARTHEST; n++) {
        int of = class_of(n, classes);
        if (of == last)
            continue;
        TsTensor threshold = ts_constant(x.graph, dtype, ts_scalar, n - 0.5);
        reached = ts_add(reached, ts_where(ts_greater(x, threshold), ts_scale(one, of - last), zero));
        last = of;
    }
    return reached;
}

/* Classes of the distances key - query, from -(span - 1) to span - 1: (2 span - 1) i32 */
static TsTensor classes_of_distances(TsGraph *graph, TsDtype dtype, int64_t span, bool causal)
{
    TsTensor distance = ts_shift(numbers(graph, dtype, 2 * span - 1), 1 - (double)span);
    TsTensor zero = ts_constant(graph, dtype, ts_scalar, 0);
    TsTensor before = ts_maximum(ts_scale(distance, -1), zero), after = ts_maximum(distance, zero);
    if (causal)
        return ts_cast(classify(before, CLASSES), TS_I32);
    TsTensor half = ts_constant(graph, dtype, ts_scalar, CLASSES / 2);
    TsTensor side = ts_where(ts_greater(distance, zero), half, zero);
    return ts_cast(ts_add(side, classify(ts_add(before, after), CLASSES / 2)), TS_I32);
}

TsTensor ts_relative_bias(TsScope scope, int64_t heads, bool causal, int64_t length, const TsCache *cache)
{
    static const double SCALE = 0.02;
    static const int heads_first[] = {2, 0, 1};
    TsDtype dtype = scope.dtype == TS_F64 ? TS_F64 : TS_F32;
    int64_t keys = cache ? cache->positions : length;
    TsTensor table = ts_declare(scope, "table",
                                (TsDeclare){.shape = ts_shape(CLASSES, heads),
                                            .initializer = {TS_INIT_NORMAL, SCALE},
                                            .placement = ts_shard(ts_replicated, 1, TS_AXIS_MODEL),
                                            .decays = true});
    TsTensor of_distance =
        ts_take(ts_cast(table, dtype), classes_of_distances(scope.graph, dtype, keys, causal)); /* (2 keys - 1, H) */
    TsTensor query = numbers(scope.graph, dtype, length), key = numbers(scope.graph, dtype, keys);
    if (cache)
        query = ts_add(query, ts_cast(cache->first, dtype));
    TsTensor distance = ts_sub(ts_reshape(key, ts_shape(1, keys)), ts_reshape(query, ts_shape(length, 1)));
    TsTensor place = ts_cast(ts_shift(distance, (double)keys - 1), TS_I32);
    return ts_leave(scope, ts_transpose(ts_take(of_distance, place), heads_first));
}
