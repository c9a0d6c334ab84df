/* SPDX-License-Identifier: Apache-2.0
 *
 * Event file: what TensorBoard reads: numbers, texts and histograms by tag and step.
 *
 * A file is records, each
 *
 *     uint64  bytes of the data          little-endian
 *     uint32  masked CRC-32C of those 8 bytes
 *     data    an Event (events.proto), by protobuf
 *     uint32  masked CRC-32C of the data
 *
 * A masked CRC is ((crc >> 15) | (crc << 17)) + 0xa282ead8. The first record names the version, the second says from
 * which step on this file counts. A file that ends in the midst of a record is read up to there. Not collective: one
 * rank writes.
 */
#pragma once

#include <stdint.h>

#include "base/status.h"

typedef struct TsEventFile TsEventFile;

/* A new file in `dir`, which is made if it is missing, from `step` on. Owned by the caller. */
TS_MUST_USE TsStatus ts_event_file_create(TsEventFile **file, const char *dir, int64_t step);

/* Flushes. Sets *file to NULL; NULL is fine. */
void ts_event_file_close(TsEventFile **file);

/* Adds to what the next flush writes, all for `step`. Strings are copied. */
void ts_event_file_scalar(TsEventFile *file, int64_t step, const char *tag, double value);
void ts_event_file_text(TsEventFile *file, int64_t step, const char *tag, const char *text);

/* Buckets: counts[i] values are at most limits[i] and above limits[i - 1]. */
typedef struct TsEventHistogram {
    double least, most, count, sum, sum_squares;
    int buckets;
    const double *limits, *counts; /* (buckets) */
} TsEventHistogram;
void ts_event_file_histogram(TsEventFile *file, int64_t step, const char *tag, TsEventHistogram histogram);

/* Writes what was added, to where other processes see it. After an error nothing more is written. */
TS_MUST_USE TsStatus ts_event_file_flush(TsEventFile *file);

/* The mask of a CRC; for readers. */
uint32_t ts_event_mask(uint32_t crc);
