/* SPDX-License-Identifier: Apache-2.0 */
#include "model/transformer.h"

#include <math.h>

#include "model/baseline.h"

static const char *const activation_words[] = {"gelu", "gelu_tanh", "relu", "silu", "swiglu", "geglu", NULL};
static const char *const norm_words[] = {"layer", "rms", NULL};
static const char *const position_words[] = {"learned", "sinusoidal", "rotary", "alibi", "relative", "none", NULL};

static TsStatus check(const void *value)
{
    const TsTransformer *options = value;
    if (options->width % options->heads)
        return ts_status_error(TS_CODE_INVALID, "%lld heads do not divide the width %lld", (long long)options->heads,
                               (long long)options->width);
    if (options->key_value_heads > 0 && options->heads % options->key_value_heads)
        return ts_status_error(TS_CODE_INVALID, "%lld heads of keys and values do not divide the %lld of queries",
                               (long long)options->key_value_heads, (long long)options->heads);
    if (options->positions == TS_POSITIONS_ROTARY && options->width / options->heads % 2)
        return ts_status_error(TS_CODE_INVALID, "rotary positions turn pairs, and a head has %lld columns",
                               (long long)(options->width / options->heads));
    if (options->experts && options->experts_top_k > options->experts)
        return ts_status_error(TS_CODE_INVALID, "experts_top_k: %lld of %lld experts",
                               (long long)options->experts_top_k, (long long)options->experts);
    return TS_OK;
}

static TsStatus check_scaling(const void *value)
{
    const TsRotaryScaling *scaling = value;
    return scaling->high == 0 || (scaling->high > scaling->low && scaling->original > 0)
               ? TS_OK
               : ts_status_error(TS_CODE_INVALID, "high: expected more than low, and original above 0");
}

static const TsKey rotary_scaling_keys[] = {
    TS_KEY_REAL(TsRotaryScaling, factor, "how many times as long; 1 is none", .fallback = "1", .range = TS_AT_LEAST(1)),
    TS_KEY_REAL(TsRotaryScaling, low, "only pairs of which fewer than low to high waves fit into original positions",
                .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsRotaryScaling, high, "between low and high it fades, as in Llama 3.1; 0: all pairs", .fallback = "0",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsRotaryScaling, original, "the context that the model was first trained with", .fallback = "0",
                .range = TS_AT_LEAST(0)),
    TS_KEYS_END};
static const TsConfigTable rotary_scaling_table = {"rotary_scaling", "Wavelengths of rotary positions that are longer.",
                                                   sizeof(TsRotaryScaling), rotary_scaling_keys, check_scaling};

