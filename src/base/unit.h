/* SPDX-License-Identifier: Apache-2.0
 *
 * Unit: numbers as people write them, "2 GiB", "12 h", "500 steps", and back.
 *
 * Readers return whether the text is such a number, and leave *value alone if it is not. A space between the number and
 * its unit may be left out. No locale: the decimal point is a point.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* "12", "-3", "1e6", "1_000_000": whole, and exact in an int64_t. With `unit`, "12 steps" for unit "steps" too. */
bool ts_unit_read_int(int64_t *value, const char *text, const char *unit);

/* "0.1", "3e-4", "inf"; not "nan". With `unit` as above. */
bool ts_unit_read_real(double *value, const char *text, const char *unit);

/* Bytes: "4096", "512 MB" (10^6), "2 GiB" (2^30); B, kB, MB, GB, TB, KiB, MiB, GiB, TiB. Not negative. */
bool ts_unit_read_bytes(int64_t *value, const char *text);

/* Seconds: "90", "250 ms", "30 s", "5 min" or "5 m", "12 h", "2 d". Not negative. */
bool ts_unit_read_seconds(double *value, const char *text);

typedef enum TsIntervalUnit {
    TS_NEVER,
    TS_STEPS,
    TS_SECONDS,
    TS_EPOCHS,
    TS_EXAMPLES,
    TS_TOKENS,
    TS_INTERVAL_UNITS
} TsIntervalUnit;

/* How often, or how long: a count of one unit. */
typedef struct TsInterval {
    TsIntervalUnit unit; /* TS_NEVER is the zero value */
    double count;        /* above 0, or 0 for TS_NEVER; whole for all but seconds and epochs */
} TsInterval;

/* "never", "500" and "500 steps", "12 h" (any unit of ts_unit_read_seconds), "2 epochs", "1e6 examples", "3e9 tokens";
 * units also without their final s, and "every " may stand before the number. */
bool ts_unit_read_interval(TsInterval *value, const char *text);

/* Appends the value in the shortest form that reads back to the same value. */
void ts_unit_write_real(TsText *out, double value);
void ts_unit_write_bytes(TsText *out, int64_t value);
void ts_unit_write_seconds(TsText *out, double value);
void ts_unit_write_interval(TsText *out, TsInterval value);
