/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/stream.h"

#include <string.h>

#include "data/unicode.h"

/* How long the character should be that begins with this byte. */
static size_t length_of(unsigned char lead)
{
    return lead >= 0xf0 && lead < 0xf5 ? 4 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xc2 && lead < 0xe0 ? 2 : 1;
}

/* Whether the bytes may be the beginning of a character that goes on behind them. */
static bool is_cut(const char *text, size_t text_bytes)
{
    if (length_of((unsigned char)text[0]) <= text_bytes)
        return false;
    for (size_t i = 1; i < text_bytes; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return false;
    return true;
}

size_t ts_text_append_utf8(TsText *out, const char *text, size_t text_bytes, bool more)
{
    size_t at = 0;
    while (at < text_bytes) {
        int32_t character;
        size_t bytes = ts_unicode_next(&character, text + at, text_bytes - at);
        if (character == TS_UNICODE_BROKEN && more && is_cut(text + at, text_bytes - at))
            break;
        if (character == TS_UNICODE_BROKEN)
            ts_text_append(out, "\xef\xbf\xbd");
        else
            ts_text_append_bytes(out, text + at, bytes);
        at += bytes;
    }
    return at;
}

/* How many bytes at the end of the text may be the beginning of a stop sequence. */
static size_t possible_stop(const TsTextStream *stream, const char *text, size_t text_bytes)
{
    size_t longest = 0;
    for (int i = 0; i < stream->stop_count; i++) {
        size_t stop = strlen(stream->stops[i]);
        for (size_t tail = stop < text_bytes + 1 ? stop - (stop > 0) : text_bytes; tail > longest; tail--)
            if (memcmp(text + text_bytes - tail, stream->stops[i], tail) == 0)
                longest = tail;
    }
    return longest;
}

void ts_text_stream_show(TsTextStream *stream, const char *text, bool more)
{
    size_t bytes = strlen(text);
    bytes -= more ? possible_stop(stream, text, bytes) : 0;
    if (bytes <= stream->printed_bytes)
        return;
    TsText shown = {0};
    stream->printed_bytes +=
        ts_text_append_utf8(&shown, text + stream->printed_bytes, bytes - stream->printed_bytes, more);
    if (shown.size_bytes) {
        fwrite(shown.data, 1, shown.size_bytes, stream->file);
        fflush(stream->file);
    }
    ts_text_free(&shown);
}
