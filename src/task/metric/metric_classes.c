/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/memory.h"
#include "task/metric/metric_table.h"

static const double LEAST_PROBABILITY = 1e-15; /* what a probability is clipped to in the log loss */

static const double *scores_of(const TsObservations *observations, int64_t example)
{
    return observations->scores + example * observations->width;
}

/* The likeliest class, the first of equals. */
static int64_t predicted(const TsObservations *observations, int64_t example)
{
    const double *scores = scores_of(observations, example);
    int64_t best = 0;
    for (int64_t c = 1; c < observations->width; c++)
        if (scores[c] > scores[best])
            best = c;
    return best;
}

/* ---- counts of each class ---- */

/* Of class c: [c * 3] true positives, [c * 3 + 1] predicted, [c * 3 + 2] true. Owned by the caller. */
static double *count_classes(const TsObservations *observations, TsGroup *group)
{
    int64_t width = observations->width;
    double *counts = ts_calloc(3 * (size_t)width + 1, sizeof *counts);
    for (int64_t i = 0; i < observations->count; i++) {
        if (observations->kind == TS_OBSERVES_CLASSES) {
            int64_t guess = predicted(observations, i), truth = observations->classes[i];
            counts[3 * guess] += guess == truth;
            counts[3 * guess + 1]++;
            counts[3 * truth + 2]++;
            continue;
        }
        for (int64_t c = 0; c < width; c++) {
            bool guess = observations->scores[i * width + c] > 0.5, truth = observations->truth[i * width + c] > 0.5;
            counts[3 * c] += guess && truth;
            counts[3 * c + 1] += guess;
            counts[3 * c + 2] += truth;
        }
    }
    ts_metric_sum(counts, 3 * width, group);
    return counts;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double precision_of(const double *counts)
{
    return ratio(counts[0], counts[1]);
}

static double recall_of(const double *counts)
{
    return ratio(counts[0], counts[2]);
}

static double f1_of(const double *counts)
{
    return ratio(2 * counts[0], counts[1] + counts[2]);
}

/* How many examples all ranks have together. */
static double examples(const TsObservations *observations, TsGroup *group)
{
    double count = (double)observations->count;
    ts_metric_sum(&count, 1, group);
    return count;
}

static TsWeightedScalar micro(const TsObservations *observations, TsGroup *group, double (*of)(const double *))
{
    double *counts = count_classes(observations, group), all[3] = {0};
    for (int64_t i = 0; i < 3 * observations->width; i++)
        all[i % 3] += counts[i];
    ts_free(counts);
    return ts_metric_scalar(of(all), examples(observations, group));
}

/* Of one class of several, those that neither occur nor were predicted are left out; of labels all count. */
static TsWeightedScalar macro(const TsObservations *observations, TsGroup *group, double (*of)(const double *))
{
    double *counts = count_classes(observations, group), sum = 0, classes = 0;
    for (int64_t c = 0; c < observations->width; c++) {
        bool there = counts[3 * c + 1] > 0 || counts[3 * c + 2] > 0;
        if (there || observations->kind == TS_OBSERVES_LABELS) {
            sum += of(counts + 3 * c);
            classes++;
        }
    }
    ts_free(counts);
    return ts_metric_scalar(sum / classes, examples(observations, group));
}

TS_METRIC(precision_micro)
{
    return micro(observations, group, precision_of);
}

TS_METRIC(precision_macro)
{
    return macro(observations, group, precision_of);
}

TS_METRIC(recall_micro)
{
    return micro(observations, group, recall_of);
}

TS_METRIC(recall_macro)
{
    return macro(observations, group, recall_of);
}

TS_METRIC(f1_micro)
{
    return micro(observations, group, f1_of);
}

TS_METRIC(f1_macro)
{
    return macro(observations, group, f1_of);
}

/* ---- sums over examples ---- */

TS_METRIC(accuracy)
{
    int64_t width = observations->width;
    double sums[2] = {0, (double)observations->count};
    for (int64_t i = 0; i < observations->count; i++) {
        if (observations->kind == TS_OBSERVES_CLASSES) {
            sums[0] += predicted(observations, i) == observations->classes[i];
            continue;
        }
        double right = 0;
        for (int64_t c = 0; c < width; c++)
            right += (observations->scores[i * width + c] > 0.5) == (observations->truth[i * width + c] > 0.5);
        sums[0] += right / (double)width;
    }
    ts_metric_sum(sums, 2, group);
    return ts_metric_scalar(sums[0] / sums[1], sums[1]);
}

TS_METRIC(top5)
{
    enum { TOP = 5 };
    double sums[2] = {0, (double)observations->count};
    for (int64_t i = 0; i < observations->count; i++) {
        const double *scores = scores_of(observations, i);
        int64_t truth = observations->classes[i], before = 0;
        for (int64_t c = 0; c < observations->width; c++)
            before += c < truth ? scores[c] >= scores[truth] : scores[c] > scores[truth];
        sums[0] += before < TOP;
    }
    ts_metric_sum(sums, 2, group);
    return ts_metric_scalar(sums[0] / sums[1], sums[1]);
}

TS_METRIC(log_loss)
{
    int64_t width = observations->width;
    double sums[2] = {0, (double)observations->count};
    for (int64_t i = 0; i < observations->count; i++) {
        const double *scores = scores_of(observations, i);
        if (observations->kind == TS_OBSERVES_CLASSES) {
            sums[0] -= log(fmax(scores[observations->classes[i]], LEAST_PROBABILITY));
            continue;
        }
        double loss = 0;
        for (int64_t c = 0; c < width; c++)
            loss -= log(fmax(observations->truth[i * width + c] > 0.5 ? scores[c] : 1 - scores[c], LEAST_PROBABILITY));
        sums[0] += loss / (double)width;
    }
    ts_metric_sum(sums, 2, group);
    return ts_metric_scalar(sums[0] / sums[1], sums[1]);
}

TS_METRIC(calibration_error)
{
    double bins[3 * TS_CALIBRATION_BINS] = {0}, all = 0, error = 0; /* of each: examples, right ones, confidence */
    for (int64_t i = 0; i < observations->count; i++) {
        int64_t guess = predicted(observations, i);
        double confidence = scores_of(observations, i)[guess];
        double place = ceil(confidence * TS_CALIBRATION_BINS) - 1;           /* (lower, upper] */
        int bin = place > 0 ? (int)fmin(place, TS_CALIBRATION_BINS - 1) : 0; /* also where it is NaN */
        bins[3 * bin]++;
        bins[3 * bin + 1] += guess == observations->classes[i];
        bins[3 * bin + 2] += confidence;
    }
    ts_metric_sum(bins, 3 * TS_CALIBRATION_BINS, group);
    for (int b = 0; b < TS_CALIBRATION_BINS; b++) {
        all += bins[3 * b];
        error += fabs(bins[3 * b + 1] - bins[3 * b + 2]);
    }
    return ts_metric_scalar(error / all, all);
}

/* ---- the confusion matrix ---- */

void ts_confusion_matrix(int64_t *matrix, const TsObservations *observations, TsGroup *group)
{
    int64_t width = observations->width;
    double *counts = ts_calloc((size_t)(width * width) + 1, sizeof *counts);
    for (int64_t i = 0; i < observations->count; i++)
        counts[observations->classes[i] * width + predicted(observations, i)]++;
    ts_metric_sum(counts, width * width, group);
    for (int64_t i = 0; i < width * width; i++)
        matrix[i] = (int64_t)counts[i];
    ts_free(counts);
}

/* (c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2)(s^2 - sum t_k^2)); 0 where truth or prediction is one class alone. */
TS_METRIC(mcc)
{
    double *counts = count_classes(observations, group), right = 0, all = 0, product = 0, guesses = 0, truths = 0;
    for (int64_t c = 0; c < observations->width; c++) {
        const double *count = counts + 3 * c;
        right += count[0];
        all += count[2];
        product += count[1] * count[2];
        guesses += count[1] * count[1];
        truths += count[2] * count[2];
    }
    ts_free(counts);
    double whole = sqrt(all * all - guesses) * sqrt(all * all - truths);
    return ts_metric_scalar(whole > 0 ? (right * all - product) / whole : 0, all);
}
