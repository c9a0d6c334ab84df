/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalizer: what a tokenizer does to a text before it cuts it: normal forms, lower case, accents, replacements. The
 * steps are those of the `normalizer` of a tokenizer.json, with the same names and meaning.
 */
#pragma once

#include "base/text.h"

typedef struct json_t json_t;

typedef struct TsNormalizer TsNormalizer;

/* From the JSON of a tokenizer.json; NULL and JSON's null give one that changes nothing. An unknown kind is an error
 * that lists those there are. Owned by the caller: ts_normalizer_free. */
TS_MUST_USE TsStatus ts_normalizer_create(TsNormalizer **normalizer, const json_t *json);

/* Sets *normalizer to NULL; NULL is fine. */
void ts_normalizer_free(TsNormalizer **normalizer);

/* Appends the normalized text[0, text_bytes). */
void ts_normalizer_apply(const TsNormalizer *normalizer, TsText *out, const char *text, size_t text_bytes);
