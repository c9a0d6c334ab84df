/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows: the examples of language modelling. The tokens of a text, or of the part of it that a split takes, are cut
 * into windows of T: example i has tokens [i*T, i*T + T) as input and [i*T + 1, i*T + T + 1) as labels. Every token but
 * the first is a label once. The last window may be short: what lies beyond the text is token 0 with the label
 * TS_LABEL_IGNORED.
 */
#pragma once

#include "data/loader.h"
#include "data/source.h"
#include "data/tokenizer.h"

enum { TS_LABEL_IGNORED = -100 }; /* not counted in a loss or metric */

typedef struct TsWindows TsWindows;

typedef struct TsWindowsOptions {
    int64_t length_tokens; /* T, at least 1 */
    double begin, end;     /* the part of the text's bytes, 0 <= begin < end <= 1; end 0 counts as 1 */
} TsWindowsOptions;

/* The windows of a part of `source`; the splits {0, f} and {f, 1} share no byte and leave none out. Fails where the
 * part holds no whole window of T + 1 tokens: says how many it holds. Not collective; the same answer on all ranks.
 * Source and tokenizer are borrowed for the life of the windows. Owned by the caller: ts_windows_free. */
TS_MUST_USE TsStatus ts_windows_create(TsWindows **windows, const TsSource *source, const TsTokenizer *tokenizer,
                                       TsWindowsOptions options);

/* Sets *windows to NULL; NULL is fine. */
void ts_windows_free(TsWindows **windows);

/* How many examples there are, T, and the tokens and bytes of the part. */
int64_t ts_windows_count(const TsWindows *windows);
int64_t ts_windows_length(const TsWindows *windows);
int64_t ts_windows_tokens(const TsWindows *windows);
size_t ts_windows_bytes(const TsWindows *windows);

/* Writes positions [first, first + count) of example `index`: tokens (count), labels (count); 0 <= first, first + count
 * <= T. Not collective. */
void ts_windows_read(const TsWindows *windows, int32_t *tokens, int32_t *labels, int64_t index, int64_t first,
                     int64_t count);

/* Rows for a loader whose only length is T:
 *
 *   tokens   (B, T) i32
 *   labels   (B, T) i32   TS_LABEL_IGNORED where there is nothing to predict
 *   weights  (B)    f32   1, and 0 for rows beyond the last example
 *
 * Windows are borrowed for the life of the rows. */
TsRows ts_windows_rows(const TsWindows *windows);
