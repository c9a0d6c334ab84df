/* SPDX-License-Identifier: Apache-2.0
 *
 * Text: a string that grows. What is appended stays contiguous and ends with a NUL, so `data` is always a C string.
 *
 *     TsText text = {0};
 *     ts_text_append(&text, "%d ranks", 4);
 *     puts(text.data);
 *     ts_text_free(&text);
 */
#pragma once

#include <stddef.h>

#include "base/status.h"

typedef struct TsText {
    char *data; /* owned; NULL as long as nothing was appended */
    size_t size_bytes, capacity_bytes;
} TsText;

/* printf to the end. */
void ts_text_append(TsText *text, const char *format, ...) TS_PRINTF(2, 3);

/* The bytes, which may contain NULs. */
void ts_text_append_bytes(TsText *text, const void *bytes, size_t size_bytes);

/* A piece of somebody's input for a message: in quotes, its first 60 bytes, on one line. */
void ts_text_append_shown(TsText *text, const char *input);

/* Cuts it back to `size_bytes`, which must not be more than there is. */
void ts_text_cut(TsText *text, size_t size_bytes);

/* Frees the string and makes the text empty. */
void ts_text_free(TsText *text);

/* Of `count` words, the one with the smallest edit distance to `word` (insertions, deletions, substitutions and swaps
 * of neighbours), if it is close enough to be what was meant; NULL if none is. Borrowed from `words`. */
const char *ts_text_nearest(const char *word, const char *const *words, size_t count);
