/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/spread.h"

#include <math.h>

#include "base/memory.h"
#include "ckpt/share.h"
#include "comm/collectives.h"

enum { BUCKETS = 30 };

/* Of one array; sums over ranks, but for the range. */
typedef struct Spread {
    double sum, sum_squares;
    double counts[BUCKETS];
} Spread;

typedef struct Range {
    double least, most; /* -least, so that both are maxima, while ranks reduce */
} Range;

static int64_t local_elems(const TsArray *array)
{
    return array->placement.partial ? 0 : ts_array_local_elems(array);
}

static Range range_of(const TsArray *array)
{
    Range range = {-INFINITY, -INFINITY};
    for (int64_t i = 0, count = local_elems(array); i < count; i++) {
        double value = ts_share_value(array, i);
        if (isfinite(value)) {
            range.least = fmax(range.least, -value);
            range.most = fmax(range.most, value);
        }
    }
    return range;
}

/* The part of [least, most] in which a value lies. */
static int bucket_of(double value, Range range)
{
    double width = range.most - range.least;
    int bucket = width > 0 ? (int)(BUCKETS * ((value - range.least) / width)) : 0;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static void count_values(Spread *spread, const TsArray *array, Range range)
{
    for (int64_t i = 0, count = local_elems(array); i < count; i++) {
        double value = ts_share_value(array, i);
        if (!isfinite(value))
            continue;
        spread->sum += value;
        spread->sum_squares += value * value;
        spread->counts[bucket_of(value, range)]++;
    }
}

/* Sums or maxima over all ranks, in place. */
static void reduce(TsGroup *group, void *values, size_t bytes, TsReduction reduction)
{
    ts_all_reduce(group, (TsTransfer){.out = values,
                                      .in = values,
                                      .count_elems = (int64_t)(bytes / sizeof(double)),
                                      .dtype = TS_F64,
                                      .reduction = reduction,
                                      .label = "histograms"});
}

/* Hands on what all ranks found; `held` is how many values they hold together, replicas and all. */
static void give(TsSummaries *summaries, int64_t step, const char *name, const TsArray *array, const Spread *spread,
                 Range range, double held)
{
    double limits[BUCKETS], counts[BUCKETS], count = 0;
    double once = (double)ts_shape_elems(array->shape) / held; /* every value lies on as many ranks */
    for (int b = 0; b < BUCKETS; b++) {
        limits[b] = b + 1 < BUCKETS ? range.least + (b + 1) * (range.most - range.least) / BUCKETS : range.most;
        counts[b] = once * spread->counts[b];
        count += counts[b];
    }
    char *tag = ts_format("histograms/%s", name);
    ts_summaries_histogram(summaries, step, tag,
                           (TsEventHistogram){.least = range.least,
                                              .most = range.most,
                                              .count = count,
                                              .sum = once * spread->sum,
                                              .sum_squares = once * spread->sum_squares,
                                              .buckets = BUCKETS,
                                              .limits = limits,
                                              .counts = counts});
    ts_free(tag);
}

void ts_spread_report(TsSummaries *summaries, TsGroup *group, const TsBatch *arrays, int64_t step)
{
    int count = ts_batch_count(arrays);
    size_t many = (size_t)count;
    Range *range = ts_calloc(many, sizeof *range);
    Spread *spread = ts_calloc(many, sizeof *spread);
    double *held = ts_calloc(many, sizeof *held);
    for (int i = 0; i < count; i++) {
        range[i] = range_of(ts_batch_array(arrays, i));
        held[i] = (double)local_elems(ts_batch_array(arrays, i));
    }
    reduce(group, range, many * sizeof *range, TS_MAX);
    reduce(group, held, many * sizeof *held, TS_SUM);
    for (int i = 0; i < count; i++) {
        range[i].least = -range[i].least;
        count_values(&spread[i], ts_batch_array(arrays, i), range[i]);
    }
    reduce(group, spread, many * sizeof *spread, TS_SUM);
    for (int i = 0; i < count; i++)
        if (held[i] > 0 && range[i].least <= range[i].most)
            give(summaries, step, ts_batch_name(arrays, i), ts_batch_array(arrays, i), &spread[i], range[i], held[i]);
    ts_free(range);
    ts_free(spread);
    ts_free(held);
}
