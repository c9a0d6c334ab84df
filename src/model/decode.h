/* SPDX-License-Identifier: Apache-2.0
 *
 * Decode: continues prompts token by token with any model that scores the next token.
 *
 * Prompts are read in one pass, as far as the shortest goes, into a cache of keys and values that lies on the mesh like
 * the batch; then a token a pass, where rows with longer prompts still take theirs. A sample is a function of (seed,
 * row, position) and the weights: the same on every number of ranks.
 */
#pragma once

#include "model/model.h"

/* A model that scores the token after tokens (B, T) i32: (B, V). */
typedef struct TsNextToken {
    TsTensor (*logits)(TsScope scope, const void *options, TsTensor tokens, const TsCache *cache);
    const void *options;
    int64_t context, vocab;
} TsNextToken;

/* Errors: a prompt that is empty, longer than the context, or has tokens that the vocabulary lacks; what tracing says.
 * Collective on the mesh of the weights. Same on all ranks: everything. *decoded is owned by the caller. */
TS_MUST_USE TsStatus ts_decode(TsDecoded **decoded, TsNextToken next, TsWeights weights, TsPrompts prompts,
                               TsDecodeOptions options);
