/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable: files and directories that are still there after a power cut. Plain POSIX calls with their errors in words;
 * not collective.
 */
#pragma once

#include <stddef.h>

#include "base/status.h"

/* DIR/NAME; owned by the caller. */
char *ts_durable_join(const char *dir, const char *name);

/* Makes what was written into a file, or what was made, renamed and removed in a directory, last. */
TS_MUST_USE TsStatus ts_durable_sync(const char *path);

/* Makes the directory and those above it where they are missing, and makes them last. A path that is no directory is
 * an error. */
TS_MUST_USE TsStatus ts_durable_make_directory(const char *path);

/* Writes a new file, or a new content of one, and makes the content last; the name is its directory's affair. */
TS_MUST_USE TsStatus ts_durable_write(const char *path, const char *text, size_t text_bytes);

/* Reads a whole file, zero-terminated; owned by the caller. One longer than `limit_bytes` is an error. */
TS_MUST_USE TsStatus ts_durable_read(char **text, size_t *text_bytes, const char *path, size_t limit_bytes);