static const TsKey keys[] = {
    TS_KEY_INT(TsTransformer, layers, "blocks of attention and feed-forward", .fallback = "6",
               .range = TS_BETWEEN(1, 4096)),
    TS_KEY_INT(TsTransformer, heads, "of attention; divides width", .fallback = "6", .range = TS_BETWEEN(1, 65536)),
    TS_KEY_INT(TsTransformer, key_value_heads, "heads of keys and values, each for several of queries; auto is heads",
               .fallback = "auto", .takes_auto = true, .range = TS_BETWEEN(1, 65536)),
    TS_KEY_INT(TsTransformer, width, "of hidden states", .fallback = "384", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_INT(TsTransformer, hidden, "width inside feed-forward; auto is 4 times width", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, 1 << 24)),
    TS_KEY_INT(TsTransformer, context, "the longest sequence", .fallback = "256", .range = TS_BETWEEN(1, 1 << 24),
               .unit = "tokens"),
    TS_KEY_INT(TsTransformer, vocab, "tokens there are; auto is what the tokenizer has", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, INT32_MAX)),
    TS_KEY_INT(TsTransformer, experts, "in place of feed-forward, cut along mesh.expert; 0 is none", .fallback = "0",
               .range = TS_BETWEEN(0, 65536)),
    TS_KEY_INT(TsTransformer, experts_top_k, "experts that a token goes to", .fallback = "2",
               .range = TS_BETWEEN(1, 1024)),
    TS_KEY_INT(TsTransformer, experts_every, "every so many layers one has experts", .fallback = "1",
               .range = TS_BETWEEN(1, 4096)),
    TS_KEY_REAL(
        TsTransformer, capacity,
        "tokens of a sequence that an expert has room for, in parts of an even load; the others are dropped; 0 is "
        "room for all",
        .fallback = "1.25", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsTransformer, load_balance, "the loss grows by this times how uneven the load of experts is",
                .fallback = "0.01", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsTransformer, dropout, "of embeddings and of what blocks add", .fallback = "0",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_ENUM(TsTransformer, activation, activation_words, "inside feed-forward; swiglu and geglu are gated",
                .fallback = "gelu"),
    TS_KEY_ENUM(TsTransformer, norm, norm_words, "in front of each part of a block", .fallback = "layer"),
    TS_KEY_REAL(TsTransformer, norm_epsilon, "added to variances; 0 is 1e-5 for layer and 1e-6 for rms",
                .fallback = "0", .range = TS_FROM_TO(0, 1)),
    TS_KEY_BOOL(TsTransformer, post_norm, "norms stand behind the sums and the embeddings, as in BERT",
                .fallback = "false"),
    TS_KEY_ENUM(TsTransformer, positions, position_words, "how tokens know where they stand", .fallback = "learned"),
    TS_KEY_REAL(TsTransformer, rotary_base, "of the wavelengths of rotary positions", .fallback = "10000",
                .range = TS_FROM_TO(1, 1e12)),
    TS_KEY_STRUCT(TsTransformer, rotary_scaling, &rotary_scaling_table, "longer wavelengths, for longer contexts"),
    TS_KEY_INT(TsTransformer, window, "of the keys up to its own position a query sees so many; 0: all",
               .fallback = "0", .range = TS_BETWEEN(0, 1 << 24), .unit = "tokens"),
    TS_KEY_BOOL(TsTransformer, biases, "of linear layers", .fallback = "true"),
    TS_KEY_INT(TsTransformer, token_types,
               "rows of an embedding of which each token takes one: of a pair the first or the second, as in BERT",
               .fallback = "0", .range = TS_BETWEEN(0, 65536)),
    TS_KEY_INT(TsTransformer, mask_token, "ESM-2: its embeddings are zero, and the others larger for it; 0: none",
               .fallback = "0", .range = TS_BETWEEN(0, INT32_MAX)),
    TS_KEY_BOOL(TsTransformer, head_transform, "a linear layer, activation and norm before logits, a bias behind: BERT",
                .fallback = "false"),
    TS_KEY_BOOL(TsTransformer, tied, "logits come from the table of the embedding", .fallback = "true"),
    TS_KEY_BOOL(TsTransformer, causal, "a token sees none that comes after it; false: it sees all", .fallback = "true"),
    TS_KEYS_END};

const TsConfigTable ts_transformer_table = {"transformer",
                                            "Pre-norm blocks: GPT-2 by its defaults, an encoder where not causal.",
                                            sizeof(TsTransformer), keys, check};

/* Embeddings are small beside what blocks add: GPT-2's standard deviation. */
static const double EMBEDDING_SCALE = 0.02;

typedef TsTensor Activation(TsTensor x);

static Activation *const activations[] = {[TS_ACTIVATION_GELU] = ts_gelu, [TS_ACTIVATION_GELU_TANH] = ts_gelu_tanh,
                                          [TS_ACTIVATION_RELU] = ts_relu, [TS_ACTIVATION_SILU] = ts_silu,
                                          [TS_ACTIVATION_SWIGLU] = NULL,  [TS_ACTIVATION_GEGLU] = NULL};

static TsTensor norm(TsScope scope, const TsTransformer *options, TsTensor x)
{
    return options->norm == TS_NORM_RMS ? ts_rms_norm(scope, x, options->norm_epsilon)
                                        : ts_layer_norm(scope, x, options->norm_epsilon);
}

