/* SPDX-License-Identifier: Apache-2.0 */
#include "data/wordpiece.h"

#include "base/memory.h"
#include "base/text.h"
#include "data/unicode.h"

/* The longest piece that begins at word[at]; sets *end behind it. -1: none. */
static int32_t longest(const TsWordPiece *pieces, size_t *end, TsText *name, const char *word, size_t word_bytes,
                       size_t at)
{
    for (*end = word_bytes; *end > at; --*end) {
        if (*end < word_bytes && ((unsigned char)word[*end] & 0xc0) == 0x80)
            continue; /* in the middle of a character */
        ts_text_cut(name, 0);
        ts_text_append(name, "%s", at ? pieces->prefix : "");
        ts_text_append_bytes(name, word + at, *end - at);
        int32_t token = ts_vocabulary_find(pieces->vocabulary, name->data, name->size_bytes);
        if (token >= 0)
            return token;
    }
    return -1;
}

void ts_wordpiece_encode(const TsWordPiece *pieces, const char *word, size_t word_bytes, TsTokenSink *sink,
                         void *context)
{
    int64_t characters = 0;
    for (size_t at = 0; at < word_bytes && characters <= pieces->most_characters; characters++) {
        int32_t character;
        at += ts_unicode_next(&character, word + at, word_bytes - at);
    }
    if (characters > pieces->most_characters) {
        sink(context, pieces->unknown);
        return;
    }
    TsText name = {0};
    int32_t *token = ts_alloc((word_bytes + 1) * sizeof *token);
    int64_t count = 0;
    for (size_t at = 0, end; at < word_bytes; at = end) {
        token[count] = longest(pieces, &end, &name, word, word_bytes, at);
        if (token[count++] < 0) {
            token[0] = pieces->unknown;
            count = 1;
            break;
        }
    }
    for (int64_t i = 0; i < count; i++)
        sink(context, token[i]);
    ts_free(token);
    ts_text_free(&name);
}
