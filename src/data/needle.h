/* SPDX-License-Identifier: Apache-2.0
 *
 * Needle: what is looked for in a text, a pattern or bytes as they stand: {"Regex": ...} or {"String": ...} of
 * tokenizer.json. Used by the steps of normalizers and pre-tokenizers. Not collective.
 */
#pragma once

#include "base/pattern.h"

typedef struct json_t json_t;

typedef struct TsNeedle {
    TsPattern *pattern; /* owned; or */
    char *literal;      /* this, owned; both NULL: nothing is looked for */
} TsNeedle;

/* Reads it from the object's "pattern". `what` names the step in errors: "normalizer Replace". ts_needle_free follows
 * also where it fails. */
TS_MUST_USE TsStatus ts_needle_read(TsNeedle *needle, const json_t *json, const char *what);

void ts_needle_free(TsNeedle *needle);

bool ts_needle_is_there(const TsNeedle *needle);

/* The next place from `from` on where it is: text[*first, *end). False: none. */
bool ts_needle_find(const TsNeedle *needle, size_t *first, size_t *end, const char *text, size_t text_bytes,
                    size_t from);