/* What all blocks are given beside what flows through them. */
typedef struct Surroundings {
    const TsTransformer *options;
    const TsCache *cache;        /* or NULL */
    TsTensor types;              /* as in ts_transformer_of_types; left out: all are of the first */
    TsTensor seen;               /* as in ts_transformer */
    TsPackedRows packed;         /* as in ts_transformer_packed; left out: a row is one document */
    TsTensor bias;               /* of scores, or left out */
    const TsCrossMemory *memory; /* of a decoder, or NULL */
} Surroundings;

/* ---- embeddings ---- */

/* Rows of a table that starts at the path of `scope`: (rows, C). */
static TsTensor table_of(TsScope scope, int64_t rows, int64_t width)
{
    return ts_leave(scope, ts_declare(scope, "table",
                                      (TsDeclare){.shape = ts_shape(rows, width),
                                                  .initializer = {TS_INIT_NORMAL, EMBEDDING_SCALE},
                                                  .decays = true}));
}

/* Sines in the first half of the columns, cosines in the second: (1, T, C), or (B, T, C) where rows stand elsewhere
 * each. They are what (1, 0) becomes when it is turned. */
static TsTensor sinusoids(TsScope scope, const TsTransformer *options, int64_t T, const TsCache *cache,
                          TsTensor positions)
{
    int64_t half = options->width / 2;
    TsTensor ids = cache && ts_dims(cache->ids) == 2 ? cache->ids : positions;
    if (ids.graph) {
        TsTensor all = sinusoids(scope, options, options->context, NULL, (TsTensor){0});
        return ts_take(ts_reshape(all, ts_shape(options->context, 2 * half)), ids);
    }
    TsDtype dtype = scope.dtype == TS_BF16 ? TS_F32 : scope.dtype;
    TsTensor pair[] = {ts_constant(scope.graph, dtype, ts_shape(1, T, 1, half), 1),
                       ts_constant(scope.graph, dtype, ts_shape(1, T, 1, half), 0)};
    TsTensor turned =
        ts_rotary(ts_concatenate(pair, 2, 3), cache ? cache->first : TS_NONE, (TsRotary){.base = options->rotary_base});
    TsTensor swapped[] = {ts_slice(turned, 3, half, half), ts_slice(turned, 3, 0, half)};
    return ts_cast(ts_reshape(ts_concatenate(swapped, 2, 3), ts_shape(1, T, 2 * half)), scope.dtype);
}

/* ESM-2 was trained with some tokens masked, of which a part left nothing: x (B, T, C) is what a sequence with as many
 * would have given. */
static TsTensor leave_masks_out(const TsTransformer *options, TsTensor x, TsTensor tokens, TsTensor seen)
{
    static const double left = 1 - 0.15 * 0.8;
    TsGraph *graph = x.graph;
    TsDtype dtype = ts_dtype_of(x) == TS_F64 ? TS_F64 : TS_F32;
    TsShape rows = ts_shape(ts_dim(x, 0), ts_dim(x, 1), 1);
    TsTensor zero = ts_constant(graph, dtype, ts_scalar, 0), one = ts_constant(graph, dtype, ts_scalar, 1);
    TsTensor mask = ts_equal(tokens, ts_constant(graph, TS_I32, ts_scalar, (double)options->mask_token));
    TsTensor masked = ts_where(mask, one, zero),
             counted = seen.id < 0 || !seen.graph ? ts_constant(graph, dtype, ts_shape_of_tensor(tokens), 1)
                                                  : ts_where(seen, one, zero);
    TsTensor ratio = ts_div(ts_sum(masked, 1 << 1, true), ts_sum(counted, 1 << 1, true)); /* (B, 1) */
    TsTensor factor = ts_div(ts_constant(graph, dtype, ts_scalar, left), ts_sub(one, ratio));
    TsTensor keep = ts_mul(ts_mul(ts_sub(one, masked), counted), factor); /* (B, T) */
    return ts_mul(x, ts_cast(ts_reshape(keep, rows), ts_dtype_of(x)));
}

