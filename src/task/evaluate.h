/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluate and predict: what `tessera eval` and `tessera predict` do with a run's newest checkpoint.
 */
#pragma once

#include "task/job.h"

typedef struct TsEvalOptions {
    const char *task; /* NULL: all that have such data */
    const char *part; /* "validation", "test" or "train" */
    bool baselines;   /* also what trivial guesses reach */
    bool confusion;   /* also the confusion matrix of classes */
} TsEvalOptions;

/* Prints, on rank 0, a line for each score: TASK, name, value, weight, between tabs. Collective; the same status on all
 * ranks. */
TS_MUST_USE TsStatus ts_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options);

typedef struct TsPredictOptions {
    const char *task; /* NULL: the only one */
    const char *part;
    const char *out; /* a file; .jsonl gives JSON lines, anything else TSV; NULL: standard output, JSON lines */
} TsPredictOptions;

/* Writes one row an example, in the order of the data, each once, whatever the ranks. Collective; the same status on
 * all ranks. */
TS_MUST_USE TsStatus ts_predict(TsGroup *group, const TsConfig *config, TsPredictOptions options);
