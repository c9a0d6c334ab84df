/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers: functions from Tensors to Tensors that own parameters under their scope's path.
 *
 * B batch, T sequence, C width, H heads, D head width, V vocabulary. Dims that "..." stands for may be any. Not
 * collective. Errors are kept in the Graph (graph.h).
 */
#pragma once

#include "model/scope.h"
#include "tensor/ops.h"

/* x . kernel + bias over the last `contract` dims of x, which become the dims of `out`. kernel (contracted..., out...),
 * normal with standard deviation 1/sqrt(contracted elements) * gain; bias (out...), zero. linear.c */
typedef struct TsLinear {
    TsShape out;
    int contract; /* 0 counts as 1 */
    double gain;  /* 0 counts as 1 */
    bool without_bias;
    bool zero;          /* the kernel begins as zeros */
    TsAxis cut_columns; /* the axis that cuts the first dim of `out`, or TS_AXIS_NONE */
    TsAxis cut_rows;    /* the axis that cuts the first contracted dim, or TS_AXIS_NONE */
} TsLinear;
TsTensor ts_linear_with(TsScope scope, TsTensor x, TsLinear options);

/* x (..., C) -> (..., width): kernel (C, width), whole on every rank. */
TsTensor ts_linear(TsScope scope, TsTensor x, int64_t width);

/* The table (rows, width) of an embedding, normal with standard deviation `scale`; its rows cut along model. */
TsTensor ts_embedding_table(TsScope scope, int64_t rows, int64_t width, double scale);

/* Its rows: ids (...) i32 -> (..., width). embedding.c */
TsTensor ts_embedding(TsScope scope, TsTensor ids, int64_t rows, int64_t width, double scale);

/* (x - mean) / sqrt(variance + epsilon) * scale + bias over the last dim: Ba, Kiros and Hinton 2016. epsilon 0 counts
 * as 1e-5. norm.c */
TsTensor ts_layer_norm(TsScope scope, TsTensor x, double epsilon);

/* x / sqrt(mean(x^2) + epsilon) * scale over the last dim: Zhang and Sennrich 2019. epsilon 0 counts as 1e-6. */
TsTensor ts_rms_norm(TsScope scope, TsTensor x, double epsilon);

/* Keys and values of earlier positions, kept between runs of a Program as its state, for decoding. */
typedef struct TsCache {
    int64_t positions;     /* that there is room for */
    TsTensor first;        /* i64 scalar: the position of the first token of this run */
    TsTensor ids;          /* i32: the positions of all its tokens: (T): first, first + 1, ...; (B, T): rows differ */
    TsTensor seen;         /* bool (B, positions), or left out: false hides a position: padding in front of prompts */
    int64_t sources;       /* of an encoder-decoder: how long sources are, S */
    TsTensor sources_seen; /* bool (B, S) */
    TsPlacement placement; /* of the batch dim, 0 */
} TsCache;

/* Self-attention: out(attend(query(x), key(x), value(x))). x (B, T, C) -> (B, T, C). Kernels (C, H, D) and (H, D, C),
 * so that shards of them fall on heads: heads are cut along model. With a cache (or NULL), keys and values are also
 * those of earlier runs, in states of shape (B, positions, H, D). Vaswani et al. 2017; with fewer heads of keys and
 * values, Hkv, each for a group of G of queries, Ainslie et al. 2023: kernels of queries are (C, Hkv, G, D) then, and
 * (Hkv, G, D, C), so that shards fall on groups. attention.c */
