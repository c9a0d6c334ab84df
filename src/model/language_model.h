/* SPDX-License-Identifier: Apache-2.0
 *
 * LanguageModel: predicts each next token of a sequence.
 *
 * Columns: tokens (B, T) i32, and for the loss labels (B, T) i32, where the token `ignored` (or any negative one) is
 * not counted; where there is bytes (B) f32, how much text a row's labels stand for, evaluation gives bits a byte too.
 * Predictions are logits (B, T, V).
 */
#pragma once

#include "model/model.h"
#include "model/distillation.h"

typedef struct TsLanguageModel {
    TsTransformer backbone;
    int32_t ignored;                    /* a label below 0 that is not counted */
    double smoothing;                   /* of labels */
    double z_loss;                      /* z * log^2 Z is added to the loss */
    const TsDistillation *distillation; /* what it learns from a teacher, while training; borrowed; NULL: nothing */
} TsLanguageModel;

/* The four methods; `options` is a TsLanguageModel. */
extern const TsModel ts_language_model;

/* Logits (B, T, V) of tokens (B, T), with a cache or NULL. */
TsTensor ts_language_model_logits(TsScope scope, const TsLanguageModel *model, TsTensor tokens, const TsCache *cache);

/* Logits (B, V) of the token after the last one. */
TsTensor ts_language_model_next(TsScope scope, const TsLanguageModel *model, TsTensor tokens, const TsCache *cache);
