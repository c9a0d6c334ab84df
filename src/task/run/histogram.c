/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/histogram.h"

#include <math.h>

#include "comm/collectives.h"
#include "task/metric/metric_table.h"

static int bin_of(const TsHistogram *histogram, double value)
{
    double width = (histogram->greatest - histogram->least) / TS_HISTOGRAM_BINS;
    double place = width > 0 ? (value - histogram->least) / width : 0;
    return place < TS_HISTOGRAM_BINS ? (int)place : TS_HISTOGRAM_BINS - 1;
}

TsHistogram ts_histogram(const double *values, int64_t count, int64_t stride, TsGroup *group)
{
    TsHistogram histogram = {0};
    double sums[3] = {0}, ends[2] = {-HUGE_VAL, -HUGE_VAL},
           all[2] = {0}; /* finite ones, others, their sum; -least, greatest */
    for (int64_t i = 0; i < count; i++) {
        double value = values[i * stride];
        bool finite = isfinite(value);
        sums[finite ? 0 : 1]++;
        sums[2] += finite ? value : 0;
        ends[0] = finite ? fmax(ends[0], -value) : ends[0];
        ends[1] = finite ? fmax(ends[1], value) : ends[1];
    }
    ts_metric_sum(sums, 3, group);
    ts_all_reduce(
        group,
        (TsTransfer){
            .out = all, .in = ends, .count_elems = 2, .dtype = TS_F64, .reduction = TS_MAX, .label = "metrics/ends"});
    histogram.count = sums[0];
    histogram.strange = sums[1];
    histogram.mean = sums[2] / sums[0];
    histogram.least = sums[0] > 0 ? -all[0] : (double)NAN;
    histogram.greatest = sums[0] > 0 ? all[1] : (double)NAN;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(values[i * stride]))
            histogram.counts[bin_of(&histogram, values[i * stride])]++;
    ts_metric_sum(histogram.counts, TS_HISTOGRAM_BINS, group);
    return histogram;
}
