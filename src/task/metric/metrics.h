/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: weighted scalars that add up on each rank, and are reduced over ranks only when somebody asks.
 */
#pragma once

#include "comm/group.h"
#include "model/model.h"

typedef struct TsMetrics TsMetrics;

/* Of scalars with these names, in this order, the same on all ranks. Names are borrowed. Owned by the caller. */
TsMetrics *ts_metrics_create(const char *const *names, int count);

/* Sets *metrics to NULL; NULL is fine. */
void ts_metrics_free(TsMetrics **metrics);

/* Adds this rank's part of scalar `index`: the sum of value * weight, and the sum of weight. Not collective. */
void ts_metrics_add(TsMetrics *metrics, int index, double sum, double weight);

/* The scalars over all ranks since the last reset, into scalars (count), in f64, summed in a fixed order; a weight of 0
 * gives value 0. Ranks of `group` that hold the same part must not both be in it. Collective on group. */
void ts_metrics_reduce(TsWeightedScalar *scalars, const TsMetrics *metrics, TsGroup *group);

/* Forgets what was added. Not collective. */
void ts_metrics_reset(TsMetrics *metrics);

/* A step begins: what was added before belongs to others. Not collective. */
void ts_metrics_begin_step(TsMetrics *metrics);

/* This rank's part of scalar `index` of this step alone: the sum of value * weight, and the sum of weight. */
typedef struct TsMetricsPart {
    double sum, weight;
} TsMetricsPart;
TsMetricsPart ts_metrics_of_step(const TsMetrics *metrics, int index);

int ts_metrics_count(const TsMetrics *metrics);
const char *ts_metrics_name(const TsMetrics *metrics, int index);
