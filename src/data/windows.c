/* SPDX-License-Identifier: Apache-2.0 */
#include "data/windows.h"

#include "base/check.h"
#include "base/memory.h"

enum { TOKENS, LABELS, WEIGHTS, BYTES, SEGMENTS, POSITIONS, COLUMNS };

static const TsRowColumn all_columns[COLUMNS] = {[TOKENS] = {"tokens", TS_I32, TS_ROW_LENGTH},
                                                 [LABELS] = {"labels", TS_I32, TS_ROW_LENGTH},
                                                 [WEIGHTS] = {"weights", TS_F32, 0},
                                                 [BYTES] = {"bytes", TS_F32, 0},
                                                 [SEGMENTS] = {"segments", TS_I32, TS_ROW_LENGTH},
                                                 [POSITIONS] = {"positions", TS_I32, TS_ROW_LENGTH}};

struct TsWindows {
    TsTokenStream stream;
    TsWindowsOptions options;
    int column_count; /* of all_columns, from the first on */
};

TsStatus ts_windows_create(TsWindows **windows, TsTokenStream stream, TsWindowsOptions options)
{
    long long length = options.length_tokens, tokens = stream.tokens;
    *windows = NULL;
    if (length < 1)
        return ts_status_error(TS_CODE_INVALID, "windows of %lld tokens: expected at least 1", length);
    if (!options.may_be_short && tokens < length + 1)
        return ts_status_error(TS_CODE_INVALID, "%s has %lld tokens: a window of %lld and its label need %lld",
                               stream.name, tokens, length, length + 1);
    if (tokens < 2)
        return ts_status_error(TS_CODE_INVALID, "%s has %lld tokens: one and its label need 2", stream.name, tokens);
    TS_CHECK(!options.apart || stream.bytes, "%s: documents are kept apart, and it has none", stream.name);
    *windows = ts_alloc(sizeof **windows);
    **windows = (TsWindows){.stream = stream,
                            .options = options,
                            .column_count = options.apart  ? COLUMNS
                                            : stream.bytes ? BYTES + 1
                                                           : WEIGHTS + 1};
    return TS_OK;
}

void ts_windows_free(TsWindows **windows)
{
    ts_free(*windows);
    *windows = NULL;
}

int64_t ts_windows_count(const TsWindows *windows)
{
    return (windows->stream.tokens - 1 + windows->options.length_tokens - 1) / windows->options.length_tokens;
}

int64_t ts_windows_length(const TsWindows *windows)
{
    return windows->options.length_tokens;
}

/* How many of `count` tokens from `first` on there are. */
static int64_t there_of(const TsWindows *windows, int64_t first, int64_t count)
{
    int64_t there = windows->stream.tokens - first;
    return there < 0 ? 0 : there < count ? there : count;
}

/* Where a row's columns go; segments and positions may be NULL, both of them. */
typedef struct Row {
    int32_t *tokens, *labels, *segments, *positions;
} Row;

/* So many positions of a row are read at a time: on the stack, as a row is read in each step. */
enum { PIECE = 512 };

/* Positions [from, from + count) of a row that begins at token `first` of the stream; count is at most PIECE. */
static void read_piece(const TsWindows *windows, const Row *row, int64_t first, int64_t from, int64_t count)
{
    int32_t tokens[PIECE + 1], documents[PIECE + 1] = {0};
    bool given[PIECE + 1] = {false};
    TsStreamPiece piece = {.tokens = tokens, .given = given, .documents = documents};
    int64_t there = there_of(windows, first + from, count + 1); /* with the last one's label */
    if (there > 0)
        windows->stream.read(windows->stream.self, piece, first + from, there);
    for (int64_t k = 0, i = from; k < count; k++, i++) {
        bool labelled = k + 1 < there && !given[k + 1] && (!windows->options.apart || documents[k + 1] == documents[k]);
        row->tokens[i] = k < there ? tokens[k] : 0;
        row->labels[i] = labelled ? tokens[k + 1] : TS_LABEL_IGNORED;
        if (!row->segments)
            continue;
        row->segments[i] = k < there ? documents[k] : -1; /* padding is of none */
        row->positions[i] = i > 0 && row->segments[i] == row->segments[i - 1] ? row->positions[i - 1] + 1 : 0;
    }
}

/* Tokens [first, first + count) of the stream. */
static void read(const TsWindows *windows, Row row, int64_t first, int64_t count)
{
    for (int64_t from = 0; from < count; from += PIECE)
        read_piece(windows, &row, first, from, count - from < PIECE ? count - from : PIECE);
}

static int64_t first_of(const TsWindows *windows, int64_t index)
{
    TS_CHECK(index >= 0 && index < ts_windows_count(windows), "window %lld of %lld", (long long)index,
             (long long)ts_windows_count(windows));
    return index * windows->options.length_tokens;
}

void ts_windows_read(const TsWindows *windows, int32_t *tokens, int32_t *labels, int64_t index, int64_t first,
                     int64_t count)
{
    int64_t begin = first_of(windows, index);
    TS_CHECK(first >= 0 && count >= 0 && first + count <= windows->options.length_tokens,
             "positions %lld..%lld of %lld", (long long)first, (long long)(first + count),
             (long long)windows->options.length_tokens);
    read(windows, (Row){.tokens = tokens, .labels = labels}, begin + first, count);
}

double ts_windows_bytes(const TsWindows *windows, int64_t index)
{
    int64_t first = first_of(windows, index) + 1;
    if (!windows->stream.bytes)
        return 0;
    return windows->stream.bytes(windows->stream.self, first, there_of(windows, first, windows->options.length_tokens));
}

static void fill_row(const void *self, void *const *row, int64_t length, int64_t example, int64_t draw)
{
    const TsWindows *windows = self;
    bool apart = windows->options.apart;
    (void)draw;
    *(float *)row[WEIGHTS] = example < 0 ? 0 : 1;
    if (windows->stream.bytes)
        *(float *)row[BYTES] = example < 0 ? 0 : (float)ts_windows_bytes(windows, example);
    read(windows,
         (Row){.tokens = row[TOKENS],
               .labels = row[LABELS],
               .segments = apart ? row[SEGMENTS] : NULL,
               .positions = apart ? row[POSITIONS] : NULL},
         example < 0 ? windows->stream.tokens : first_of(windows, example), length);
}

TsRows ts_windows_rows(const TsWindows *windows)
{
    return (TsRows){.count = ts_windows_count(windows),
                    .columns = all_columns,
                    .column_count = windows->column_count,
                    .self = windows,
                    .fill = fill_row};
}
