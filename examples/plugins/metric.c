/* SPDX-License-Identifier: Apache-2.0
 *
 * A metric: `metrics: [within_one]`, the part of numbers that were predicted within 1 of the truth.
 */
#include <math.h>
#include <tessera/tessera.h>

/* Sums over the examples of all ranks. Collective on group. */
static TsWeightedScalar within_one(const TsObservations *observations, TsGroup *group)
{
    double sums[2] = {0, 0};
    for (int64_t i = 0; i < observations->count * observations->width; i++) {
        sums[0] += fabs(observations->scores[i] - observations->truth[i]) <= 1;
        sums[1] += 1;
    }
    ts_metric_sum(sums, 2, group);
    return ts_metric_scalar(sums[0] / sums[1], sums[1]);
}

TS_PLUGIN
{
    return ts_metric_add(
        (TsMetricKind){"within_one", "the part of values predicted within 1", TS_OBSERVES_VALUES, within_one});
}
