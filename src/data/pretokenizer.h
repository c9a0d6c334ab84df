/* SPDX-License-Identifier: Apache-2.0
 *
 * Pretokenizer: cuts a text into the words that a tokenizer then encodes one by one. The steps are those of the
 * `pre_tokenizer` of a tokenizer.json, with the same names and meaning.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

typedef struct json_t json_t;

/* Words: pieces of text, one after another. Zeroed it is empty. */
typedef struct TsWords {
    TsText text;
    size_t *end; /* (count): where each one ends in text */
    int64_t count, capacity;
} TsWords;

/* Adds a word; an empty one is left out. */
void ts_words_add(TsWords *words, const char *bytes, size_t size_bytes);

/* Borrowed until the next change. */
const char *ts_words_at(const TsWords *words, int64_t index, size_t *size_bytes);
void ts_words_clear(TsWords *words);
void ts_words_free(TsWords *words);

typedef struct TsPretokenizer TsPretokenizer;

/* From the JSON of a tokenizer.json; NULL and JSON's null give one that leaves a text whole. An unknown kind is an
 * error that lists those there are. Owned by the caller: ts_pretokenizer_free. */
TS_MUST_USE TsStatus ts_pretokenizer_create(TsPretokenizer **pretokenizer, const json_t *json);

/* Sets *pretokenizer to NULL; NULL is fine. */
void ts_pretokenizer_free(TsPretokenizer **pretokenizer);

/* Whether its words are taken as bytes: there is a ByteLevel among its steps. */
bool ts_pretokenizer_of_bytes(const TsPretokenizer *pretokenizer);

/* Adds the words of text[0, text_bytes) to `words`; `begins`: nothing of the text is before it. */
void ts_pretokenizer_cut(const TsPretokenizer *pretokenizer, TsWords *words, const char *text, size_t text_bytes,
                         bool begins);
