/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizer: bytes of text to numbers of tokens, and back. Tokens are 0..vocab-1. What kind it is, is its own affair: a
 * caller asks for one by a choice of the registry, and knows only these functions. A kind is a TsTokenizerKind, the
 * `extra` of its variant; the built-in ones lie in tokenizer_bytes.c, tokenizer_table.c and tokenizer_words.c.
 *
 * Not collective; the same on all ranks, as it is made of the config and of files that all ranks see.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/status.h"

/* Tokens that stand for no text. */
typedef enum TsSpecial {
    TS_SPECIAL_PAD,     /* fills rows up */
    TS_SPECIAL_BEGIN,   /* in front of a text: BOS, CLS */
    TS_SPECIAL_END,     /* behind it: EOS, SEP */
    TS_SPECIAL_MASK,    /* hides a token that is to be guessed */
    TS_SPECIAL_UNKNOWN, /* for what the vocabulary lacks */
    TS_SPECIALS
} TsSpecial;

/* "pad", ... */
const char *ts_special_name(TsSpecial special);

typedef struct TsTokenizer TsTokenizer;

/* What a kind does; `own` is what `create` made. */
typedef struct TsTokenizerKind {
    /* Fills in vocab, token_bytes, special (all -1 before) and own, from the struct of the variant's table. */
    TsStatus (*create)(TsTokenizer *tokenizer, const void *keys);
    void (*release)(void *own);

    /* As ts_tokenizer_encode. */
    int64_t (*encode)(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                      size_t text_bytes);

    /* Appends the text of one token, not special and in range; `first`: no text is before it. */
    void (*decode)(const TsTokenizer *tokenizer, TsText *text, int32_t token, bool first);
} TsTokenizerKind;

struct TsTokenizer {
    const TsTokenizerKind *kind;
    int64_t vocab;                /* how many tokens there are */
    int64_t token_bytes;          /* how many bytes of text every token stands for, where that is the same; else 0 */
    int32_t special[TS_SPECIALS]; /* -1: there is none */
    void *own;
};

/* bytes, characters, residues, nucleotides, whitespace, pretrained. */
extern const TsVariants ts_tokenizers;

/* The tokenizer of a choice of ts_tokenizers. Owned by the caller: ts_tokenizer_free. */
TS_MUST_USE TsStatus ts_tokenizer_make(TsTokenizer **tokenizer, TsChoice choice);

/* One by name, for those kinds that need no keys. An unknown name is an error that lists those there are. */
TS_MUST_USE TsStatus ts_tokenizer_create(TsTokenizer **tokenizer, const char *name);

/* Sets *tokenizer to NULL; NULL is fine. */
void ts_tokenizer_free(TsTokenizer **tokenizer);

int64_t ts_tokenizer_vocab(const TsTokenizer *tokenizer);
int64_t ts_tokenizer_token_bytes(const TsTokenizer *tokenizer);

/* The special token, or -1. */
int32_t ts_tokenizer_special(const TsTokenizer *tokenizer, TsSpecial special);

/* A checksum of what the tokens stand for and of how text is cut into them: what was prepared with another one is
 * prepared anew. */
uint32_t ts_tokenizer_crc(const TsTokenizer *tokenizer);

/* Encodes text[0, text_bytes) into tokens[0, …) and returns how many there are; no more are written than
 * `capacity_tokens`. A text can have more tokens than bytes only with a tokenizer that changes it first. No special
 * tokens are added; what a text has of their names is found by pretrained tokenizers. */
int64_t ts_tokenizer_encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                            size_t text_bytes);

/* All tokens of a text, *count_tokens of them. Owned by the caller: ts_free. */
int32_t *ts_tokenizer_encode_all(const TsTokenizer *tokenizer, int64_t *count_tokens, const char *text,
                                 size_t text_bytes);

/* The text of tokens[0, count_tokens), zero-terminated (it may hold other zeros), of *text_bytes bytes. Padding, begin
 * and end have no text; a mask is "<mask>", an unknown token and one out of range U+FFFD. Owned by the caller: ts_free.
 * `text_bytes` may be NULL. */
char *ts_tokenizer_decode(const TsTokenizer *tokenizer, size_t *text_bytes, const int32_t *tokens,
                          int64_t count_tokens);

/* The kinds, for the registry and for those who test them. */
extern const TsTokenizerKind ts_tokenizer_bytes, ts_tokenizer_characters, ts_tokenizer_residues,
    ts_tokenizer_nucleotides, ts_tokenizer_whitespace, ts_tokenizer_pretrained;
extern const TsConfigTable ts_tokenizer_bytes_table, ts_tokenizer_characters_table, ts_tokenizer_whitespace_table,
    ts_tokenizer_pretrained_table;

/* Gives the specials the numbers from tokenizer->vocab on, and raises vocab. For `create`. */
void ts_tokenizer_add_specials(TsTokenizer *tokenizer);