/* token + position + type: tokens (B, T) -> (B, T, C) */
static TsTensor embed(TsScope scope, const Surroundings *around, TsTensor tokens)
{
    const TsTransformer *options = around->options;
    const TsCache *cache = around->cache;
    TsTensor seen = around->seen;
    int64_t T = ts_dim(tokens, 1), C = options->width;
    if (T > options->context)
        return ts_graph_error(scope.graph, "a sequence of %lld tokens is longer than the context of %lld", (long long)T,
                              (long long)options->context);
    TsScope tables = ts_in(around->memory ? around->memory->tables : scope, "tokens");
    TsTensor x = ts_embedding(tables, tokens, options->vocab, C, EMBEDDING_SCALE);
    ts_graph_set_path(scope.graph, scope.path);
    if (options->mask_token > 0)
        x = leave_masks_out(options, x, tokens, seen);
    if (options->positions == TS_POSITIONS_LEARNED) {
        TsTensor table = table_of(ts_in(scope, "positions"), options->context, C);
        TsTensor ids = cache ? cache->ids : around->packed.positions;
        x = ts_add(x, ts_cast(ids.graph ? ts_take(table, ids) : ts_slice(table, 0, 0, T), scope.dtype));
    } else if (options->positions == TS_POSITIONS_SINUSOIDAL) {
        x = ts_add(x, sinusoids(scope, options, T, cache, around->packed.positions));
    }
    if (options->token_types > 0) {
        TsTensor table = table_of(ts_in(scope, "token_types"), options->token_types, C);
        x = ts_add(
            x, ts_cast(around->types.graph ? ts_take(table, around->types) : ts_slice(table, 0, 0, 1), scope.dtype));
    }
    if (options->post_norm)
        x = norm(ts_in(scope, "embedding_norm"), options, x);
    return ts_dropout(ts_in(scope, "dropout"), x, options->dropout);
}

/* ---- blocks ---- */

/* What a block adds, in its order. x (B, T, C) -> (B, T, C) */
typedef TsTensor Part(TsScope scope, const Surroundings *around, TsTensor x);

/* Outputs are small, so that the sum over blocks keeps its size. */
static double out_gain(const TsTransformer *options)
{
    return 1 / sqrt(2 * (double)options->layers);
}

/* What a gated activation does; NULL: it is not gated. */
static TsTensor (*gate_of(const TsTransformer *options))(TsTensor gate, TsTensor x)
{
    return options->activation == TS_ACTIVATION_SWIGLU  ? ts_swiglu
           : options->activation == TS_ACTIVATION_GEGLU ? ts_geglu
                                                        : NULL;
}

static TsTensor attend(TsScope scope, const Surroundings *around, TsTensor x)
{
    const TsTransformer *options = around->options;
    return ts_attention(
        ts_in(scope, "attention"), x,
        (TsAttention){.heads = options->heads,
                      .key_value_heads = options->key_value_heads == TS_AUTO ? 0 : options->key_value_heads,
                      .causal = options->causal || around->memory,
                      .window = options->window,
                      .rotary = options->positions == TS_POSITIONS_ROTARY,
                      .rotary_base = options->rotary_base,
                      .rotary_scaling = options->rotary_scaling,
                      .alibi = options->positions == TS_POSITIONS_ALIBI,
                      .without_bias = !options->biases,
                      .keys_seen = around->seen,
                      .segments = around->packed.segments,
                      .bias = around->bias,
                      .dropout = options->dropout,
                      .out_gain = out_gain(options)},
        around->cache);
}

static TsCrossAttention across(const Surroundings *around)
{
    const TsTransformer *options = around->options;
    return (TsCrossAttention){.heads = options->heads,
                              .without_bias = !options->biases,
                              .memory_seen = around->memory->seen,
                              .dropout = options->dropout,
                              .out_gain = out_gain(options)};
}

