/* SPDX-License-Identifier: Apache-2.0
 *
 * Predict: what `tessera predict` does with a run's newest checkpoint.
 */
#pragma once

#include "task/job.h"

typedef struct TsPredictOptions {
    const char *task; /* NULL: the only one */
    const char *part;
    const char *out; /* a file, its form by its name (data/table.h); NULL: standard output, JSON lines */
    TsList files;    /* of paths: examples without labels, in place of a part of the config's. Empty: none */
} TsPredictOptions;

/* Writes one row an example, in the order of the data, each once, whatever the ranks. Collective; the same status on
 * all ranks. */
TS_MUST_USE TsStatus ts_predict(TsGroup *group, const TsConfig *config, TsPredictOptions options);
