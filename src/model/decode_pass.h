/* SPDX-License-Identifier: Apache-2.0
 *
 * DecodePass: one compiled pass over some tokens of every row of a batch that is decoded, and its caches.
 *
 * A prompt has `lines` rows for each of its hypotheses: its own, and with guidance one without the condition. Rows of
 * one prompt lie together, hypothesis by hypothesis, on one rank along the batch: prompts are filled up so that each
 * rank has as many. B rows, T tokens, V vocabulary.
 */
#pragma once

#include "model/decode.h"
#include "tensor/program.h"

typedef struct TsDecodeLayout {
    TsNextToken next;
    TsWeights weights;
    const TsMesh *mesh;
    int64_t prompts;          /* filled up */
    int64_t lines;            /* 1 or 2 */
    int64_t prompt_positions; /* of the longest line; shorter ones have padding in front */
    int64_t positions;        /* of the caches */
    int64_t *padding;         /* (prompts * lines) tokens, owned; NULL: there is none */
    int64_t sources;          /* the longest source; 0: this is no encoder-decoder */
    int64_t *source_tokens;   /* (prompts * lines) of each, owned; NULL likewise */
} TsDecodeLayout;

typedef struct TsDecodePass {
    TsProgram *program; /* owned where the weights have no cache of programs */
    bool kept;          /* by that cache */
    TsBatch *arrays;    /* tokens (B, T), first (), ids, seen (B, positions); log_probabilities (B, V) */
    int64_t each;       /* hypotheses of a prompt */
    int64_t length;     /* T */
} TsDecodePass;

/* A pass over `length` tokens of `each` hypotheses of each prompt. Caches that `caches` lacks are put there. Not
 * collective; the same on all ranks. ts_decode_pass_free follows also where it fails. */
TS_MUST_USE TsStatus ts_decode_pass_create(TsDecodePass *pass, const TsDecodeLayout *layout, int64_t length,
                                           int64_t each, TsBatch *caches);

/* The pass that reads sources into `caches`: its tokens are (B, sources). As above. */
TS_MUST_USE TsStatus ts_decode_pass_create_encoder(TsDecodePass *pass, const TsDecodeLayout *layout, TsBatch *caches);
void ts_decode_pass_free(TsDecodePass *pass);

/* The prompts whose rows this rank holds: [*first, *first + *count). */
void ts_decode_pass_prompts(const TsDecodePass *pass, const TsDecodeLayout *layout, int64_t *first, int64_t *count);

/* Where the tokens of local row `row` are put before a run: (T) */
int32_t *ts_decode_pass_tokens(const TsDecodePass *pass, int64_t row);

/* What local row `row` was given by the last run: (V); the caller may write to it. */
float *ts_decode_pass_scores(const TsDecodePass *pass, int64_t row);

/* Runs the tokens at positions [first, first + T). Collective on the mesh. */
void ts_decode_pass_run(TsDecodePass *pass, const TsDecodeLayout *layout, int64_t first);

/* Rows of caches of one hypothesis a prompt become those of each of `each`. */
void ts_decode_caches_expand(TsBatch *to, const TsBatch *from, int64_t lines, int64_t each);

/* But for memories of sources: of local prompt `prompt`, hypothesis h goes on from where parent[h] stood, at the first
 * `positions` positions. */
void ts_decode_caches_reorder(TsBatch *caches, int64_t prompt, const int64_t *parent, int64_t lines, int64_t each,
                              int64_t positions);
