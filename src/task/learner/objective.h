/* SPDX-License-Identifier: Apache-2.0
 *
 * Objective: the one number that a task's step differentiates, made from its losses; and the noise that its parameters
 * have while it does.
 *
 * Of losses by name L = the sum of loss_k sum / (loss_k weight + 1e-8), as Pax's MultiLoss has it; without names the
 * first loss alone. The weight of each is what it counts (real targets), or all tokens of a batch, or its sequences.
 */
#pragma once

#include "base/config.h"
#include "base/pattern.h"
#include "model/model.h"

typedef enum TsNormalization { TS_NORMALIZE_TARGETS, TS_NORMALIZE_TOKENS, TS_NORMALIZE_SEQUENCES } TsNormalization;

typedef struct TsObjectiveConfig {
    TsList losses; /* of const char *; empty: the first */
    TsNormalization normalize;
} TsObjectiveConfig;

/* Variational noise: theta' = theta + scale N(0, 1), for what learns; the gradient at theta' updates theta. */
typedef struct TsVnConfig {
    double scale;
    const char *regex; /* of paths */
    int64_t start_step;
} TsVnConfig;

extern const TsConfigTable ts_objective_table, ts_vn_table;

/* What is differentiated; a loss that there is not is an error of the Graph. Not collective. */
TsTensor ts_objective_trace(const TsObjectiveConfig *config, const TsLosses *losses, const TsColumns *columns);

/* The pattern of `vn`, for TsVariation; an error where it cannot be read or is found in no parameter that learns. Owned
 * by the caller: ts_pattern_free. Not collective. */
TS_MUST_USE TsStatus ts_objective_noise(TsPattern **pattern, const TsVnConfig *vn, const TsParameters *parameters);
