/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of order, each from how many scores stand below a score and how many beside it, among those of all ranks.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "task/metric/metric_table.h"
#include "task/metric/rank_order.h"

/* Whether example i is positive for class c. */
static bool is_positive(const TsObservations *observations, int64_t i, int64_t c)
{
    return observations->kind == TS_OBSERVES_CLASSES ? observations->classes[i] == c
                                                     : observations->truth[i * observations->width + c] > 0.5;
}

/* (sum of the ranks of positives - P (P + 1) / 2) / (P N), ties at their mean rank: Mann and Whitney's U. */
static double auroc_of(const TsObservations *observations, int64_t c, TsGroup *group)
{
    int64_t count = observations->count;
    TsStanding *standing = ts_calloc((size_t)count + 1, sizeof *standing);
    ts_rank_order(standing, observations->scores + c, count, observations->width, group);
    double sums[3] = {0}; /* ranks of positives, positives, negatives */
    for (int64_t i = 0; i < count; i++) {
        bool positive = is_positive(observations, i, c);
        if (positive)
            sums[0] += (double)standing[i].smaller + ((double)standing[i].equal + 1) / 2;
        sums[positive ? 1 : 2]++;
    }
    ts_free(standing);
    ts_metric_sum(sums, 3, group);
    return (sums[0] - sums[1] * (sums[1] + 1) / 2) / (sums[1] * sums[2]); /* 0 / 0 is NaN: a single class */
}

/* The mean over positives of the precision at their score. */
static double average_precision_of(const TsObservations *observations, int64_t c, TsGroup *group)
{
    int64_t count = observations->count, positives = 0;
    double *scores = ts_calloc((size_t)count + 1, sizeof *scores);
    TsStanding *all = ts_calloc((size_t)count + 1, sizeof *all), *among = ts_calloc((size_t)count + 1, sizeof *among);
    ts_rank_order(all, observations->scores + c, count, observations->width, group);
    for (int64_t i = 0; i < count; i++)
        if (is_positive(observations, i, c)) {
            all[positives] = all[i]; /* those of positives move to the front */
            scores[positives++] = observations->scores[i * observations->width + c];
        }
    ts_rank_order(among, scores, positives, 1, group);
    double totals[2] = {(double)count, (double)positives}, sum = 0;
    ts_metric_sum(totals, 2, group);
    for (int64_t i = 0; i < positives; i++)
        sum += (totals[1] - (double)among[i].smaller) / (totals[0] - (double)all[i].smaller);
    ts_metric_sum(&sum, 1, group);
    ts_free(scores);
    ts_free(all);
    ts_free(among);
    return sum / totals[1];
}

/* Whether all scores of all ranks have a place in an order: a net that has diverged gives NaN. */
static bool have_order(const TsObservations *observations, TsGroup *group)
{
    double strange = 0;
    for (int64_t i = 0; i < observations->count * observations->width; i++)
        strange += isnan(observations->scores[i]);
    ts_metric_sum(&strange, 1, group);
    return strange == 0;
}

/* Of two classes, the second one's; of more classes or labels, the mean of each against the rest. */
static TsWeightedScalar over_classes(const TsObservations *observations, TsGroup *group,
                                     double (*of)(const TsObservations *, int64_t, TsGroup *))
{
    double count = (double)observations->count, sum = 0;
    bool binary = observations->kind == TS_OBSERVES_CLASSES && observations->width == 2;
    ts_metric_sum(&count, 1, group);
    if (!have_order(observations, group))
        return ts_metric_scalar((double)NAN, count);
    for (int64_t c = binary; c < observations->width; c++)
        sum += of(observations, c, group);
    return ts_metric_scalar(sum / (double)(observations->width - binary), count);
}

TS_METRIC(auroc)
{
    return over_classes(observations, group, auroc_of);
}

TS_METRIC(average_precision)
{
    return over_classes(observations, group, average_precision_of);
}

/* The mean ranks of one column; owned by the caller. */
static double *mean_ranks(const double *values, const TsObservations *observations, TsGroup *group)
{
    TsStanding *standing = ts_calloc((size_t)observations->count + 1, sizeof *standing);
    double *ranks = ts_calloc((size_t)observations->count + 1, sizeof *ranks);
    ts_rank_order(standing, values, observations->count, observations->width, group);
    for (int64_t i = 0; i < observations->count; i++)
        ranks[i] = (double)standing[i].smaller + ((double)standing[i].equal + 1) / 2;
    ts_free(standing);
    return ranks;
}

TS_METRIC(spearman)
{
    double sum = 0, count = 0;
    if (!have_order(observations, group))
        return ts_metric_scalar((double)NAN, 0);
    for (int64_t k = 0; k < observations->width; k++) {
        double *truth = mean_ranks(observations->truth + k, observations, group);
        double *guess = mean_ranks(observations->scores + k, observations, group);
        TsMoments moments = ts_moments_reduce(ts_moments(truth, guess, observations->count, 1), group);
        sum += ts_moments_correlation(moments);
        count = moments.count;
        ts_free(truth);
        ts_free(guess);
    }
    return ts_metric_scalar(sum / (double)observations->width, count);
}
