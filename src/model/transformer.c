/* SPDX-License-Identifier: Apache-2.0 */
#include "model/transformer.h"

#include <math.h>

static const char *const activation_words[] = {"gelu", "gelu_tanh", "relu", "silu", NULL};
static const char *const norm_words[] = {"layer", "rms", NULL};

static TsStatus check(const void *value)
{
    const TsTransformer *options = value;
    if (options->width % options->heads)
        return ts_status_error(TS_CODE_INVALID, "%lld heads do not divide the width %lld", (long long)options->heads,
                               (long long)options->width);
    return TS_OK;
}

static const TsKey keys[] = {
    TS_KEY_INT(TsTransformer, layers, "blocks of attention and feed-forward", .fallback = "6",
               .range = TS_BETWEEN(1, 4096)),
    TS_KEY_INT(TsTransformer, heads, "of attention; divides width", .fallback = "6", .range = TS_BETWEEN(1, 65536)),
    TS_KEY_INT(TsTransformer, width, "of hidden states", .fallback = "384", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_INT(TsTransformer, hidden, "width inside feed-forward; auto is 4 times width", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, 1 << 24)),
    TS_KEY_INT(TsTransformer, context, "the longest sequence", .fallback = "256", .range = TS_BETWEEN(1, 1 << 24),
               .unit = "tokens"),
    TS_KEY_INT(TsTransformer, vocab, "tokens there are; auto is what the tokenizer has", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, INT32_MAX)),
    TS_KEY_REAL(TsTransformer, dropout, "of embeddings and of what blocks add", .fallback = "0",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_ENUM(TsTransformer, activation, activation_words, "inside feed-forward", .fallback = "gelu"),
    TS_KEY_ENUM(TsTransformer, norm, norm_words, "in front of each part of a block", .fallback = "layer"),
    TS_KEY_BOOL(TsTransformer, tied, "logits come from the table of the embedding", .fallback = "true"),
    TS_KEY_BOOL(TsTransformer, causal, "a token sees none that comes after it; false: it sees all", .fallback = "true"),
    TS_KEYS_END};

const TsConfigTable ts_transformer_table = {"transformer",
                                            "Pre-norm blocks: GPT-2 by its defaults, an encoder where not causal.",
                                            sizeof(TsTransformer), keys, check};

/* Embeddings are small beside what blocks add: GPT-2's standard deviation. */
static const double EMBEDDING_SCALE = 0.02;

static TsTensor norm(TsScope scope, const TsTransformer *options, TsTensor x)
{
    return options->norm == TS_NORM_RMS ? ts_rms_norm(scope, x) : ts_layer_norm(scope, x);
}

/* token + position: tokens (B, T) -> (B, T, C) */
static TsTensor embed(TsScope scope, const TsTransformer *options, TsTensor tokens, const TsCache *cache)
{
    int64_t T = ts_dim(tokens, 1);
    if (T > options->context)
        return ts_graph_error(scope.graph, "a sequence of %lld tokens is longer than the context of %lld", (long long)T,
                              (long long)options->context);
    TsTensor x = ts_embedding(ts_in(scope, "tokens"), tokens, options->vocab, options->width, EMBEDDING_SCALE);
    TsScope positions = ts_in(scope, "positions");
    TsTensor table = ts_leave(positions, ts_declare(positions, "table",
                                                    (TsDeclare){.shape = ts_shape(options->context, options->width),
                                                                .initializer = {TS_INIT_NORMAL, EMBEDDING_SCALE},
                                                                .decays = true}));
    x = ts_add(x, cache ? ts_take(table, cache->ids) : ts_slice(table, 0, 0, T));
    return ts_dropout(ts_in(scope, "dropout"), x, options->dropout);
}

/* x + attention(norm(x)), then x + feed_forward(norm(x)). x (B, T, C) -> (B, T, C) */
static TsTensor block(TsScope scope, const TsTransformer *options, TsTensor x, TsTensor seen, const TsCache *cache)
{
    static TsTensor (*const activation[])(TsTensor) = {[TS_ACTIVATION_GELU] = ts_gelu,
                                                       [TS_ACTIVATION_GELU_TANH] = ts_gelu_tanh,
                                                       [TS_ACTIVATION_RELU] = ts_relu,
                                                       [TS_ACTIVATION_SILU] = ts_silu};
    double gain = 1 / sqrt(2 * (double)options->layers); /* so that the sum over blocks keeps its size */
    int64_t hidden = options->hidden == TS_AUTO ? 4 * options->width : options->hidden;

    TsTensor h = norm(ts_in(scope, "attention_norm"), options, x);
    h = ts_attention(ts_in(scope, "attention"), h,
                     (TsAttention){.heads = options->heads,
                                   .causal = options->causal,
                                   .keys_seen = seen,
                                   .dropout = options->dropout,
                                   .out_gain = gain},
                     cache);
    x = ts_between_blocks(scope, ts_add(x, h));

    h = norm(ts_in(scope, "feed_forward_norm"), options, x);
    h = ts_feed_forward(ts_in(scope, "feed_forward"), h,
                        (TsFeedForward){.hidden_width = hidden,
                                        .activation = activation[options->activation],
                                        .dropout = options->dropout,
                                        .out_gain = gain});
    return ts_leave(scope, ts_between_blocks(scope, ts_add(x, h)));
}

TsTensor ts_transformer(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen,
                        const TsCache *cache)
{
    TsTensor x = ts_between_blocks(scope, embed(scope, options, tokens, cache));
    for (int64_t layer = 0; layer < options->layers; layer++)
        x = block(ts_in_numbered(scope, "layer", layer), options, x, seen, cache);
    return ts_leave(scope, norm(ts_in(scope, "norm"), options, x));
}

TsTensor ts_transformer_logits(TsScope scope, const TsTransformer *options, TsTensor hidden)
{
    if (!options->tied)
        return ts_leave(scope, ts_linear_with(ts_in(scope, "logits"), hidden,
                                              (TsLinear){.out = ts_shape(options->vocab),
                                                         .without_bias = true,
                                                         .cut_columns = TS_AXIS_MODEL}));
    TsTensor table = ts_embedding_table(ts_in(scope, "tokens"), options->vocab, options->width, EMBEDDING_SCALE);
    return ts_leave(scope, ts_dot(hidden, table, (TsDot){.transpose_b = true}));
}
