/* SPDX-License-Identifier: Apache-2.0
 *
 * Pretrained: a tokenizer as other programs publish it: normalizer, pretokenizer, and BPE, WordPiece or whole words
 * over a vocabulary, with tokens that are found in a text before all that. Read from the files of a directory:
 *
 *     tokenizer.json            all of it, as the tokenizers of Hugging Face write it
 *     vocab.json, merges.txt    GPT-2 and RoBERTa: BPE on bytes
 *     vocab.txt                 BERT: WordPiece; ESM-2: residues
 *     tokenizer_config.json     which tokens are begin, end, padding, mask, unknown; lower case or not
 *
 * The inside of the tokenizer of this name: tokenizer_pretrained.c encodes and decodes, pretrained.c reads.
 */
#pragma once

#include "data/bpe.h"
#include "data/normalizer.h"
#include "data/pretokenizer.h"
#include "data/tokenizer.h"
#include "data/unigram.h"
#include "data/wordpiece.h"

/* A token that is found in the text as it stands, before words are cut. */
typedef struct TsAddedToken {
    char *content; /* owned */
    size_t content_bytes;
    int32_t token;
    bool normalized;                /* found in the normalized text, not in the raw one */
    bool single_word;               /* only where no word goes on at its ends */
    bool strips_left, strips_right; /* takes the white space around it away */
    bool special;                   /* stands for no text */
} TsAddedToken;

typedef enum TsPretrainedDecode {
    TS_DECODE_PLAIN,     /* the token's bytes, one after another */
    TS_DECODE_METASPACE, /* the same, U+2581 a blank, <0xXX> a byte; the first blank left out */
    TS_DECODE_WORDPIECE, /* a blank in front of what does not go on with a word */
    TS_DECODE_SUFFIX,    /* a blank behind what ends a word */
} TsPretrainedDecode;

typedef struct TsPretrained {
    TsVocabulary *vocabulary;
    TsNormalizer *normalizer;
    TsPretokenizer *pretokenizer;
    TsBpe *bpe; /* one of these; */
    TsWordPiece *wordpiece;
    TsUnigram *unigram;  /* or, all NULL, words are looked up whole */
    TsAddedToken *added; /* (adds), the longest first */
    int adds;
    int32_t unknown; /* -1: none */
    int32_t special[TS_SPECIALS];
    TsPretrainedDecode decode;
    char *prefix, *suffix; /* of tokens that go on with a word, that end one; owned; NULL: none */
} TsPretrained;

/* Reads a directory, or a tokenizer.json by its path. Errors name the file and what is wrong in it. Owned by the
 * caller: ts_pretrained_free. */
TS_MUST_USE TsStatus ts_pretrained_read(TsPretrained **pretrained, const char *path);

/* Sets *pretrained to NULL; NULL is fine. */
void ts_pretrained_free(TsPretrained **pretrained);
