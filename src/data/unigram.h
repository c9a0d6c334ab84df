/* SPDX-License-Identifier: Apache-2.0
 *
 * Unigram: a word is cut into the pieces whose log-probabilities have the largest sum. A character that begins no piece
 * of its own length is unknown, which costs more than any piece; unknown characters next to one another are one token,
 * or the tokens <0x00> to <0xFF> of their bytes. Kudo 2018; as Hugging Face's tokenizers have it.
 */
#pragma once

#include "base/status.h"
#include "data/bpe.h"

typedef struct TsUnigram TsUnigram;

/* `vocabulary` is borrowed; scores (its size), of every token, are taken over; unknown -1: there is none. Owned by the
 * caller: ts_unigram_free. */
TsUnigram *ts_unigram_create(const TsVocabulary *vocabulary, double *scores, int32_t unknown, bool byte_fallback);

/* Sets *unigram to NULL; NULL is fine. */
void ts_unigram_free(TsUnigram **unigram);

void ts_unigram_encode(const TsUnigram *unigram, const char *word, size_t word_bytes, TsTokenSink *sink, void *context);
