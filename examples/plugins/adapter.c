/* SPDX-License-Identifier: Apache-2.0
 *
 * An adapter: `adapter: {type: gated_pool, hidden: 16}`. Each token says by a gate how much it counts in the mean, and
 * one hidden layer makes outputs of that.
 */
#include <tessera/tessera.h>

typedef struct GatedPool {
    int64_t hidden;
} GatedPool;

static const TsKey keys[] = {
    TS_KEY_INT(GatedPool, hidden, "width of the hidden layer", .fallback = "32", .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEYS_END};
static const TsConfigTable table = {"gated_pool", "A mean by gates.", sizeof(GatedPool), keys, NULL};

/* hidden (B, T, C), seen (B, T) bool -> (B, K) */
static TsTensor apply(TsScope scope, const void *options, TsTensor hidden, TsTensor seen, int64_t outputs)
{
    const GatedPool *pool = options;
    TsTensor gate = ts_sigmoid(ts_linear(ts_in(scope, "gate"), hidden, 1)); /* (B, T, 1) */
    TsTensor pooled = ts_pool(scope, ts_mul(hidden, gate), seen, TS_POOLING_MEAN);
    TsTensor x = ts_gelu(ts_linear(ts_in(scope, "hidden"), pooled, pool->hidden));
    return ts_linear(ts_in(scope, "out"), x, outputs);
}

static const TsAdapterKind kind = {.level = TS_ADAPTER_SEQUENCE, .apply = apply};

TS_PLUGIN
{
    return ts_variants_add(&ts_adapters,
                           (TsVariant){"gated_pool", "a mean by gates, then layers of it", &table, &kind});
}
