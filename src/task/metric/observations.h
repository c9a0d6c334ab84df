/* SPDX-License-Identifier: Apache-2.0
 *
 * Observations: what a task's metrics are computed from: for each example its truth, and what was predicted.
 *
 * Each rank keeps those of the rows that it evaluated; metrics (metric.h) compute over the ranks of a group together,
 * exactly, not as a mean of what each rank finds.
 */
#pragma once

#include <stdint.h>

typedef enum TsObserved {
    TS_OBSERVES_NOTHING = 0,
    TS_OBSERVES_CLASSES = 1,   /* one class of C: scores are its probabilities */
    TS_OBSERVES_LABELS = 2,    /* any of C labels, each 0 or 1: scores are probabilities */
    TS_OBSERVES_VALUES = 4,    /* K numbers: scores are the predicted ones */
    TS_OBSERVES_RANKING = 8,   /* what is 0 or 1, and a score that is higher where it is likelier 1 */
    TS_OBSERVES_CLUSTERS = 16, /* a cluster, and a class where that is known: scores are features */
} TsObserved;

typedef struct TsObservations {
    TsObserved kind;
    int64_t width; /* C or K */
    int64_t count, capacity;
    double *scores;    /* (count, width), owned */
    double *truth;     /* LABELS, VALUES, RANKING: (count, width), owned */
    int32_t *classes;  /* CLASSES, CLUSTERS: (count), owned */
    int32_t *clusters; /* CLUSTERS: (count), owned */
} TsObservations;

TsObservations ts_observations_create(TsObserved kind, int64_t width);

/* Frees what it owns, and makes it empty. */
void ts_observations_free(TsObservations *observations);

/* Forgets all. */
void ts_observations_clear(TsObservations *observations);

/* Adds one, scores (width) and its class, or truth (width). */
void ts_observations_add_class(TsObservations *observations, const double *scores, int32_t class_index);
void ts_observations_add_values(TsObservations *observations, const double *scores, const double *truth);

/* Adds one of CLUSTERS: features (width), whose width is known only now, its cluster, and its class or -1. */
void ts_observations_add_cluster(TsObservations *observations, const double *features, int64_t width, int32_t cluster,
                                 int32_t class_index);
