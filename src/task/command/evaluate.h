/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluate: what `tessera eval` does with a run's newest checkpoint.
 */
#pragma once

#include "task/job.h"

typedef struct TsEvalOptions {
    const char *task; /* NULL: all that have such data */
    const char *part; /* "validation", "test" or "train" */
    bool baselines;   /* also what trivial guesses reach */
    bool confusion;   /* also the confusion matrix of classes */
    bool histograms;  /* also how scores, or values and their errors, are spread */
} TsEvalOptions;

/* What tasks reached. */
typedef struct TsEvaluation {
    int count;
    struct {
        char *task; /* owned */
        TsScores scores;
    } * tasks; /* (count), owned */
} TsEvaluation;

/* Evaluates, and prints nothing but the matrices and histograms that are asked for. Collective; the same status on all
 * ranks. ts_evaluation_free follows also where it fails. */
TS_MUST_USE TsStatus ts_evaluation_run(TsEvaluation *evaluation, TsGroup *group, const TsConfig *config,
                                       TsEvalOptions options);

void ts_evaluation_free(TsEvaluation *evaluation);

/* Prints, on rank 0, a line for each score: TASK, name, value, weight, between tabs. Collective; the same status on all
 * ranks. */
TS_MUST_USE TsStatus ts_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options);
