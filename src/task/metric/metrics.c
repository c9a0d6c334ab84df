/* SPDX-License-Identifier: Apache-2.0 */
#include "task/metric/metrics.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"

struct TsMetrics {
    int count;
    const char **names; /* (count) */
    double *parts;      /* (count, 2): sum of value * weight, sum of weight */
    double *step;       /* (count, 2): the same, of this step */
};

TsMetrics *ts_metrics_create(const char *const *names, int count)
{
    TsMetrics *metrics = ts_calloc(1, sizeof *metrics);
    metrics->count = count;
    metrics->names = ts_calloc((size_t)count, sizeof *metrics->names);
    metrics->parts = ts_calloc(2 * (size_t)count, sizeof *metrics->parts);
    metrics->step = ts_calloc(2 * (size_t)count, sizeof *metrics->step);
    if (count)
        memcpy(metrics->names, names, (size_t)count * sizeof *names);
    return metrics;
}

void ts_metrics_free(TsMetrics **metrics)
{
    if (!*metrics)
        return;
    ts_free(*(void **)&(*metrics)->names);
    ts_free((*metrics)->parts);
    ts_free((*metrics)->step);
    ts_free(*metrics);
    *metrics = NULL;
}

void ts_metrics_add(TsMetrics *metrics, int index, double sum, double weight)
{
    TS_CHECK(index >= 0 && index < metrics->count, "metric %d of %d", index, metrics->count);
    metrics->parts[2 * index] += sum;
    metrics->parts[2 * index + 1] += weight;
    metrics->step[2 * index] += sum;
    metrics->step[2 * index + 1] += weight;
}

void ts_metrics_reduce(TsWeightedScalar *scalars, const TsMetrics *metrics, TsGroup *group)
{
    double *whole = ts_calloc(2 * (size_t)metrics->count, sizeof *whole);
    ts_all_reduce(group, (TsTransfer){.out = whole,
                                      .in = metrics->parts,
                                      .count_elems = 2 * metrics->count,
                                      .dtype = TS_F64,
                                      .algorithm = TS_ALGORITHM_TREE,
                                      .label = "metrics"});
    for (int i = 0; i < metrics->count; i++) {
        double weight = whole[2 * i + 1];
        scalars[i] = (TsWeightedScalar){weight ? whole[2 * i] / weight : 0, weight};
    }
    ts_free(whole);
}

void ts_metrics_reset(TsMetrics *metrics)
{
    memset(metrics->parts, 0, 2 * (size_t)metrics->count * sizeof *metrics->parts);
}

void ts_metrics_begin_step(TsMetrics *metrics)
{
    memset(metrics->step, 0, 2 * (size_t)metrics->count * sizeof *metrics->step);
}

TsMetricsPart ts_metrics_of_step(const TsMetrics *metrics, int index)
{
    TS_CHECK(index >= 0 && index < metrics->count, "metric %d of %d", index, metrics->count);
    return (TsMetricsPart){metrics->step[2 * index], metrics->step[2 * index + 1]};
}

int ts_metrics_count(const TsMetrics *metrics)
{
    return metrics->count;
}

const char *ts_metrics_name(const TsMetrics *metrics, int index)
{
    return metrics->names[index];
}
