/* SPDX-License-Identifier: Apache-2.0
 *
 * Unicode: what tokenizers ask of characters, answered by utf8proc. Text is UTF-8 that may be broken: a byte that
 * begins no valid sequence counts as a character of its own, TS_UNICODE_BROKEN, and is passed through everywhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum { TS_UNICODE_BROKEN = -1 };

/* The character at the beginning of text[0, text_bytes), which is not empty; its bytes, at least 1. */
size_t ts_unicode_next(int32_t *character, const char *text, size_t text_bytes);

void ts_unicode_append(TsText *text, int32_t character);

bool ts_unicode_is_space(int32_t character);       /* White_Space */
bool ts_unicode_is_punctuation(int32_t character); /* general category P */
bool ts_unicode_is_symbol(int32_t character);      /* S */
bool ts_unicode_is_other(int32_t character);       /* C: control, format, unassigned, private */
bool ts_unicode_is_number(int32_t character);      /* N */
bool ts_unicode_is_mark(int32_t character);        /* M: what belongs to the character before it */
bool ts_unicode_is_accent(int32_t character);      /* Mn: a mark that takes no room */
bool ts_unicode_is_chinese(int32_t character);     /* the blocks of CJK ideographs, as BERT's */

/* Appends it in lower case, which may be more than one character. */
void ts_unicode_append_lower(TsText *text, int32_t character);

typedef enum TsUnicodeForm { TS_UNICODE_NFC, TS_UNICODE_NFD, TS_UNICODE_NFKC, TS_UNICODE_NFKD } TsUnicodeForm;

/* Appends the normal form of text[0, text_bytes); Unicode Standard Annex 15. */
void ts_unicode_append_normal(TsText *out, const char *text, size_t text_bytes, TsUnicodeForm form);
