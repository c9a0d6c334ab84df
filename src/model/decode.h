/* SPDX-License-Identifier: Apache-2.0
 *
 * Decode: continues prompts token by token with any model that scores the next token: sampling (sample.h) or beams
 * (beam.h).
 *
 * Prompts stand with their ends side by side, and are read in one pass into a cache of keys and values that lies on the
 * mesh like the batch; then all rows grow by a token a pass. Every rank chooses for the prompts that it holds, and then
 * all know what all chose. A sample is a function of (seed, number of the prompt, step) and the scores: the same on
 * every number of ranks.
 */
#pragma once

#include "model/model.h"

/* A model that scores the token after tokens (B, T) i32: (B, V). */
typedef struct TsNextToken {
    TsTensor (*logits)(TsScope scope, const void *options, TsTensor tokens, const TsCache *cache);
    const void *options;
    int64_t context, vocab;

    /* Of an encoder-decoder: reads sources (B, S) i32, of which `seen` (B, S) bool says what is there, into the states
     * of the cache. Prompts are sources then, and what is added begins behind `start`. NULL: prompts are continued. */
    void (*encode)(TsScope scope, const void *options, TsTensor sources, TsTensor seen, const TsCache *cache);
    int32_t start;
} TsNextToken;

/* Errors: a prompt that is empty, longer than the context, or has tokens that the vocabulary lacks; options that do not
 * go together; what tracing says; scores that are no numbers. Collective on the mesh of the weights. Same on all ranks:
 * everything. *decoded is owned by the caller. */
TS_MUST_USE TsStatus ts_decode(TsDecoded **decoded, TsNextToken next, TsWeights weights, TsPrompts prompts,
                               TsDecodeOptions options);

/* process_decode_out of every model whose rows are text. */
TsDecodeText *ts_decode_text(const TsDecoded *decoded, TsDetokeniser detokeniser);

/* The text of tokens[first, count) as it stands behind that of tokens[0, first): detokenisers may put a blank between.
 * Owned by the caller. */
char *ts_decode_added_text(const int32_t *tokens, int64_t first, int64_t count, TsDetokenise *detokenise,
                           const void *context);
