/* SPDX-License-Identifier: Apache-2.0
 *
 * Windows: the examples of language modelling. A stream of tokens is cut into windows of T: example i has the tokens
 * [i*T, i*T + T) as input and [i*T + 1, i*T + T + 1) as labels. Every token but the first is a label once. The last
 * window may be short: what lies beyond the stream is token 0 with the label TS_LABEL_IGNORED, as is the label of a
 * token that is given.
 *
 * Documents of a stream may be kept apart: then a window says of which document each token is and where it stands in
 * it, counted from where it begins in the window, and the first token of a document is no label.
 */
#pragma once

#include "data/loader.h"
#include "data/token_stream.h"

enum { TS_LABEL_IGNORED = -100 }; /* not counted in a loss or metric */

typedef struct TsWindows TsWindows;

typedef struct TsWindowsOptions {
    int64_t length_tokens; /* T, at least 1 */
    bool apart;            /* documents are kept apart */
    bool may_be_short;     /* the only window too; else T + 1 tokens are needed */
} TsWindowsOptions;

/* Fails where the stream holds no whole window of T + 1 tokens, or where it may be short no two tokens: says how many
 * it holds. Not collective; the same answer on all ranks. What the stream points to is borrowed for the life of the
 * windows. Owned by the caller: ts_windows_free. */
TS_MUST_USE TsStatus ts_windows_create(TsWindows **windows, TsTokenStream stream, TsWindowsOptions options);

/* Sets *windows to NULL; NULL is fine. */
void ts_windows_free(TsWindows **windows);

/* How many examples there are, and T. */
int64_t ts_windows_count(const TsWindows *windows);
int64_t ts_windows_length(const TsWindows *windows);

/* Writes positions [first, first + count) of example `index`: tokens (count), labels (count); 0 <= first, first + count
 * <= T. Not collective. */
void ts_windows_read(const TsWindows *windows, int32_t *tokens, int32_t *labels, int64_t index, int64_t first,
                     int64_t count);

/* The bytes of text that the labels of example `index` stand for, where the stream tells; else 0. */
double ts_windows_bytes(const TsWindows *windows, int64_t index);

/* Rows for a loader whose only length is T:
 *
 *   tokens     (B, T) i32
 *   labels     (B, T) i32   TS_LABEL_IGNORED where there is nothing to predict
 *   weights    (B)    f32   1, and 0 for rows beyond the last example
 *   bytes      (B)    f32   of text that is predicted; where the stream tells
 *   segments   (B, T) i32   the document of each token; where documents are kept apart
 *   positions  (B, T) i32   its place in it; likewise
 *
 * Windows are borrowed for the life of the rows. */
TsRows ts_windows_rows(const TsWindows *windows);
