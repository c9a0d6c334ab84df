/* SPDX-License-Identifier: Apache-2.0
 *
 * Stream: the bytes of a file, plain or gzipped, one after the other, with the place where one stands.
 *
 * Whether a file is gzipped is seen by its first bytes. Only a plain file can be begun in its middle. Not collective;
 * used by the readers of records.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct TsStream TsStream;

/* Opens a file; *gzipped (may be NULL) says what it is. Owned by the caller: ts_stream_close. */
TS_MUST_USE TsStatus ts_stream_open(TsStream **stream, const char *path, bool *gzipped);

/* Sets *stream to NULL; NULL is fine. */
void ts_stream_close(TsStream **stream);

/* Goes to a byte of the (unpacked) file. */
TS_MUST_USE TsStatus ts_stream_seek(TsStream *stream, int64_t byte);

/* The next byte, or -1 at the end, and where reading failed: ts_stream_status tells which. */
int ts_stream_next(TsStream *stream);

/* The byte that ts_stream_next will give, or -1. */
int ts_stream_peek(TsStream *stream);

/* How many bytes stand before the next one. */
int64_t ts_stream_position(const TsStream *stream);

/* The error that ended the stream, or success. Owned by the caller. */
TS_MUST_USE TsStatus ts_stream_status(const TsStream *stream);

/* Borrowed until the stream is closed. */
const char *ts_stream_path(const TsStream *stream);
