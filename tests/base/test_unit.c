/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/unit.h"

static void whole_numbers(void)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-3", -3},
                {"+7", 7},
                {"1_000_000", 1000000},
                {"1e6", 1000000},
                {"2.5e1", 25},
                {"12 steps", 12},
                {"1 step", 1},
                {"12steps", 12},
                {"1E3", 1000},
                {"12   steps", 12},
                {"123456789012345678", 123456789012345678},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775807", -INT64_MAX}};
    static const char *const bad[] = {"",
                                      "-",
                                      "1.5",
                                      "0x10",
                                      "ten",
                                      "1e-1",
                                      "1 2",
                                      "12 tokens",
                                      "1_",
                                      "_1",
                                      "1e",
                                      "9999999999999999999",
                                      "nan",
                                      "inf",
                                      "1e400",
                                      "12 stepss",
                                      "--1",
                                      "1__0",
                                      "9223372036854775808",
                                      "18446744073709551616"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = -99;
        CU_ASSERT_TRUE(ts_unit_read_int(&value, good[i].text, "steps"));
        CU_ASSERT_EQUAL(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = -99;
        bool read = ts_unit_read_int(&value, bad[i], "steps");
        if (read)
            fprintf(stderr, "\"%s\" was read as %lld\n", bad[i], (long long)value);
        CU_ASSERT_FALSE(read);
        CU_ASSERT_EQUAL(value, -99);
    }
    int64_t value;
    CU_ASSERT_FALSE(ts_unit_read_int(&value, "12 steps", NULL));
}

static void real_numbers(void)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0.1", 0.1}, {"3e-4", 3e-4},    {"-2", -2},           {".5", 0.5},
                {"5.", 5},    {"inf", INFINITY}, {"-.inf", -INFINITY}, {"1_0.5", 10.5}};
    static const char *const bad[] = {"", "nan", ".", "1,5", "0x1p3", "e5", "1.2.3", "infinite", "1 h", "- 1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double value = -99;
        CU_ASSERT_TRUE(ts_unit_read_real(&value, good[i].text, NULL));
        CU_ASSERT_EQUAL(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double value = -99;
        bool read = ts_unit_read_real(&value, bad[i], NULL);
        if (read)
            fprintf(stderr, "\"%s\" was read as %g\n", bad[i], value);
        CU_ASSERT_FALSE(read);
        CU_ASSERT_EQUAL(value, -99);
    }
}

static void bytes(void)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"1 B", 1},
                {"2 GiB", (int64_t)2 << 30},
                {"2GiB", (int64_t)2 << 30},
                {"512 MB", 512000000},
                {"1.5 KiB", 1536},
                {"1 kB", 1000},
                {"3 TiB", (int64_t)3 << 40},
                {"9 TB", 9000000000000}};
    static const char *const bad[] = {"", "-1", "1 GB s", "2 Gib", "0.3 B", "9999999 TiB", "inf", "2 h"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = -99;
        CU_ASSERT_TRUE(ts_unit_read_bytes(&value, good[i].text));
        CU_ASSERT_EQUAL(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = -99;
        CU_ASSERT_FALSE(ts_unit_read_bytes(&value, bad[i]));
    }
}

static void seconds(void)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"90", 90},      {"250 ms", 0.25}, {"30 s", 30}, {"5 min", 300}, {"5m", 300},
                {"12 h", 43200}, {"2 d", 172800},  {"0", 0},     {"1.5 h", 5400}};
    static const char *const bad[] = {"", "-1", "1 hour", "12 H", "5 Mb", "h"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double value = -99;
        CU_ASSERT_TRUE(ts_unit_read_seconds(&value, good[i].text));
        CU_ASSERT_EQUAL(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double value = -99;
        CU_ASSERT_FALSE(ts_unit_read_seconds(&value, bad[i]));
    }
}

static void intervals(void)
{
    static const struct {
        const char *text, *written;
        TsInterval value;
    } good[] = {{"never", "never", {TS_NEVER, 0}},
                {"500", "500 steps", {TS_STEPS, 500}},
                {"500 steps", "500 steps", {TS_STEPS, 500}},
                {"1 step", "1 steps", {TS_STEPS, 1}},
                {"every 100 steps", "100 steps", {TS_STEPS, 100}},
                {"12 h", "12 h", {TS_SECONDS, 43200}},
                {"90 s", "90 s", {TS_SECONDS, 90}},
                {"3 seconds", "3 s", {TS_SECONDS, 3}},
                {"2.5 epochs", "2.5 epochs", {TS_EPOCHS, 2.5}},
                {"1e6 examples", "1e+06 examples", {TS_EXAMPLES, 1e6}},
                {"3000000001 tokens", "3000000001 tokens", {TS_TOKENS, 3000000001}}};
    static const char *const bad[] = {"",           "0",         "0 steps", "every",       "every never",
                                      "-5",         "1.5 steps", "inf",     "inf steps",   "0 h",
                                      "5 parsecs",  "steps",     "Never",   "1e300 steps", "9007199254740994 steps",
                                      "1e19 tokens"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        TsInterval value = {TS_INTERVAL_UNITS, -99}, again = value;
        TsText text = {0};
        CU_ASSERT_TRUE(ts_unit_read_interval(&value, good[i].text));
        CU_ASSERT(value.unit == good[i].value.unit && value.count == good[i].value.count);
        ts_unit_write_interval(&text, value);
        CU_ASSERT_STRING_EQUAL(text.data, good[i].written);
        CU_ASSERT_TRUE(ts_unit_read_interval(&again, text.data));
        CU_ASSERT(again.unit == value.unit && again.count == value.count);
        ts_text_free(&text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        TsInterval value;
        CU_ASSERT_FALSE(ts_unit_read_interval(&value, bad[i]));
    }
}

/* What is written reads back to the same value, also where no short form is exact. */
static void round_trips(void)
{
    static const double reals[] = {0,    0.1,       1.0 / 3, 3e-4,     1e300,
                                   -2.5, 123456789, 5e-324,  INFINITY, 0.30000000000000004};
    static const int64_t sizes[] = {
        0, 1, 1023, 1024, 1536, (int64_t)5 << 30, ((int64_t)1 << 40) + 1, INT64_C(123456789012345678)};
    static const double times[] = {0, 0.25, 1, 59, 60, 61, 5400, 86400, 1e9, 0.1, 1234.5678, INFINITY};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        TsText text = {0};
        double value;
        ts_unit_write_real(&text, reals[i]);
        CU_ASSERT(ts_unit_read_real(&value, text.data, NULL) && value == reals[i]);
        ts_text_free(&text);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        TsText text = {0};
        int64_t value;
        ts_unit_write_bytes(&text, sizes[i]);
        CU_ASSERT(ts_unit_read_bytes(&value, text.data) && value == sizes[i]);
        ts_text_free(&text);
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        TsText text = {0};
        double value;
        ts_unit_write_seconds(&text, times[i]);
        CU_ASSERT(ts_unit_read_seconds(&value, text.data) && value == times[i]);
        ts_text_free(&text);
    }
}

TEST_MAIN("unit", {"whole numbers", whole_numbers}, {"real numbers", real_numbers}, {"bytes", bytes},
          {"seconds", seconds}, {"intervals", intervals}, {"round trips", round_trips})
