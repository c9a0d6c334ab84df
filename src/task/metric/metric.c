/* SPDX-License-Identifier: Apache-2.0 */
#include "task/metric/metric.h"

#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "task/metric/metric_table.h"

enum {
    CLASSES = TS_OBSERVES_CLASSES,
    LABELS = TS_OBSERVES_LABELS,
    VALUES = TS_OBSERVES_VALUES,
    RANKING = TS_OBSERVES_RANKING,
    CLUSTERS = TS_OBSERVES_CLUSTERS
};

static TsMetricKind kinds[TS_MAX_METRIC_KINDS] = {
    {"accuracy", "the part of all examples (labels) that was predicted right", CLASSES | LABELS, ts_metric_accuracy},
    {"top5", "the part whose class is among the five likeliest", CLASSES, ts_metric_top5},
    {"precision_micro", "true positives of all that were predicted, all classes together", CLASSES | LABELS,
     ts_metric_precision_micro},
    {"precision_macro", "the same of each class, then the mean", CLASSES | LABELS, ts_metric_precision_macro},
    {"recall_micro", "true positives of all that were to be found, all classes together", CLASSES | LABELS,
     ts_metric_recall_micro},
    {"recall_macro", "the same of each class, then the mean", CLASSES | LABELS, ts_metric_recall_macro},
    {"f1_micro", "the harmonic mean of precision and recall, all classes together", CLASSES | LABELS,
     ts_metric_f1_micro},
    {"f1_macro", "the same of each class, then the mean", CLASSES | LABELS, ts_metric_f1_macro},
    {"mcc", "Matthews' correlation of truth and prediction: Gorodkin 2004", CLASSES, ts_metric_mcc},
    {"log_loss", "-log of the probability of what is true", CLASSES | LABELS, ts_metric_log_loss},
    {"auroc", "area under the receiver's curve; of several classes the mean of one against the rest",
     CLASSES | LABELS | RANKING, ts_metric_auroc},
    {"average_precision", "area under precision over recall, by steps; of several classes the mean",
     CLASSES | LABELS | RANKING, ts_metric_average_precision},
    {"calibration_error", "mean gap of confidence and accuracy over 15 bins: Guo et al. 2017", CLASSES,
     ts_metric_calibration_error},
    {"pearson", "linear correlation; of several values the mean", VALUES, ts_metric_pearson},
    {"spearman", "correlation of ranks; of several values the mean", VALUES, ts_metric_spearman},
    {"r2", "1 - squared error over variance; of several values the mean", VALUES, ts_metric_r2},
    {"mae", "mean absolute error", VALUES, ts_metric_mae},
    {"mse", "mean squared error", VALUES, ts_metric_mse},
    {"silhouette", "how much nearer others of its cluster are than those of the next one: Rousseeuw 1987", CLUSTERS,
     ts_metric_silhouette},
    {"adjusted_rand", "pairs that clusters and classes agree on, above chance: Hubert and Arabie 1985", CLUSTERS,
     ts_metric_adjusted_rand},
    {"nmi", "what clusters say of classes, over the mean of their entropies", CLUSTERS, ts_metric_nmi}};

const TsMetricKind *const ts_metric_kinds = kinds;

int ts_metric_kind_count(void)
{
    int count = 0;
    while (count < TS_MAX_METRIC_KINDS && kinds[count].name)
        count++;
    return count;
}

TsStatus ts_metric_add(TsMetricKind kind)
{
    if (ts_metric_find(kind.name))
        return ts_status_error(TS_CODE_INVALID, "there is a metric %s already", kind.name);
    if (ts_metric_kind_count() == TS_MAX_METRIC_KINDS)
        return ts_status_error(TS_CODE_INVALID, "no room for the metric %s: there are %d", kind.name,
                               TS_MAX_METRIC_KINDS);
    kinds[ts_metric_kind_count()] = kind;
    return TS_OK;
}

const TsMetricKind *ts_metric_find(const char *name)
{
    for (int i = 0; i < ts_metric_kind_count(); i++)
        if (strcmp(ts_metric_kinds[i].name, name) == 0)
            return &ts_metric_kinds[i];
    return NULL;
}

static TsStatus unfit(const char *name, TsObserved observed)
{
    TsText fit = {0};
    const char *names[TS_MAX_METRIC_KINDS];
    int count = 0;
    for (int i = 0; i < ts_metric_kind_count(); i++)
        if (ts_metric_kinds[i].observes & observed) {
            ts_text_append(&fit, "%s%s", count ? ", " : "", ts_metric_kinds[i].name);
            names[count++] = ts_metric_kinds[i].name;
        }
    const char *nearest = ts_text_nearest(name, names, (size_t)count);
    TsStatus status =
        count == 0 ? ts_status_error(TS_CODE_INVALID, "this task has no metrics beside its losses: not %s", name)
        : nearest  ? ts_status_error(TS_CODE_INVALID, "no metric %s for this task; did you mean %s?", name, nearest)
                   : ts_status_error(TS_CODE_INVALID, "no metric %s for this task; there are %s", name, fit.data);
    ts_text_free(&fit);
    return status;
}

TsStatus ts_metric_choose(const TsMetricKind **chosen, int *count, TsObserved observed, const char *const *names,
                          int64_t name_count)
{
    *count = 0;
    for (int i = 0; i < ts_metric_kind_count() && name_count == 0; i++)
        if (ts_metric_kinds[i].observes & observed)
            chosen[(*count)++] = &ts_metric_kinds[i];
    for (int64_t i = 0; i < name_count; i++) {
        const TsMetricKind *kind = ts_metric_find(names[i]);
        if (!kind || !(kind->observes & observed))
            return unfit(names[i], observed);
        for (int k = 0; k < *count; k++)
            if (chosen[k] == kind)
                return ts_status_error(TS_CODE_INVALID, "the metric %s stands twice", names[i]);
        chosen[(*count)++] = kind;
    }
    return TS_OK;
}

void ts_scores_add(TsScores *scores, const char *name, TsWeightedScalar scalar)
{
    TS_CHECK(scores->count < TS_MAX_SCORES, "more than %d scores", TS_MAX_SCORES);
    scores->score[scores->count].name = name;
    scores->score[scores->count++].scalar = scalar;
}

void ts_scores_average(TsScores *average, const TsScores *scores, const double *weight, int count)
{
    const TsScores *first = NULL;
    *average = (TsScores){0};
    for (int i = count - 1; i >= 0; i--)
        first = weight[i] > 0 ? &scores[i] : first;
    for (int k = 0; first && k < first->count; k++) {
        TsWeightedScalar mean = {0};
        bool everywhere = true;
        for (int i = 0; i < count; i++) {
            const TsWeightedScalar *one = weight[i] > 0 ? ts_scores_find(&scores[i], first->score[k].name) : NULL;
            everywhere &= one || !(weight[i] > 0);
            mean.value += one ? weight[i] * one->value : 0;
            mean.weight += one ? weight[i] : 0;
        }
        if (everywhere)
            ts_scores_add(average, first->score[k].name, (TsWeightedScalar){mean.value / mean.weight, mean.weight});
    }
}

const TsWeightedScalar *ts_scores_find(const TsScores *scores, const char *name)
{
    for (int i = 0; i < scores->count; i++)
        if (strcmp(scores->score[i].name, name) == 0)
            return &scores->score[i].scalar;
    return NULL;
}
