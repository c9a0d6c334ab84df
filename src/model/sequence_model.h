/* SPDX-License-Identifier: Apache-2.0
 *
 * SequenceModel: an encoder reads a source in both directions, a decoder writes a target: translation, summaries.
 *
 * The encoder's parameters lie under "backbone", where tasks that classify share them; the decoder's under
 * "backbone/decoder", but for the table of tokens, which both share. Columns: sources (B, S) i32 and sources_seen (B,
 * S) bool; tokens (B, T) i32, which begin with `start`; for the loss labels (B, T) i32, negative ones not counted.
 * Predictions are logits (B, T, V). Prompts of decode are sources.
 */
#pragma once

#include "model/model.h"
#include "model/transformer.h"

typedef struct TsSequenceModel {
    TsTransformer encoder; /* not causal */
    TsTransformer decoder; /* causal whatever it says */
    int32_t start;         /* what targets begin with */
    double smoothing;      /* of labels */
} TsSequenceModel;

/* The four methods; `options` is a TsSequenceModel. */
extern const TsModel ts_sequence_model;
