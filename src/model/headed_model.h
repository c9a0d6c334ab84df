/* SPDX-License-Identifier: Apache-2.0
 *
 * HeadedModel: a trunk, an adapter of the task's own, and an objective.
 *
 * Parameters lie under "backbone" and "tasks/NAME/adapter". Columns: tokens (B, T) i32, seen (B, T) bool, and of
 * pairs types (B, T) i32; for the loss
 *
 *   classes  labels (B) or (B, T) i32, those below 0 not counted; weights (B) f32
 *   labels   labels (B, K) f32, 0 or 1; weights (B) f32
 *   values   labels (B, K) f32; weights (B) f32
 *   tokens   labels (B, T) i32: which token stood there: the trunk's own logits, no adapter
 *   logits   there is none
 *   nothing  likewise
 *
 * Predictions are the adapter's outputs, of `tokens` and `logits` logits (B, T, V), of `nothing` hidden states where
 * there is no adapter.
 */
#pragma once

#include "model/adapter.h"
#include "model/model.h"
#include "model/transformer.h"

typedef enum TsObjective {
    TS_OBJECTIVE_CLASSES,
    TS_OBJECTIVE_LABELS,
    TS_OBJECTIVE_VALUES,
    TS_OBJECTIVE_TOKENS,
    TS_OBJECTIVE_LOGITS,
    TS_OBJECTIVE_NOTHING
} TsObjective;

typedef enum TsErrorKind { TS_ERROR_SQUARED, TS_ERROR_ABSOLUTE, TS_ERROR_HUBER } TsErrorKind;

typedef struct TsHeadedModel {
    TsTransformer backbone;
    const char *name; /* of the task; borrowed */
    TsChoice adapter; /* of ts_adapters; variant NULL: none */
    TsObjective objective;
    int64_t outputs;   /* K */
    double smoothing;  /* of classes */
    TsErrorKind error; /* of values */
    double huber;      /* where a Huber error becomes linear */
    int32_t mask;      /* the token that hides one, of `tokens` */
} TsHeadedModel;

/* The four methods; `options` is a TsHeadedModel. For the last two see headed_decode.h. */
extern const TsModel ts_headed_model;