static TsTensor attend_across(TsScope scope, const Surroundings *around, TsTensor x)
{
    return ts_cross_attention(ts_in(scope, "cross_attention"), x, around->memory->hidden, across(around),
                              around->cache);
}

static TsTensor mixture(TsScope scope, const Surroundings *around, TsTensor x)
{
    const TsTransformer *options = around->options;
    return ts_moe(ts_in(scope, "experts"), x,
                  (TsMoe){.experts = options->experts,
                          .top_k = options->experts_top_k,
                          .capacity = options->capacity,
                          .hidden_width = options->hidden == TS_AUTO ? 4 * options->width : options->hidden,
                          .activation = activations[options->activation],
                          .gated = gate_of(options),
                          .seen = around->seen,
                          .dropout = options->dropout,
                          .out_gain = out_gain(options)},
                  around->cache);
}

static TsTensor feed_forward(TsScope scope, const Surroundings *around, TsTensor x)
{
    const TsTransformer *options = around->options;
    return ts_feed_forward(
        ts_in(scope, "feed_forward"), x,
        (TsFeedForward){.hidden_width = options->hidden == TS_AUTO ? 4 * options->width : options->hidden,
                        .activation = activations[options->activation],
                        .gated = gate_of(options),
                        .without_bias = !options->biases,
                        .dropout = options->dropout,
                        .out_gain = out_gain(options)});
}

/* x + part(norm(x)), or norm(x + part(x)). */
static TsTensor add_part(TsScope scope, const Surroundings *around, TsTensor x, Part *part, const char *norm_name)
{
    const TsTransformer *options = around->options;
    TsTensor h = options->post_norm ? x : norm(ts_in(scope, norm_name), options, x);
    x = ts_add(x, part(scope, around, h));
    if (options->post_norm)
        x = norm(ts_in(scope, norm_name), options, x);
    return ts_between_blocks(scope, x);
}

/* The task's own adapter behind a block, where there is one. */
static TsTensor adapt(TsScope scope, const Surroundings *around, TsTensor x, int64_t layer)
{
    const char *task;
    int64_t width = ts_fine_tune_adapters(ts_parameters_fine_tuning(scope.parameters), &task);
    if (!width)
        return x;
    TsScope own = scope;
    own.path[0] = 0;
    own = ts_in(ts_in(ts_in(own, "tasks"), task), "residual");
    x = ts_residual_adapter(ts_in_numbered(own, around->memory ? "decoder_layer" : "layer", layer), x, width);
    return ts_between_blocks(scope, ts_leave(ts_in(scope, "residual"), x)); /* in the path of the block again */
}

static TsTensor block(TsScope scope, const Surroundings *around, TsTensor x, int64_t layer)
{
    const TsTransformer *options = around->options;
    Part *last = options->experts && (layer + 1) % options->experts_every == 0 ? mixture : feed_forward;
    x = add_part(scope, around, x, attend, "attention_norm");
    if (around->memory)
        x = add_part(scope, around, x, attend_across, "cross_attention_norm");
    x = add_part(scope, around, x, last, "feed_forward_norm");
    return ts_leave(scope, adapt(scope, around, x, layer));
}

static TsTensor run_blocks(TsScope scope, Surroundings around, TsTensor tokens)
{
    const TsTransformer *options = around.options;
    TsTensor x = ts_between_blocks(scope, embed(scope, &around, tokens));
    if (options->positions == TS_POSITIONS_RELATIVE)
        around.bias = ts_relative_bias(ts_in(scope, "relative"), options->heads, options->causal || around.memory,
                                       ts_dim(tokens, 1), around.cache);
    for (int64_t layer = 0; layer < options->layers; layer++)
        x = block(ts_in_numbered(scope, "layer", layer), &around, x, layer);
    return ts_leave(scope, options->post_norm ? x : norm(ts_in(scope, "norm"), options, x));
}

