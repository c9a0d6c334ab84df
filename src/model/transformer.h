/* SPDX-License-Identifier: Apache-2.0
 *
 * Transformer: a pre-norm decoder with learned positions, the backbone of GPT-2 (Radford et al. 2019) by its defaults.
 *
 * The same options and the same path give the same parameters wherever it is traced: to train, evaluate or decode. B
 * batch, T sequence, C width, V vocabulary.
 */
#pragma once

#include "base/config.h"
#include "model/layers.h"

typedef enum TsActivation {
    TS_ACTIVATION_GELU,
    TS_ACTIVATION_GELU_TANH,
    TS_ACTIVATION_RELU,
    TS_ACTIVATION_SILU
} TsActivation;
typedef enum TsNorm { TS_NORM_LAYER, TS_NORM_RMS } TsNorm;

typedef struct TsTransformer {
    int64_t layers, heads, width;
    int64_t hidden;  /* TS_AUTO: 4 * width */
    int64_t context; /* the longest sequence */
    int64_t vocab;   /* TS_AUTO: that of the tokenizer, filled in before tracing */
    double dropout;
    TsActivation activation;
    TsNorm norm;
    bool tied;   /* logits come from the table of the embedding */
    bool causal; /* a token sees none that comes after it */
} TsTransformer;

/* The keys of `backbone: {type: transformer, ...}`. */
extern const TsConfigTable ts_transformer_table;

/* Hidden states (B, T, C) of tokens (B, T) i32, after the last norm. Tokens stand at positions 0..T-1, or with a cache
 * (else NULL) at cache->ids. `seen` (B, T) bool, or TS_NONE: false hides a token from the others: padding. */
TsTensor ts_transformer(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen,
                        const TsCache *cache);

/* Scores of every token of the vocabulary: hidden (..., C) -> (..., V). `scope` is that of ts_transformer. */
TsTensor ts_transformer_logits(TsScope scope, const TsTransformer *options, TsTensor hidden);
