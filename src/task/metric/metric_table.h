/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions behind the table of metrics (metric.c), and what they share. All are TsMetricKind.compute.
 */
#pragma once

#include "task/metric/metric.h"

#define TS_METRIC(name) TsWeightedScalar ts_metric_##name(const TsObservations *observations, TsGroup *group)

/* metric_classes.c: from counts, all of them sums over examples. Where a class was never predicted its precision is 0,
 * where it never occurs its recall is 0, and where neither its F1 is 0; the mean is over the classes that were
 * predicted or occur: as scikit-learn has it. */
TS_METRIC(accuracy);
TS_METRIC(top5);
TS_METRIC(precision_micro);
TS_METRIC(precision_macro);
TS_METRIC(recall_micro);
TS_METRIC(recall_macro);
TS_METRIC(f1_micro);
TS_METRIC(f1_macro);
TS_METRIC(mcc);
TS_METRIC(log_loss);
TS_METRIC(calibration_error);

/* metric_order.c: from the order of all scores. */
TS_METRIC(auroc);
TS_METRIC(average_precision);
TS_METRIC(spearman);

/* metric_values.c: from moments, merged as Chan, Golub and LeVeque (1979) do. */
TS_METRIC(pearson);
TS_METRIC(r2);
TS_METRIC(mae);
TS_METRIC(mse);

/* metric_clusters.c: of clusters, by distances of features, or beside classes that are known; of examples without a
 * class the last two mean nothing. */
TS_METRIC(silhouette);
TS_METRIC(adjusted_rand);
TS_METRIC(nmi);

/* Moments of pairs (x, y) that merge without loss. */
typedef struct TsMoments {
    double count, mean_x, mean_y, square_x, square_y, product; /* squares and products of deviations from the means */
} TsMoments;

/* Of x[i * stride], y[i * stride], i < count. Two passes. */
TsMoments ts_moments(const double *x, const double *y, int64_t count, int64_t stride);

/* Those of all ranks together, merged in the order of ranks. Collective on group. */
TsMoments ts_moments_reduce(TsMoments moments, TsGroup *group);

/* Pearson's correlation, within [-1, 1]; NaN where x or y does not vary. */
double ts_moments_correlation(TsMoments moments);

/* (value, weight), or (NaN, 0) where there is nothing to say. */
TsWeightedScalar ts_metric_scalar(double value, double weight);

/* sums[0, count) over all ranks of group, in f64, in a fixed order. Collective on group. */
void ts_metric_sum(double *sums, int64_t count, TsGroup *group);
