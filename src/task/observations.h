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
    TS_OBSERVES_CLASSES = 1, /* one class of C: scores are its probabilities */
    TS_OBSERVES_LABELS = 2,  /* any of C labels, each 0 or 1: scores are probabilities */
    TS_OBSERVES_VALUES = 4,  /* K numbers: scores are the predicted ones */
} TsObserved;

typedef struct TsObservations {
    TsObserved kind;
    int64_t width; /* C or K */
    int64_t count, capacity;
    double *scores;   /* (count, width), owned */
    double *truth;    /* LABELS, VALUES: (count, width), owned */
    int32_t *classes; /* CLASSES: (count), owned */
} TsObservations;

TsObservations ts_observations_create(TsObserved kind, int64_t width);

/* Frees what it owns, and makes it empty. */
void ts_observations_free(TsObservations *observations);

/* Forgets all. */
void ts_observations_clear(TsObservations *observations);

/* Adds one, scores (width) and its class, or truth (width). */
void ts_observations_add_class(TsObservations *observations, const double *scores, int32_t class_index);
void ts_observations_add_values(TsObservations *observations, const double *scores, const double *truth);
