/* SPDX-License-Identifier: Apache-2.0
 *
 * Metric: a number that says how good predictions are, computed from the observations of all ranks together.
 *
 * All there are stand in one table, ts_metric_kinds. What needs an order of all scores (AUROC, average precision,
 * Spearman) sorts them over the ranks: exact, with no rank holding all. Losses are not here: they add up while batches
 * run (metrics.h).
 */
#pragma once

#include "comm/group.h"
#include "model/model.h"
#include "task/metric/observations.h"

enum { TS_MAX_METRICS = 32, TS_MAX_SCORES = 64, TS_CALIBRATION_BINS = 15 };

typedef struct TsMetricKind {
    const char *name;
    const char *help;
    uint32_t observes; /* a set of TsObserved: what it can be computed from */

    /* Over the observations of all ranks of group; the same on all. Where it means nothing (no examples; a single class
     * for AUROC) the weight is 0 and the value NaN. Collective on group. */
    TsWeightedScalar (*compute)(const TsObservations *observations, TsGroup *group);
} TsMetricKind;

enum { TS_MAX_METRIC_KINDS = 64 };
extern const TsMetricKind *const ts_metric_kinds; /* (ts_metric_kind_count) */
int ts_metric_kind_count(void);

/* Adds one; its strings must live as long as the process. An error where one of that name is there. Not collective; the
 * same on all ranks, before tasks are made. */
TS_MUST_USE TsStatus ts_metric_add(TsMetricKind kind);

/* The kind of that name, or NULL. */
const TsMetricKind *ts_metric_find(const char *name);

/* Fills in chosen (up to TS_MAX_METRICS) and count: those of `names` (name_count), or where that is none all that can
 * be computed from `observed`. A name that there is not, or that does not fit, is an error that says which do. Not
 * collective; the same on all ranks. */
TS_MUST_USE TsStatus ts_metric_choose(const TsMetricKind **chosen, int *count, TsObserved observed,
                                      const char *const *names, int64_t name_count);

/* Numbers with names: what an evaluation gives. */
typedef struct TsScores {
    int count;
    struct {
        const char *name; /* borrowed for the life of the process */
        TsWeightedScalar scalar;
    } score[TS_MAX_SCORES];
} TsScores;

/* Appends one; beyond TS_MAX_SCORES is a bug. */
void ts_scores_add(TsScores *scores, const char *name, TsWeightedScalar scalar);

#define TS_AVERAGE "average" /* in the place of a task's name: the mean over tasks */

/* The means over tasks of each score that all of them have, in the order of the first: scores (count), those of weight
 * 0 left out. */
void ts_scores_average(TsScores *average, const TsScores *scores, const double *weight, int count);

/* The score of that name, or NULL. */
const TsWeightedScalar *ts_scores_find(const TsScores *scores, const char *name);

/* matrix (width, width): how often class i was predicted as j, over all ranks of group. Collective on group. */
void ts_confusion_matrix(int64_t *matrix, const TsObservations *observations, TsGroup *group);
