/* SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter.h"

/* ---- pooling ---- */

/* 1 where a token is seen, else 0: (B, T) bool -> (B, T) */
static TsTensor mask_of(TsTensor seen, TsDtype dtype)
{
    TsTensor one = ts_constant(seen.graph, dtype, ts_scalar, 1), zero = ts_constant(seen.graph, dtype, ts_scalar, 0);
    return ts_where(seen, one, zero);
}

/* The sum over T of weights (B, T) times hidden (B, T, C): (B, C) */
static TsTensor weigh(TsTensor hidden, TsTensor weights)
{
    TsTensor wide = ts_reshape(weights, ts_shape(ts_dim(weights, 0), ts_dim(weights, 1), 1));
    return ts_sum(ts_mul(hidden, wide), 1 << 1, false);
}

static TsTensor pool_mean(TsTensor hidden, TsTensor mask)
{
    TsTensor one = ts_constant(mask.graph, ts_dtype_of(mask), ts_scalar, 1);
    return ts_div(weigh(hidden, mask), ts_maximum(ts_sum(mask, 1 << 1, true), one));
}

static const double HIDDEN_SCORE = -1e9; /* of what is not seen */

static TsTensor pool_max(TsTensor hidden, TsTensor seen, TsTensor mask)
{
    TsTensor low = ts_constant(hidden.graph, ts_dtype_of(hidden), ts_scalar, HIDDEN_SCORE);
    TsTensor wide = ts_reshape(seen, ts_shape(ts_dim(seen, 0), ts_dim(seen, 1), 1));
    TsTensor any = ts_max(mask, 1 << 1, true);
    return ts_mul(ts_max(ts_where(wide, hidden, low), 1 << 1, false), any);
}

/* mask[t] - mask[t + 1] is 1 at the last token that is seen. */
static TsTensor pool_last(TsTensor hidden, TsTensor mask)
{
    int64_t rows = ts_dim(mask, 0), T = ts_dim(mask, 1);
    TsTensor behind[] = {ts_slice(mask, 1, 1, T - 1), ts_constant(mask.graph, ts_dtype_of(mask), ts_shape(rows, 1), 0)};
    TsTensor next = T > 1 ? ts_concatenate(behind, 2, 1) : behind[1];
    return weigh(hidden, ts_sub(mask, next));
}

static TsTensor pool_attention(TsScope scope, TsTensor hidden, TsTensor seen, TsTensor mask)
{
    TsTensor score = ts_linear(ts_in(scope, "score"), hidden, 1); /* (B, T, 1) */
    TsTensor low = ts_constant(hidden.graph, ts_dtype_of(hidden), ts_scalar, HIDDEN_SCORE);
    score = ts_reshape(score, ts_shape(ts_dim(hidden, 0), ts_dim(hidden, 1)));
    return weigh(hidden, ts_mul(ts_softmax(ts_where(seen, score, low)), mask));
}

TsTensor ts_pool(TsScope scope, TsTensor hidden, TsTensor seen, TsPooling pooling)
{
    TsTensor mask = mask_of(seen, ts_dtype_of(hidden));
    switch (pooling) {
    case TS_POOLING_MEAN:
        return ts_leave(scope, pool_mean(hidden, mask));
    case TS_POOLING_MAX:
        return ts_leave(scope, pool_max(hidden, seen, mask));
    case TS_POOLING_CLS:
        return ts_leave(scope, ts_sum(ts_slice(hidden, 1, 0, 1), 1 << 1, false));
    case TS_POOLING_LAST:
        return ts_leave(scope, pool_last(hidden, mask));
    case TS_POOLING_ATTENTION:
        return ts_leave(scope, pool_attention(scope, hidden, seen, mask));
    }
    return ts_graph_error(scope.graph, "pooling %d", (int)pooling);
}

/* ---- the adapters ---- */

static const char *const pooling_words[] = {"mean", "max", "cls", "last", "attention", NULL};

typedef struct Mlp {
    TsList hidden; /* of widths */
    double dropout;
    TsPooling pooling; /* of mlp_pool */
} Mlp;

