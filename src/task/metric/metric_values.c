/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "task/metric/metric_table.h"

TsWeightedScalar ts_metric_scalar(double value, double weight)
{
    bool means = weight > 0 && !isnan(value);
    return (TsWeightedScalar){means ? value : NAN, means ? weight : 0};
}

void ts_metric_sum(double *sums, int64_t count, TsGroup *group)
{
    double *mine = ts_calloc((size_t)count + 1, sizeof *mine);
    for (int64_t i = 0; i < count; i++)
        mine[i] = sums[i];
    ts_all_reduce(group, (TsTransfer){.out = sums,
                                      .in = mine,
                                      .count_elems = count,
                                      .dtype = TS_F64,
                                      .algorithm = TS_ALGORITHM_TREE,
                                      .label = "metrics/sum"});
    ts_free(mine);
}

TsMoments ts_moments(const double *x, const double *y, int64_t count, int64_t stride)
{
    TsMoments moments = {.count = (double)count};
    for (int64_t i = 0; i < count; i++) {
        moments.mean_x += x[i * stride];
        moments.mean_y += y[i * stride];
    }
    if (count) {
        moments.mean_x /= (double)count;
        moments.mean_y /= (double)count;
    }
    for (int64_t i = 0; i < count; i++) {
        double dx = x[i * stride] - moments.mean_x, dy = y[i * stride] - moments.mean_y;
        moments.square_x += dx * dx;
        moments.square_y += dy * dy;
        moments.product += dx * dy;
    }
    return moments;
}

static TsMoments merge(TsMoments a, TsMoments b)
{
    if (a.count == 0 || b.count == 0)
        return a.count == 0 ? b : a;
    double count = a.count + b.count, dx = b.mean_x - a.mean_x, dy = b.mean_y - a.mean_y;
    double factor = a.count * b.count / count;
    return (TsMoments){.count = count,
                       .mean_x = a.mean_x + dx * b.count / count,
                       .mean_y = a.mean_y + dy * b.count / count,
                       .square_x = a.square_x + b.square_x + dx * dx * factor,
                       .square_y = a.square_y + b.square_y + dy * dy * factor,
                       .product = a.product + b.product + dx * dy * factor};
}

TsMoments ts_moments_reduce(TsMoments moments, TsGroup *group)
{
    enum { NUMBERS = sizeof(TsMoments) / sizeof(double) };
    int size = ts_group_size(group);
    int64_t *first = ts_calloc((size_t)size + 1, sizeof *first);
    TsMoments *all = ts_calloc((size_t)size, sizeof *all), whole = {0};
    for (int r = 0; r <= size; r++)
        first[r] = (int64_t)r * NUMBERS;
    ts_all_gather(
        group,
        (TsTransfer){.out = all, .in = &moments, .first_elem = first, .dtype = TS_F64, .label = "metrics/moments"});
    for (int r = 0; r < size; r++)
        whole = merge(whole, all[r]);
    ts_free(first);
    ts_free(all);
    return whole;
}

double ts_moments_correlation(TsMoments moments)
{
    double deviations = sqrt(moments.square_x) * sqrt(moments.square_y);
    return deviations > 0 ? fmax(-1, fmin(1, moments.product / deviations)) : NAN;
}

/* The mean over values of `of` each one's moments, x the truth and y the prediction. */
static TsWeightedScalar mean_over_values(const TsObservations *observations, TsGroup *group, double (*of)(TsMoments))
{
    double sum = 0, count = 0;
    for (int64_t k = 0; k < observations->width; k++) {
        TsMoments moments = ts_moments_reduce(
            ts_moments(observations->truth + k, observations->scores + k, observations->count, observations->width),
            group);
        sum += of(moments);
        count = moments.count;
    }
    return ts_metric_scalar(sum / (double)observations->width, count);
}

TS_METRIC(pearson)
{
    return mean_over_values(observations, group, ts_moments_correlation);
}

/* The mean over examples and values of |error| (power 1) or error^2 (power 2). */
static TsWeightedScalar mean_error(const TsObservations *observations, TsGroup *group, int power)
{
    double sums[2] = {0, (double)observations->count};
    for (int64_t i = 0; i < observations->count * observations->width; i++) {
        double error = fabs(observations->scores[i] - observations->truth[i]);
        sums[0] += power == 1 ? error : error * error;
    }
    ts_metric_sum(sums, 2, group);
    return ts_metric_scalar(sums[0] / (sums[1] * (double)observations->width), sums[1]);
}

TS_METRIC(mae)
{
    return mean_error(observations, group, 1);
}

TS_METRIC(mse)
{
    return mean_error(observations, group, 2);
}

TS_METRIC(r2)
{
    int64_t width = observations->width;
    double *errors = ts_calloc((size_t)width, sizeof *errors), sum = 0, count = 0;
    for (int64_t i = 0; i < observations->count * width; i++)
        errors[i % width] += pow(observations->scores[i] - observations->truth[i], 2);
    ts_metric_sum(errors, width, group);
    for (int64_t k = 0; k < width; k++) {
        TsMoments moments = ts_moments_reduce(
            ts_moments(observations->truth + k, observations->scores + k, observations->count, width), group);
        count = moments.count;
        sum += moments.square_x > 0 ? 1 - errors[k] / moments.square_x : NAN;
    }
    ts_free(errors);
    return ts_metric_scalar(sum / (double)width, count);
}
