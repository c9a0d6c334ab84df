/* SPDX-License-Identifier: Apache-2.0
 *
 * A backbone: `backbone: {type: bag, width: 32}`. Each token's vector beside the mean of all, through one layer: a bag
 * of words. Its keys are some of those of TsTransformer, from which tasks know width, context and vocabulary.
 */
#include <tessera/tessera.h>

static const TsKey keys[] = {
    TS_KEY_INT(TsTransformer, width, "of hidden states", .fallback = "64", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEY_INT(TsTransformer, context, "the longest sequence", .fallback = "256", .range = TS_BETWEEN(1, 1 << 24),
               .unit = "tokens"),
    TS_KEY_INT(TsTransformer, vocab, "tokens there are; auto is what the tokenizer has", .fallback = "auto",
               .takes_auto = true, .range = TS_BETWEEN(1, INT32_MAX)),
    TS_KEYS_END};
static const TsConfigTable table = {"bag", "A bag of words.", sizeof(TsTransformer), keys, NULL};

/* tokens (B, T), seen (B, T) bool -> (B, T, C) */
static TsTensor apply(TsScope scope, const TsTransformer *options, TsTensor tokens, TsTensor seen)
{
    TsTensor x = ts_embedding(ts_in(scope, "tokens"), tokens, options->vocab, options->width, 0.02);
    TsTensor mean = ts_pool(scope, x, seen, TS_POOLING_MEAN); /* (B, C) */
    mean = ts_reshape(mean, ts_shape(ts_dim(x, 0), 1, options->width));
    return ts_add(x, ts_gelu(ts_linear(ts_in(scope, "mix"), ts_add(x, mean), options->width)));
}

static const TsTrunkKind kind = {.trunk = TS_TRUNK_USER, .apply = apply};

TS_PLUGIN
{
    return ts_variants_add(&ts_backbones, (TsVariant){"bag", "each token beside the mean of all", &table, &kind});
}
