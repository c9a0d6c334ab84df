/* SPDX-License-Identifier: Apache-2.0
 *
 * Source: a plain text file that stays open, of which each rank reads only the parts that it needs. It is read, not
 * mapped: where the file shrinks or its file system fails, that is an error with the file's name and not a SIGBUS.
 */
#pragma once

#include <stddef.h>

#include "comm/group.h"

typedef struct TsSource TsSource;

/* Opens the file `path`. Fails, alike on all ranks, where it is missing, not a regular file, not readable, empty, or
 * of another size than rank 0 sees. Collective on group, which is not kept. Same on all ranks: path.
 * Owned by the caller: ts_source_free. */
TS_MUST_USE TsStatus ts_source_open_text(TsSource **source, TsGroup *group, const char *path);

/* Not collective. Sets *source to NULL; NULL is fine. */
void ts_source_free(TsSource **source);

/* Borrowed until ts_source_free. */
const char *ts_source_path(const TsSource *source);
size_t ts_source_bytes(const TsSource *source);

/* Copies the bytes [first, first + bytes) of the file to `text`. A file that cannot be read any more, or has become
 * shorter than it was when opened, aborts the job. Not collective; safe from any thread. */
void ts_source_read(const TsSource *source, char *text, size_t first, size_t bytes);
