/* SPDX-License-Identifier: Apache-2.0
 *
 * BpeTrainer: the merges of a byte-pair encoding on bytes, from counted words. Of all pairs of neighbours the most
 * frequent becomes a token, again and again: Sennrich, Haddow and Birch 2016. Ties go to the pair of the lowest
 * numbers, as in the tokenizers of Hugging Face, whose merges these are. Counts of pairs are brought up to date where a
 * merge changes them, and the most frequent is found in a heap. Not collective: a function of words and counts alone.
 */
#pragma once

#include "base/status.h"
#include "data/vocabulary.h"
#include "data/word_counts.h"

typedef struct TsBpeTraining {
    int64_t vocab;              /* tokens, at most: training ends earlier where no pair is left */
    int64_t min_count;          /* of a pair; at least 1 */
    const char *const *special; /* (specials) tokens that stand for no text; borrowed for the call */
    int64_t specials;
} TsBpeTraining;

/* Tokens: the special ones; 256 bytes, in the order of the characters that they are written as (byte_level.h); what
 * merges made, in their order. Names are as they are written. */
typedef struct TsBpeTrained {
    TsVocabulary *vocabulary;
    int64_t specials, merges;
    int32_t (*merge)[2]; /* (merges) the tokens of each */
} TsBpeTrained;

/* The words must be sorted. Fails on a special token that is given twice or is the character of a byte, and on a
 * vocabulary that has no room for bytes and special tokens. Owned by the caller: ts_bpe_trained_free. */
TS_MUST_USE TsStatus ts_bpe_train(TsBpeTrained **trained, const TsWordCounts *words, TsBpeTraining options);

/* Sets *trained to NULL; NULL is fine. */
void ts_bpe_trained_free(TsBpeTrained **trained);

/* Writes tokenizer.json, vocab.json and merges.txt into the directory, which must be there. bpe_write.c */
TS_MUST_USE TsStatus ts_bpe_trained_write(const TsBpeTrained *trained, const char *dir);
