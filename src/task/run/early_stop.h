/* SPDX-License-Identifier: Apache-2.0
 *
 * Early stop: a run ends when a metric of its evaluations has not become better for so many of them: that of one task,
 * TASK/METRIC; of the average over tasks, average/METRIC; or that of every task that has it, each by itself,
 * all/METRIC.
 *
 * What it knows is in checkpoints, so that a run that is gone on with counts on. The same on all ranks, as scores are.
 */
#pragma once

#include <jansson.h>

#include "base/config.h"

typedef enum TsBetter { TS_BETTER_LOWER, TS_BETTER_HIGHER } TsBetter;

extern const char *const ts_better_words[];

typedef struct TsEarlyStopConfig {
    const char *by; /* TASK/METRIC; TASK may be "average" or "all" */
    TsBetter better;
    int64_t patience;    /* evaluations */
    double least_change; /* that counts as better */
    int64_t after;       /* steps that are never counted */
} TsEarlyStopConfig;

/* The keys of `early_stop:`. */
extern const TsConfigTable ts_early_stop_table;

/* One metric that is watched. */
typedef struct TsWatchedMetric {
    char *path; /* owned */
    double best;
    int64_t best_step;
    int64_t noted_step; /* of the evaluation that was noted last */
    int64_t worse;      /* evaluations since the best */
} TsWatchedMetric;

typedef struct TsEarlyStop {
    const TsEarlyStopConfig *config; /* borrowed; NULL: the run never ends early */
    TsWatchedMetric *watched;        /* (count), owned: what evaluations gave so far */
    int count;
} TsEarlyStop;

/* Whether a metric of that path decides. */
bool ts_early_stop_watches(const TsEarlyStopConfig *config, const char *path);

/* Takes a score of an evaluation after `step`; others than what is watched are left alone. Not collective. */
void ts_early_stop_note(TsEarlyStop *stop, int64_t step, const char *path, double value);

/* Whether the run is to end. */
bool ts_early_stop_now(const TsEarlyStop *stop);

/* To and from the state of a checkpoint. */
void ts_early_stop_pack(const TsEarlyStop *stop, json_t *state);
void ts_early_stop_unpack(TsEarlyStop *stop, const json_t *state);

/* Frees what it owns. */
void ts_early_stop_free(TsEarlyStop *stop);