TsTensor ts_transformer_of_types(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor types,
                                 TsTensor seen)
{
    if (options->trunk != TS_TRUNK_TRANSFORMER)
        return ts_transformer(scope, options, tokens, seen, NULL);
    return run_blocks(scope, (Surroundings){.options = options, .types = types, .seen = seen}, tokens);
}

TsTensor ts_transformer_packed(TsScope scope, const TsTransformer *options, TsTensor tokens, TsPackedRows rows,
                               TsTensor seen)
{
    if (options->trunk != TS_TRUNK_TRANSFORMER)
        return ts_graph_error(scope.graph, "only transformers keep documents of a row apart");
    return run_blocks(scope, (Surroundings){.options = options, .packed = rows, .seen = seen}, tokens);
}

TsTensor ts_transformer(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen,
                        const TsCache *cache)
{
    if (options->trunk != TS_TRUNK_TRANSFORMER && cache)
        return ts_graph_error(scope.graph, "only transformers decode");
    if (options->trunk == TS_TRUNK_ONEHOT)
        return ts_onehot(scope, options, tokens);
    if (options->trunk == TS_TRUNK_CONV1D)
        return ts_conv1d_trunk(scope, options, tokens, seen);
    if (options->trunk == TS_TRUNK_USER)
        return ts_leave(scope, options->user->apply(scope, options, tokens, seen));
    return run_blocks(scope, (Surroundings){.options = options, .cache = cache, .seen = seen}, tokens);
}

TsTensor ts_transformer_decoder(TsScope scope, const TsTransformer *options, TsTensor tokens, TsCrossMemory memory,
                                const TsCache *cache)
{
    return run_blocks(scope, (Surroundings){.options = options, .cache = cache, .memory = &memory}, tokens);
}

void ts_transformer_remember(TsScope scope, const TsTransformer *options, TsTensor memory, const TsCache *cache)
{
    TsCrossMemory none = {0};
    Surroundings around = {.options = options, .memory = &none};
    for (int64_t layer = 0; layer < options->layers; layer++)
        ts_cross_attention_remember(ts_in(ts_in_numbered(scope, "layer", layer), "cross_attention"), memory,
                                    across(&around), cache);
    ts_graph_set_path(scope.graph, scope.path);
}

/* linear, activation, norm: (..., C) -> (..., C) */
static TsTensor transform(TsScope scope, const TsTransformer *options, TsTensor hidden)
{
    TsTensor h = ts_linear(ts_in(scope, "dense"), hidden, options->width);
    Activation *activation = activations[options->activation];
    return ts_leave(scope, norm(ts_in(scope, "norm"), options, activation ? activation(h) : h));
}

TsTensor ts_transformer_logits(TsScope scope, const TsTransformer *options, TsTensor hidden)
{
    if (options->head_transform)
        hidden = transform(ts_in(scope, "head"), options, hidden);
    TsTensor logits;
    if (options->tied) {
        TsTensor table = ts_embedding_table(ts_in(scope, "tokens"), options->vocab, options->width, EMBEDDING_SCALE);
        logits = ts_dot(hidden, ts_cast(table, ts_dtype_of(hidden)), (TsDot){.transpose_b = true});
    } else {
        logits = ts_linear_with(
            ts_in(scope, "logits"), hidden,
            (TsLinear){.out = ts_shape(options->vocab), .without_bias = true, .cut_columns = TS_AXIS_MODEL});
    }
    if (!options->head_transform)
        return ts_leave(scope, logits);
    TsScope head = ts_in(scope, "head");
    TsDeclare bias = {.shape = ts_shape(options->vocab), .placement = ts_shard(ts_replicated, 0, TS_AXIS_MODEL)};
    return ts_leave(scope,
                    ts_leave(head, ts_add(logits, ts_cast(ts_declare(head, "bias", bias), ts_dtype_of(logits)))));
}
