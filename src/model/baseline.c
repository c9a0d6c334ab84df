/* SPDX-License-Identifier: Apache-2.0 */
#include "model/baseline.h"

#include <math.h>

static const TsKey onehot_keys[] = {TS_KEY_INT(TsTransformer, context, "the longest sequence", .fallback = "256",
                                               .range = TS_BETWEEN(1, 1 << 24), .unit = "tokens"),
                                    TS_KEY_INT(TsTransformer, vocab, "tokens there are; auto is what the tokenizer has",
                                               .fallback = "auto", .takes_auto = true,
                                               .range = TS_BETWEEN(1, INT32_MAX)),
                                    TS_KEYS_END};
const TsConfigTable ts_onehot_table = {"onehot", "Each token a row of zeros with a single one: nothing is learned.",
                                       sizeof(TsTransformer), onehot_keys, NULL};

static const TsKey conv1d_keys[] = {
    TS_KEY_INT(TsTransformer, layers, "convolutions, each beside a way around it", .fallback = "4",
               .range = TS_BETWEEN(1, 4096)),
    TS_KEY_INT(TsTransformer, width, "of hidden states", .fallback = "128", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_INT(TsTransformer, kernel, "of a convolution", .fallback = "5", .range = TS_BETWEEN(1, 4096),
               .unit = "tokens"),
    TS_KEY_INT(TsTransformer, context, "the longest sequence", .fallback = "256", .range = TS_BETWEEN(1, 1 << 24),
               .unit = "tokens"),
    TS_KEY_INT(TsTransformer, vocab, "tokens there are; auto is what the tokenizer has", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, INT32_MAX)),
    TS_KEY_REAL(TsTransformer, dropout, "of what each layer adds", .fallback = "0", .range = TS_FROM_TO(0, 1)),
    TS_KEY_BOOL(TsTransformer, causal, "a token sees none that comes after it; false: those on both sides",
                .fallback = "false"),
    TS_KEYS_END};
const TsConfigTable ts_conv1d_trunk_table = {"conv1d", "Convolutions along the sequence.", sizeof(TsTransformer),
                                             conv1d_keys, NULL};

TsTransformer ts_trunk_options(const TsTransformer *value, const TsTrunkKind *kind, int64_t vocab)
{
    TsTransformer options = *value;
    TsTrunk trunk = kind ? kind->trunk : TS_TRUNK_TRANSFORMER;
    options.trunk = trunk;
    options.user = trunk == TS_TRUNK_USER ? kind : NULL;
    options.vocab = vocab;
    if (trunk == TS_TRUNK_ONEHOT)
        options.width = vocab;
    if (trunk == TS_TRUNK_CONV1D)
        options.tied = true;
    return options;
}

/* 1 where a token is seen, else 0: (B, T, 1); or left out where all are. */
static TsTensor mask_of(TsTensor tokens, TsTensor seen, TsDtype dtype)
{
    if (seen.id < 0 || !seen.graph)
        return TS_NONE;
    TsTensor one = ts_constant(tokens.graph, dtype, ts_scalar, 1),
             zero = ts_constant(tokens.graph, dtype, ts_scalar, 0);
    return ts_reshape(ts_where(seen, one, zero), ts_shape(ts_dim(tokens, 0), ts_dim(tokens, 1), 1));
}

TsTensor ts_onehot(TsScope scope, const TsTransformer *options, TsTensor tokens)
{
    TsDtype dtype = scope.dtype;
    TsTensor all = ts_running_sum(ts_constant(scope.graph, TS_F32, ts_shape(options->vocab), 1), 0, false);
    TsTensor wide = ts_reshape(tokens, ts_shape(ts_dim(tokens, 0), ts_dim(tokens, 1), 1));
    TsTensor number = ts_cast(ts_shift(all, -1), TS_I32); /* 0 .. V - 1 */
    TsTensor one = ts_constant(scope.graph, dtype, ts_scalar, 1), zero = ts_constant(scope.graph, dtype, ts_scalar, 0);
    return ts_leave(scope, ts_where(ts_equal(wide, number), one, zero));
}

/* gelu(conv(norm(x))): (B, T, C) -> (B, T, C) */
static TsTensor layer(TsScope scope, const TsTransformer *options, TsTensor x, TsTensor mask)
{
    int64_t width = options->width, kernel = options->kernel;
    double deviation = 1 / sqrt((double)(width * kernel));
    x = ts_layer_norm(ts_in(scope, "norm"), x, options->norm_epsilon);
    if (mask.id >= 0)
        x = ts_mul(x, mask);
    TsScope own = ts_in(scope, "convolution");
    TsTensor weights = ts_declare(own, "kernel",
                                  (TsDeclare){.shape = ts_shape(kernel, width, width),
                                              .initializer = {TS_INIT_NORMAL, deviation},
                                              .decays = true});
    TsTensor bias = ts_declare(own, "bias", (TsDeclare){.shape = ts_shape(width)});
    x = ts_conv1d(x, ts_cast(weights, scope.dtype), options->causal ? TS_CONV1D_CAUSAL : TS_CONV1D_SAME);
    x = ts_leave(own, ts_gelu(ts_add(x, ts_cast(bias, scope.dtype))));
    return ts_leave(scope, ts_dropout(ts_in(scope, "dropout"), x, options->dropout));
}

TsTensor ts_conv1d_trunk(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen)
{
    static const double EMBEDDING_SCALE = 0.02;
    TsTensor mask = mask_of(tokens, seen, scope.dtype);
    TsTensor x = ts_embedding(ts_in(scope, "tokens"), tokens, options->vocab, options->width, EMBEDDING_SCALE);
    for (int64_t i = 0; i < options->layers; i++)
        x = ts_add(x, layer(ts_in_numbered(scope, "layer", i), options, x, mask));
    return ts_leave(scope, ts_layer_norm(ts_in(scope, "norm"), x, options->norm_epsilon));
}
