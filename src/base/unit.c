/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unit.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Unit {
    const char *name;
    double scale;
} Unit;

static const Unit byte_units[] = {{"B", 1},           {"kB", 1e3},           {"MB", 1e6},
                                  {"GB", 1e9},        {"TB", 1e12},          {"KiB", 1024.0},
                                  {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
                                  {NULL, 0}};

static const Unit second_units[] = {{"s", 1},    {"ms", 1e-3}, {"min", 60}, {"m", 60},
                                    {"h", 3600}, {"d", 86400}, {NULL, 0}};

static const char *const interval_units[TS_INTERVAL_UNITS] = {
    [TS_NEVER] = "never",   [TS_STEPS] = "steps",       [TS_SECONDS] = "seconds",
    [TS_EPOCHS] = "epochs", [TS_EXAMPLES] = "examples", [TS_TOKENS] = "tokens"};

enum { LONGEST_NUMBER = 64 };
static const double exact_limit = 9007199254740992.0; /* 2^53: up to there a double holds every whole number */

/* Reads the number at the beginning of the text; *rest is what follows it and spaces. strtod alone takes "0x1p3", "nan"
 * and the decimal comma of a locale. */
static bool read_number(double *value, const char **rest, const char *text)
{
    char digits[LONGEST_NUMBER + 1];
    size_t kept = 0, at = 0, mantissa_digits = 0;
    bool point = false;
    if (text[at] == '+' || text[at] == '-')
        digits[kept++] = text[at++];
    if (strncmp(text + at, "inf", 3) == 0 || strncmp(text + at, ".inf", 4) == 0) {
        *value = text[0] == '-' ? -INFINITY : INFINITY;
        *rest = text + at + (text[at] == '.' ? 4 : 3);
        return true;
    }
    for (; kept < LONGEST_NUMBER; at++) {
        if (isdigit((unsigned char)text[at]))
            mantissa_digits++;
        else if (text[at] == '.' && !point)
            point = true;
        else if (text[at] == '_' && mantissa_digits && isdigit((unsigned char)text[at + 1]))
            continue;
        else
            break;
        digits[kept++] = text[at];
    }
    if (!mantissa_digits)
        return false;
    size_t sign = text[at + (text[at] != 0)] == '+' || text[at + (text[at] != 0)] == '-';
    if ((text[at] == 'e' || text[at] == 'E') && isdigit((unsigned char)text[at + 1 + sign])) {
        size_t exponent = at;
        for (at += 1 + sign; isdigit((unsigned char)text[at]); at++) {
        }
        if (kept + at - exponent > LONGEST_NUMBER)
            return false;
        memcpy(digits + kept, text + exponent, at - exponent);
        kept += at - exponent;
    }
    digits[kept] = '\0';
    char *end;
    *value = strtod(digits, &end);
    while (text[at] == ' ')
        at++;
    *rest = text + at;
    return *end == '\0';
}

/* Whether `rest` is nothing, or the unit, with or without its final s. */
static bool is_unit(const char *rest, const char *unit)
{
    if (!*rest || !unit)
        return !*rest;
    size_t bytes = strlen(unit);
    return strcmp(rest, unit) == 0 ||
           (bytes > 1 && unit[bytes - 1] == 's' && strlen(rest) == bytes - 1 && memcmp(rest, unit, bytes - 1) == 0);
}

/* Whole numbers exactly: a double holds only 15 digits. */
static bool read_digits(int64_t *value, const char **rest, const char *text)
{
    size_t at = text[0] == '-' || text[0] == '+', digits = 0;
    int64_t sum = 0;
    for (;; at++) {
        if (isdigit((unsigned char)text[at])) {
            digits++;
            if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, text[at] - '0', &sum))
                return false;
        } else if (text[at] != '_' || !digits || !isdigit((unsigned char)text[at + 1])) {
            break;
        }
    }
    if (!digits || text[at] == '.' || ((text[at] == 'e' || text[at] == 'E') && !isalpha((unsigned char)text[at + 1])))
        return false;
    while (text[at] == ' ')
        at++;
    *rest = text + at;
    *value = text[0] == '-' ? -sum : sum;
    return true;
}

