/* SPDX-License-Identifier: Apache-2.0
 *
 * BPE: byte-pair encoding of one word. A word begins as single symbols; of all neighbours that the list of merges
 * names, the pair that comes first in it, and of those the leftmost, becomes one symbol, until there is none left.
 * Sennrich, Haddow and Birch 2016; on bytes, Radford et al. 2019; with bytes for what is unknown, Kudo and Richardson
 * 2018.
 */
#pragma once

#include "base/status.h"
#include "data/vocabulary.h"

typedef struct TsBpe TsBpe;

typedef struct TsBpeOptions {
    bool of_bytes;      /* a symbol is a byte; else a character */
    bool byte_fallback; /* an unknown character becomes its bytes' tokens <0x00> to <0xFF>, where those are there */
    bool fuse_unknown;  /* unknown characters next to one another become one token */
    bool ignore_merges; /* a word that is a token needs no merges */
    int32_t unknown;    /* the token of unknown characters; -1: they are left out */
    const char *prefix; /* of tokens that go on with a word ("##"); NULL: none. Borrowed */
    const char *suffix; /* of tokens that end a word ("</w>"); NULL: none. Borrowed */
} TsBpeOptions;

/* `vocabulary` is borrowed. Owned by the caller: ts_bpe_free. */
TsBpe *ts_bpe_create(const TsVocabulary *vocabulary, TsBpeOptions options);

/* Sets *bpe to NULL; NULL is fine. */
void ts_bpe_free(TsBpe **bpe);

/* Adds the next merge of the list. An error where either token or what they make together is not in the vocabulary; the
 * caller says in which line. A pair that is there already keeps its place. */
TS_MUST_USE TsStatus ts_bpe_add_merge(TsBpe *bpe, const char *left, size_t left_bytes, const char *right,
                                      size_t right_bytes);

int64_t ts_bpe_merges(const TsBpe *bpe);

/* Takes the tokens of a word one after another. */
typedef void TsTokenSink(void *context, int32_t token);

void ts_bpe_encode(const TsBpe *bpe, const char *word, size_t word_bytes, TsTokenSink *sink, void *context);
