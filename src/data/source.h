/* SPDX-License-Identifier: Apache-2.0
 *
 * Source: a plain text file, mapped into memory, so that each rank touches only the pages that it reads.
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
const char *ts_source_text(const TsSource *source); /* not zero-terminated */
size_t ts_source_bytes(const TsSource *source);