bool ts_unit_read_int(int64_t *value, const char *text, const char *unit)
{
    const char *rest;
    int64_t whole;
    double real;
    if (!read_digits(&whole, &rest, text)) {
        if (!read_number(&real, &rest, text) || fabs(real) > exact_limit || real != floor(real))
            return false;
        whole = (int64_t)real;
    }
    if (!is_unit(rest, unit))
        return false;
    *value = whole;
    return true;
}

bool ts_unit_read_real(double *value, const char *text, const char *unit)
{
    const char *rest;
    double real;
    if (!read_number(&real, &rest, text) || !is_unit(rest, unit))
        return false;
    *value = real;
    return true;
}

static const Unit *find_unit(const Unit *units, const char *name)
{
    for (; units->name; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

bool ts_unit_read_bytes(int64_t *value, const char *text)
{
    const char *rest;
    int64_t whole;
    double real;
    if (read_digits(&whole, &rest, text) && !*rest && whole >= 0) {
        *value = whole;
        return true;
    }
    if (!read_number(&real, &rest, text))
        return false;
    const Unit *unit = find_unit(byte_units, *rest ? rest : "B");
    if (!unit || !(real >= 0) || real * unit->scale >= 0x1p63 || real * unit->scale != floor(real * unit->scale))
        return false;
    *value = (int64_t)(real * unit->scale);
    return true;
}

bool ts_unit_read_seconds(double *value, const char *text)
{
    const char *rest;
    double real;
    if (!read_number(&real, &rest, text))
        return false;
    const Unit *unit = find_unit(second_units, *rest ? rest : "s");
    if (!unit || !(real >= 0))
        return false;
    *value = real * unit->scale;
    return true;
}

bool ts_unit_read_interval(TsInterval *value, const char *text)
{
    if (strcmp(text, interval_units[TS_NEVER]) == 0) {
        *value = (TsInterval){0};
        return true;
    }
    const char *rest;
    double count;
    if (strncmp(text, "every ", 6) == 0)
        text += 6;
    if (!read_number(&count, &rest, text) || !(count > 0) || isinf(count))
        return false;
    if (*rest && ts_unit_read_seconds(&count, text)) {
        *value = (TsInterval){TS_SECONDS, count};
        return count > 0;
    }
    for (TsIntervalUnit unit = TS_STEPS; unit < TS_INTERVAL_UNITS; unit++) {
        if (!is_unit(rest, interval_units[unit]))
            continue;
        bool counts_whole = unit != TS_SECONDS && unit != TS_EPOCHS;
        if (counts_whole && (count != floor(count) || count > exact_limit))
            return false;
        *value = (TsInterval){unit, count};
        return true;
    }
    return false;
}

void ts_unit_write_real(TsText *out, double value)
{
    char digits[40];
    if (isinf(value)) {
        ts_text_append(out, value < 0 ? "-inf" : "inf");
        return;
    }
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    ts_text_append(out, "%s", digits);
}

void ts_unit_write_bytes(TsText *out, int64_t value)
{
    static const char *const names[] = {"TiB", "GiB", "MiB", "KiB"};
    for (int i = 0; i < 4; i++) {
        int64_t scale = (int64_t)1 << (40 - 10 * i);
        if (value >= scale && value % scale == 0) {
            ts_text_append(out, "%lld %s", (long long)(value / scale), names[i]);
            return;
        }
    }
    ts_text_append(out, "%lld", (long long)value);
}

void ts_unit_write_seconds(TsText *out, double value)
{
    if (isinf(value)) {
        ts_unit_write_real(out, value);
        return;
    }
    static const Unit shown[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}, {NULL, 0}};
    const Unit *unit = shown;
    while (unit->scale > 1 && !(value >= unit->scale && fmod(value, unit->scale) == 0))
        unit++;
    double count = value / unit->scale;
    bool exact = count * unit->scale == value;
    ts_unit_write_real(out, exact ? count : value);
    ts_text_append(out, " %s", exact ? unit->name : "s");
}

void ts_unit_write_interval(TsText *out, TsInterval value)
{
    if (value.unit == TS_NEVER || value.unit == TS_SECONDS) {
        if (value.unit == TS_NEVER)
            ts_text_append(out, "never");
        else
            ts_unit_write_seconds(out, value.count);
        return;
    }
    ts_unit_write_real(out, value.count);
    ts_text_append(out, " %s", interval_units[value.unit]);
}
