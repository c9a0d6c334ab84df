/* SPDX-License-Identifier: Apache-2.0
 *
 * Vocabulary: the bytes of each token, and the token of given bytes. Numbers may have gaps; bytes may hold zeros.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TsVocabulary TsVocabulary;

TsVocabulary *ts_vocabulary_create(void);

/* Sets *vocabulary to NULL; NULL is fine. */
void ts_vocabulary_free(TsVocabulary **vocabulary);

/* The bytes are copied. False, and nothing is added, where the number or the bytes are there already or the number is
 * negative or above 2^24. */
bool ts_vocabulary_add(TsVocabulary *vocabulary, const char *bytes, size_t size_bytes, int32_t token);

/* The token of these bytes, or -1. */
int32_t ts_vocabulary_find(const TsVocabulary *vocabulary, const char *bytes, size_t size_bytes);

/* The bytes of a token, borrowed, with a NUL after them; NULL and 0 where there is no such token. */
const char *ts_vocabulary_bytes(const TsVocabulary *vocabulary, int32_t token, size_t *size_bytes);

/* The largest number, plus 1. */
int64_t ts_vocabulary_size(const TsVocabulary *vocabulary);
