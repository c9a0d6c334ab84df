/* SPDX-License-Identifier: Apache-2.0
 *
 * Adapter: the small net between a trunk and an objective: hidden states to outputs, one set a token or one a sequence.
 *
 * All there are stand in the registry ts_adapters; the `extra` of a variant is a TsAdapterKind. B batch, T sequence, C
 * width, K outputs.
 */
#pragma once

#include "base/config.h"
#include "model/layers.h"

typedef enum TsAdapterLevel { TS_ADAPTER_TOKENS = 1, TS_ADAPTER_SEQUENCE = 2 } TsAdapterLevel;

typedef struct TsAdapterKind {
    TsAdapterLevel level;

    /* hidden (B, T, C), seen (B, T) bool -> (B, T, K) or (B, K), by the level. */
    TsTensor (*apply)(TsScope scope, const void *options, TsTensor hidden, TsTensor seen, int64_t outputs);

    /* Whether it is right on a trunk in which a token sees none that comes after it: NULL, or why not. */
    const char *(*unfit_for_causal)(const void *options);
} TsAdapterKind;

/* linear and mlp, of each token; linear_cls and mlp_pool, of a sequence. */
extern TsVariants ts_adapters;

typedef enum TsPooling {
    TS_POOLING_MEAN,
    TS_POOLING_MAX,
    TS_POOLING_CLS,      /* the first token */
    TS_POOLING_LAST,     /* the last one that is seen */
    TS_POOLING_ATTENTION /* the mean by learned weights */
} TsPooling;

/* (B, T, C), (B, T) bool -> (B, C): of the tokens that are seen; a row without any gives 0. */
TsTensor ts_pool(TsScope scope, TsTensor hidden, TsTensor seen, TsPooling pooling);

/* Applies the adapter that is chosen. */
TsTensor ts_adapter(TsScope scope, TsChoice adapter, TsTensor hidden, TsTensor seen, int64_t outputs);

TsAdapterLevel ts_adapter_level(TsChoice adapter);
