/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizer: bytes of text to numbers of tokens, and back. Tokens are 0..vocab-1. What kind it is, is its own affair: a
 * caller asks for one by name and knows only these functions. The kind there is: "bytes", where a token is a byte.
 *
 * Not collective; the same on all ranks, as it is made of the config alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct TsTokenizer TsTokenizer;

/* The tokenizer of that name. An unknown name is an error that lists those there are. Owned by the caller:
 * ts_tokenizer_free. */
TS_MUST_USE TsStatus ts_tokenizer_create(TsTokenizer **tokenizer, const char *name);

/* Sets *tokenizer to NULL; NULL is fine. */
void ts_tokenizer_free(TsTokenizer **tokenizer);

/* How many tokens there are. */
int64_t ts_tokenizer_vocab(const TsTokenizer *tokenizer);

/* How many bytes of text every token stands for, where that is the same for all; else 0. */
int64_t ts_tokenizer_token_bytes(const TsTokenizer *tokenizer);

/* Encodes text[0, text_bytes) into tokens[0, …) and returns how many there are; no more are written than
 * `capacity_tokens`, and a text never has more tokens than bytes. */
int64_t ts_tokenizer_encode(const TsTokenizer *tokenizer, int32_t *tokens, int64_t capacity_tokens, const char *text,
                            size_t text_bytes);

/* The text of tokens[0, count_tokens), zero-terminated (it may hold other zeros), of *text_bytes bytes. A token out of
 * range becomes U+FFFD. Owned by the caller: ts_free. `text_bytes` may be NULL. */
char *ts_tokenizer_decode(const TsTokenizer *tokenizer, size_t *text_bytes, const int32_t *tokens,
                          int64_t count_tokens);