typedef struct TsAttention {
    int64_t heads;           /* divides C */
    int64_t key_value_heads; /* divides heads; 0: as many */
    bool causal;
    int64_t window;     /* of the keys up to its own position a query sees so many; 0: all */
    bool rotary;        /* positions turn queries and keys: Su et al. 2021 */
    double rotary_base; /* 0: 10000 */
    TsRotaryScaling rotary_scaling;
    bool alibi; /* scores fall with the distance: Press et al. 2022 */
    bool without_bias;
    TsTensor keys_seen; /* bool (B, T), or left out: false hides a key */
    TsTensor segments;  /* i32 (B, T), or left out: only equals see one another */
    TsTensor bias;      /* f32 (H, T, T), with a cache (H, T, positions), or left out: added to scores */
    double dropout;     /* on what is added to the residual */
    double out_gain;    /* of the output kernel, see TsLinear */
} TsAttention;
TsTensor ts_attention(TsScope scope, TsTensor x, TsAttention options, const TsCache *cache);

/* What queries see of something else than their own sequence: x (B, T, C), memory (B, S, C) -> (B, T, C), with as many
 * heads of keys as of queries. With a cache, keys and values of the memory are what ts_cross_attention_remember put
 * there in an earlier run, and `memory` is left out. attention.c */
typedef struct TsCrossAttention {
    int64_t heads; /* divides C */
    bool without_bias;
    TsTensor memory_seen; /* bool (B, S), or left out: false hides a position of the memory */
    double dropout, out_gain;
} TsCrossAttention;
TsTensor ts_cross_attention(TsScope scope, TsTensor x, TsTensor memory, TsCrossAttention options, const TsCache *cache);
void ts_cross_attention_remember(TsScope scope, TsTensor memory, TsCrossAttention options, const TsCache *cache);

/* What T5 adds to scores (Raffel et al. 2020): a learned number for each head and for each of 32 classes of distances
 * from query to key: single ones near, ever wider ones up to 128, then all. Where causal, keys behind the query have
 * none of their own. (H, T, T), or with a cache (H, T, positions); f32, f64 for f64. relative.c */
TsTensor ts_relative_bias(TsScope scope, int64_t heads, bool causal, int64_t length, const TsCache *cache);

/* down(activation(up(x))), or down(gated(gate(x), up(x))). x (..., C) -> (..., C); the hidden dim is cut along model.
 * feed_forward.c */
typedef struct TsFeedForward {
    int64_t hidden_width;
    TsTensor (*activation)(TsTensor x); /* one of these two */
    TsTensor (*gated)(TsTensor gate, TsTensor x);
    bool without_bias;
    double dropout;
    double out_gain;
} TsFeedForward;
TsTensor ts_feed_forward(TsScope scope, TsTensor x, TsFeedForward options);

/* x + up(relu(down(norm(x)))): a residual bottleneck, which begins as nothing. x (B, T, C) -> (B, T, C); the inner dim,
 * `width`, is cut along model. Houlsby et al. 2019. residual.c */
TsTensor ts_residual_adapter(TsScope scope, TsTensor x, int64_t width);

/* A mixture of experts: each token goes to the `top_k` experts that a router scores best, and gets the sum of what they
 * give, by their probabilities (Shazeer et al. 2017; Lepikhin et al. 2020). x (B, T, C) -> (B, T, C). An expert has
 * room for capacity * top_k * T / experts tokens of a sequence; what is beyond that is dropped, which depends on
 * nothing but the sequence. With a cache nothing is dropped. Experts are cut along expert, their hidden width along
 * model, and have no biases. moe.c */
typedef struct TsMoe {
    int64_t experts, top_k;
    double capacity; /* 0: room for all */
    int64_t hidden_width;
    TsTensor (*activation)(TsTensor x);
    TsTensor (*gated)(TsTensor gate, TsTensor x); /* NULL: activation(up(x)) */
    TsTensor seen; /* bool (B, T), or left out: what is false is padding, which no expert gets and which gets nothing */
    double dropout;
    double out_gain;
} TsMoe;
TsTensor ts_moe(TsScope scope, TsTensor x, TsMoe options, const TsCache *cache);

/* Zeroes elements with probability `rate` while training: the same elements on every mesh. dropout.c */
TsTensor ts_dropout(TsScope scope, TsTensor x, double rate);
