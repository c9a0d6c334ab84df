/* SPDX-License-Identifier: Apache-2.0
 *
 * Log: lines for people, with a level, and the rank where it is not rank 0.
 *
 * TS_LOG_INFO and below are printed by rank 0 alone, so that a job of a thousand ranks says a thing once; warnings and
 * errors are printed by whoever has them. Standard error gets the lines; a file gets them too, with the time, once
 * ts_log_open named one.
 */
#pragma once

#include "base/status.h"

typedef enum TsLogLevel { TS_LOG_DEBUG, TS_LOG_INFO, TS_LOG_WARNING, TS_LOG_ERROR } TsLogLevel;

/* One line, without its newline; what is beyond 4 KiB is left out, with "..." in its place. Safe from any thread. */
void ts_log(TsLogLevel level, const char *format, ...) TS_PRINTF(2, 3);

/* A line that the next one of its kind replaces, where standard error is a terminal as wide as it: at most 512 bytes,
 * of rank 0 alone. Other lines are printed above it. The file gets it as any line. ts_log_progress_end lets it stand.
 * Safe from any thread. */
void ts_log_progress(const char *line);
void ts_log_progress_end(void);

/* Below `level` nothing is printed; TS_LOG_INFO at the start. */
void ts_log_set_level(TsLogLevel level);

/* Which rank this process is; set by src/comm. Before that, rank 0. */
void ts_log_set_rank(int rank);
int ts_log_rank(void);

/* This machine's host name, up to the first dot; borrowed, never NULL. */
const char *ts_log_host(void);

/* Appends all further lines to the file too; NULL closes it. */
TS_MUST_USE TsStatus ts_log_open(const char *path);
