/* SPDX-License-Identifier: Apache-2.0 */
#include "data/windows.h"

#include "base/check.h"
#include "base/memory.h"

struct TsWindows {
    const TsSource *source;       /* borrowed */
    const TsTokenizer *tokenizer; /* borrowed */
    int64_t first_byte;           /* of the part in the source */
    int64_t tokens;               /* of the part; as many bytes */
    int64_t length;               /* T */
};

/* Where a split falls: the same byte for the end of one part and the beginning of the next. */
static int64_t split_byte(const TsSource *source, double fraction)
{
    int64_t bytes = (int64_t)ts_source_bytes(source);
    int64_t at = (int64_t)(fraction * (double)bytes);
    return at < bytes ? at : bytes;
}

TsStatus ts_windows_create(TsWindows **windows, const TsSource *source, const TsTokenizer *tokenizer,
                           TsWindowsOptions options)
{
    double begin = options.begin, end = options.end == 0 ? 1 : options.end;
    int64_t length = options.length_tokens;
    if (!(begin >= 0 && begin < end && end <= 1))
        return ts_status_error(TS_CODE_INVALID, "%s: the part from %g to %g: expected 0 <= begin < end <= 1",
                               ts_source_path(source), begin, end);
    if (length < 1)
        return ts_status_error(TS_CODE_INVALID, "windows of %lld tokens: expected at least 1", (long long)length);
    if (ts_tokenizer_token_bytes(tokenizer) != 1)
        return ts_status_error(TS_CODE_UNSUPPORTED, "%s: plain text is cut into windows of bytes only",
                               ts_source_path(source));
    int64_t first = split_byte(source, begin);
    int64_t tokens = split_byte(source, end) - first;
    if (tokens < length + 1)
        return ts_status_error(
            TS_CODE_INVALID, "%s: the part from %g to %g has %lld tokens: a window of %lld and its label need %lld",
            ts_source_path(source), begin, end, (long long)tokens, (long long)length, (long long)length + 1);
    *windows = ts_alloc(sizeof **windows);
    **windows =
        (TsWindows){.source = source, .tokenizer = tokenizer, .first_byte = first, .tokens = tokens, .length = length};
    return TS_OK;
}

void ts_windows_free(TsWindows **windows)
{
    ts_free(*windows);
    *windows = NULL;
}

int64_t ts_windows_count(const TsWindows *windows)
{
    return (windows->tokens - 1 + windows->length - 1) / windows->length;
}

int64_t ts_windows_length(const TsWindows *windows)
{
    return windows->length;
}

int64_t ts_windows_tokens(const TsWindows *windows)
{
    return windows->tokens;
}

size_t ts_windows_bytes(const TsWindows *windows)
{
    return (size_t)windows->tokens;
}

/* Writes the tokens [from, from + count) of the part, and `beyond` where the part has ended. */
static void read_tokens(const TsWindows *windows, int32_t *tokens, int64_t from, int64_t count, int32_t beyond)
{
    enum { PIECE_BYTES = 4096 };
    char text[PIECE_BYTES];
    int64_t there = windows->tokens - from;
    there = there < 0 ? 0 : there < count ? there : count;
    for (int64_t done = 0; done < there; done += PIECE_BYTES) { /* a token is a byte: pieces can be cut anywhere */
        int64_t piece = there - done < PIECE_BYTES ? there - done : PIECE_BYTES;
        ts_source_read(windows->source, text, (size_t)(windows->first_byte + from + done), (size_t)piece);
        ts_tokenizer_encode(windows->tokenizer, tokens + done, piece, text, (size_t)piece);
    }
    for (int64_t i = there; i < count; i++)
        tokens[i] = beyond;
}

void ts_windows_read(const TsWindows *windows, int32_t *tokens, int32_t *labels, int64_t index, int64_t first,
                     int64_t count)
{
    TS_CHECK(index >= 0 && index < ts_windows_count(windows), "window %lld of %lld", (long long)index,
             (long long)ts_windows_count(windows));
    TS_CHECK(first >= 0 && count >= 0 && first + count <= windows->length, "positions %lld..%lld of %lld",
             (long long)first, (long long)(first + count), (long long)windows->length);
    int64_t from = index * windows->length + first;
    read_tokens(windows, tokens, from, count, 0);
    read_tokens(windows, labels, from + 1, count, TS_LABEL_IGNORED);
}

static void fill_row(const void *self, void *const *row, int64_t length, int64_t example, int64_t draw)
{
    (void)draw;
    int32_t *tokens = row[0], *labels = row[1];
    *(float *)row[2] = example < 0 ? 0 : 1;
    if (example >= 0) {
        ts_windows_read(self, tokens, labels, example, 0, length);
        return;
    }
    for (int64_t i = 0; i < length; i++) {
        tokens[i] = 0;
        labels[i] = TS_LABEL_IGNORED;
    }
}

TsRows ts_windows_rows(const TsWindows *windows)
{
    static const TsRowColumn columns[] = {
        {"tokens", TS_I32, TS_ROW_LENGTH}, {"labels", TS_I32, TS_ROW_LENGTH}, {"weights", TS_F32, 0}};
    return (TsRows){.count = ts_windows_count(windows),
                    .columns = columns,
                    .column_count = sizeof columns / sizeof *columns,
                    .self = windows,
                    .fill = fill_row};
}