#define MLP_KEYS                                                                                                       \
    TS_KEY_LIST(Mlp, hidden, (&(const TsKey){.kind = TS_KIND_INT, .range = TS_BETWEEN(1, 1 << 20)}),                   \
                "widths of the layers between, each with a GELU behind it", .fallback = "[]"),                         \
        TS_KEY_REAL(Mlp, dropout, "of what these layers give", .fallback = "0", .range = TS_FROM_TO(0, 1))

static const TsKey mlp_keys[] = {MLP_KEYS, TS_KEYS_END};
static const TsConfigTable mlp_table = {"adapter_mlp", "Layers of each token.", sizeof(Mlp), mlp_keys, NULL};

static const TsKey pool_keys[] = {
    MLP_KEYS, TS_KEY_ENUM(Mlp, pooling, pooling_words, "how tokens become one", .fallback = "mean"), TS_KEYS_END};
static const TsConfigTable pool_table = {"adapter_mlp_pool", "Tokens become one, then layers of it.", sizeof(Mlp),
                                         pool_keys, NULL};

/* x (..., C) -> (..., outputs) */
static TsTensor mlp(TsScope scope, const Mlp *options, TsTensor x, int64_t outputs)
{
    const int64_t *widths = options->hidden.items;
    for (int64_t i = 0; i < options->hidden.count; i++) {
        x = ts_gelu(ts_linear(ts_in_numbered(scope, "layer", i), x, widths[i]));
        x = ts_dropout(ts_in_numbered(scope, "dropout", i), x, options->dropout);
    }
    return ts_leave(scope, ts_linear(ts_in(scope, "out"), x, outputs));
}

static TsTensor apply_linear(TsScope scope, const void *options, TsTensor hidden, TsTensor seen, int64_t outputs)
{
    (void)options;
    (void)seen;
    return ts_leave(scope, ts_linear(ts_in(scope, "out"), hidden, outputs));
}

static TsTensor apply_mlp(TsScope scope, const void *options, TsTensor hidden, TsTensor seen, int64_t outputs)
{
    (void)seen;
    return mlp(scope, options, hidden, outputs);
}

static TsTensor apply_cls(TsScope scope, const void *options, TsTensor hidden, TsTensor seen, int64_t outputs)
{
    (void)options;
    TsTensor first = ts_pool(ts_in(scope, "pool"), hidden, seen, TS_POOLING_CLS);
    return ts_leave(scope, ts_linear(ts_in(scope, "out"), first, outputs));
}

static TsTensor apply_pool(TsScope scope, const void *options, TsTensor hidden, TsTensor seen, int64_t outputs)
{
    const Mlp *pool = options;
    return mlp(scope, pool, ts_pool(ts_in(scope, "pool"), hidden, seen, pool->pooling), outputs);
}

static const char CLS_IS_BLIND[] = "the first token sees no other where backbone.causal is true";

static const char *cls_is_blind(const void *options)
{
    (void)options;
    return CLS_IS_BLIND;
}

static const char *pooling_is_blind(const void *options)
{
    return ((const Mlp *)options)->pooling == TS_POOLING_CLS ? CLS_IS_BLIND : NULL;
}

static const TsAdapterKind linear_kind = {TS_ADAPTER_TOKENS, apply_linear, NULL},
                           mlp_kind = {TS_ADAPTER_TOKENS, apply_mlp, NULL},
                           cls_kind = {TS_ADAPTER_SEQUENCE, apply_cls, cls_is_blind},
                           pool_kind = {TS_ADAPTER_SEQUENCE, apply_pool, pooling_is_blind};

static const TsVariant items[] = {
    {"linear", "one layer of each token", NULL, &linear_kind},
    {"mlp", "layers of each token", &mlp_table, &mlp_kind},
    {"linear_cls", "one layer of the first token", NULL, &cls_kind},
    {"mlp_pool", "tokens become one, by mean, max, the first, the last or attention; then layers of it", &pool_table,
     &pool_kind}};
TsVariants ts_adapters = {"adapter", items, sizeof items / sizeof *items};

TsTensor ts_adapter(TsScope scope, TsChoice adapter, TsTensor hidden, TsTensor seen, int64_t outputs)
{
    const TsAdapterKind *kind = adapter.variant->extra;
    return kind->apply(scope, adapter.value, hidden, seen, outputs);
}

TsAdapterLevel ts_adapter_level(TsChoice adapter)
{
    return ((const TsAdapterKind *)adapter.variant->extra)->level;
}
