/* SPDX-License-Identifier: Apache-2.0
 *
 * File: whole files and directories of this process, with errors that name the path.
 *
 * Nothing here is collective: a file that all ranks need is read by one and broadcast. Writing is atomic: a reader, or
 * a machine that loses power, sees the old file or the new one, never a part.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads the whole file; *bytes is owned by the caller, with a NUL after the last byte that is not counted. A file, pipe
 * or device with more than `most_bytes` is refused without reading more of it; directories are refused. NULL and 0
 * after an error. */
TS_MUST_USE TsStatus ts_file_read(char **bytes, size_t *size_bytes, const char *path, size_t most_bytes);

/* Writes PATH.tmp.PID, fsyncs and renames it, fsyncs the directory. Mode 0666 less the umask. */
TS_MUST_USE TsStatus ts_file_write(const char *path, const void *bytes, size_t size_bytes);

/* Makes the directory and those above it, and fsyncs the directories that these are made in; one that is there already
 * is fine. */
TS_MUST_USE TsStatus ts_file_make_directory(const char *path);

/* Renames, replacing what is there, and fsyncs the directory of `to`. */
TS_MUST_USE TsStatus ts_file_rename(const char *from, const char *to);

/* fsync of a file or of a directory, by its path. */
TS_MUST_USE TsStatus ts_file_sync(const char *path);

/* Removes a file, or a directory with all that is in it; symbolic links are removed, not followed. What is not there is
 * fine. */
TS_MUST_USE TsStatus ts_file_remove(const char *path);

bool ts_file_exists(const char *path);

/* DIR/NAME; owned by the caller. */
char *ts_file_join(const char *dir, const char *name) __attribute__((returns_nonnull));

/* The directory that `path` is in, "." for a bare name; owned by the caller. */
char *ts_file_directory(const char *path) __attribute__((returns_nonnull));
