/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

static void reserve(TsText *text, size_t more_bytes)
{
    size_t needed;
    TS_CHECK(!__builtin_add_overflow(text->size_bytes, more_bytes, &needed) && needed < (size_t)PTRDIFF_MAX / 2,
             "a text of %zu and %zu more bytes", text->size_bytes, more_bytes);
    if (needed + 1 <= text->capacity_bytes)
        return;
    size_t capacity = 2 * text->capacity_bytes;
    if (capacity < needed + 1)
        capacity = needed + 1;
    text->data = ts_realloc(text->data, capacity);
    text->capacity_bytes = capacity;
}

void ts_text_append_bytes(TsText *text, const void *bytes, size_t size_bytes)
{
    reserve(text, size_bytes);
    if (size_bytes)
        memcpy(text->data + text->size_bytes, bytes, size_bytes);
    text->size_bytes += size_bytes;
    text->data[text->size_bytes] = '\0';
}

void ts_text_append(TsText *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    TS_CHECK(length >= 0, "a format that cannot be printed: %s", format);
    reserve(text, (size_t)length);
    vsnprintf(text->data + text->size_bytes, (size_t)length + 1, format, again);
    text->size_bytes += (size_t)length;
    va_end(again);
    va_end(arguments);
}

void ts_text_append_shown(TsText *text, const char *input)
{
    enum { SHOWN_BYTES = 60 };
    size_t bytes = strnlen(input, SHOWN_BYTES + 1), shown = bytes > SHOWN_BYTES ? SHOWN_BYTES : bytes;
    while (shown < bytes && shown > 0 &&
           ((unsigned char)input[shown] & 0xc0) == 0x80) /* not in the middle of a character */
        shown--;
    ts_text_append(text, "\"");
    for (size_t i = 0; i < shown; i++)
        ts_text_append_bytes(text, (unsigned char)input[i] < 0x20 || input[i] == 0x7f ? "?" : input + i, 1);
    ts_text_append(text, bytes > SHOWN_BYTES ? "...\"" : "\"");
}

void ts_text_cut(TsText *text, size_t size_bytes)
{
    TS_CHECK(size_bytes <= text->size_bytes, "cut to %zu of %zu bytes", size_bytes, text->size_bytes);
    text->size_bytes = size_bytes;
    if (text->data)
        text->data[size_bytes] = '\0';
}

void ts_text_free(TsText *text)
{
    ts_free(text->data);
    *text = (TsText){0};
}

enum { LONGEST_WORD = 64 }; /* beyond that nobody mistyped a name */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance: row i, i-1 and i-2 of the usual table. Both words have at most LONGEST_WORD bytes.
 */
static size_t edit_distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    size_t rows[3][LONGEST_WORD + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_bytes; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t substituted = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = smaller(substituted, smaller(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = smaller(now[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b_bytes];
}

const char *ts_text_nearest(const char *word, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX, word_bytes = strlen(word);
    if (word_bytes > LONGEST_WORD)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(words[i]);
        if (bytes > LONGEST_WORD)
            continue;
        size_t distance = edit_distance(word, word_bytes, words[i], bytes);
        size_t longer = bytes > word_bytes ? bytes : word_bytes;
        if (distance < best && distance <= (longer + 2) / 3 && distance < longer) {
            best = distance;
            nearest = words[i];
        }
    }
    return nearest;
}
