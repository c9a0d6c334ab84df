/* SPDX-License-Identifier: Apache-2.0
 *
 * Transformer: one backbone that is GPT-2 (Radford et al. 2019) by its defaults, and Llama, BERT, RoBERTa or ESM-2 by
 * its options.
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
    TS_ACTIVATION_SILU,
    TS_ACTIVATION_SWIGLU, /* gated: silu(gate) * up */
    TS_ACTIVATION_GEGLU   /* gelu(gate) * up */
} TsActivation;
typedef enum TsNorm { TS_NORM_LAYER, TS_NORM_RMS } TsNorm;
typedef enum TsPositions {
    TS_POSITIONS_LEARNED,
    TS_POSITIONS_SINUSOIDAL, /* Vaswani et al. 2017; sines in the first half of the width, cosines in the second */
    TS_POSITIONS_ROTARY,
    TS_POSITIONS_ALIBI,
    TS_POSITIONS_RELATIVE, /* T5's bias of scores, learned by distance, the same in all layers */
    TS_POSITIONS_NONE
} TsPositions;

/* What a task that has a backbone runs: baseline.h. */
typedef enum TsTrunk { TS_TRUNK_TRANSFORMER, TS_TRUNK_ONEHOT, TS_TRUNK_CONV1D, TS_TRUNK_USER } TsTrunk;
typedef struct TsTrunkKind TsTrunkKind;

typedef struct TsTransformer {
    int64_t layers, heads, width;
    int64_t key_value_heads; /* TS_AUTO or 0: as many as heads */
    int64_t hidden;          /* TS_AUTO: 4 * width */
    int64_t context;         /* the longest sequence */
    int64_t vocab;           /* TS_AUTO: that of the tokenizer, filled in before tracing */
    int64_t experts;         /* in place of feed-forward, in every experts_every-th layer; 0: none */
    int64_t experts_top_k, experts_every;
    double capacity;     /* of an expert, in parts of an even load; 0: room for all */
    double load_balance; /* what is added to the loss, times how uneven the load is */
    double dropout;
    TsActivation activation;
    TsNorm norm;
    TsPositions positions;
    double rotary_base; /* 0: 10000 */
    TsRotaryScaling rotary_scaling;
    int64_t window;      /* of the keys up to its own position a query sees so many; 0: all */
    bool post_norm;      /* norms stand behind the sums, and one behind the embeddings, as in BERT */
    double norm_epsilon; /* 0: 1e-5, or 1e-6 with RMS */
    bool biases;         /* linear layers have them */
    int64_t token_types; /* rows of an embedding of which every token takes one, by its type; 0: there is none */
    int64_t mask_token; /* ESM-2: embeddings of this token are zero, and the others larger for it; TS_AUTO or 0: none */
    bool
        head_transform; /* BERT: in front of the logits a linear layer, the activation and a norm; behind them a bias */
    bool tied;          /* logits come from the table of the embedding */
    bool causal;        /* a token sees none that comes after it */
    TsTrunk trunk;      /* not a key: another one has some of these options */
    int64_t kernel;     /* of conv1d */
    const TsTrunkKind *user; /* not a key: of TS_TRUNK_USER */
} TsTransformer;

/* Another trunk. */
struct TsTrunkKind {
    TsTrunk trunk;

    /* Of TS_TRUNK_USER: hidden states (B, T, options->width) of tokens (B, T) i32; seen (B, T) bool, or TS_NONE. */
    TsTensor (*apply)(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen);
};

/* The keys of `backbone: {type: transformer, ...}`. */
extern const TsConfigTable ts_transformer_table;

/* Hidden states (B, T, C) of tokens (B, T) i32, after the last norm. Tokens stand at positions 0..T-1, or with a cache
 * (else NULL) at cache->ids. `seen` (B, T) bool, or TS_NONE: false hides a token from the others: padding. */
TsTensor ts_transformer(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen,
                        const TsCache *cache);

/* The same of tokens that are of `types` (B, T) i32, rows of the embedding of types: of a pair of texts the first or
 * the second. Left out (TS_NONE), or where there is no such embedding, all are of the first. */
TsTensor ts_transformer_of_types(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor types,
                                 TsTensor seen);

/* The same where rows hold several documents, which see nothing of one another: of each token its document, and where
 * it stands in that. */
typedef struct TsPackedRows {
    TsTensor segments, positions; /* i32 (B, T); left out: a row is one document */
} TsPackedRows;
TsTensor ts_transformer_packed(TsScope scope, const TsTransformer *options, TsTensor tokens, TsPackedRows rows,
                               TsTensor seen);

/* The decoder of an encoder-decoder: every block also attends to a memory, (B, S, C), between its two parts. */
typedef struct TsCrossMemory {
    TsTensor hidden; /* (B, S, C); left out with a cache, which remembers it */
    TsTensor seen;   /* bool (B, S) */
    TsScope tables;  /* the scope whose table of tokens it shares */
} TsCrossMemory;

/* Hidden states (B, T, C) of tokens that are causal whatever the options say. */
TsTensor ts_transformer_decoder(TsScope scope, const TsTransformer *options, TsTensor tokens, TsCrossMemory memory,
                                const TsCache *cache);

/* Puts what the decoder's blocks take from a memory (B, S, C) into the states of a cache. `scope` is the decoder's. */
void ts_transformer_remember(TsScope scope, const TsTransformer *options, TsTensor memory, const TsCache *cache);

/* Scores of every token of the vocabulary: hidden (..., C) -> (..., V). `scope` is that of ts_transformer. */
TsTensor ts_transformer_logits(TsScope scope, const TsTransformer *options, TsTensor hidden);
