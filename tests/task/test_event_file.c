/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Event files are read back: framing, checksums by a CRC of the test's own, and what the records say.
 */
#include "task/run/event_file.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/events.pb-c.h"
#include "test.h"

enum { MOST_EVENTS = 16 };

static TsEvents__Event *events[MOST_EVENTS];
static int event_count;

/* CRC-32C bit by bit, and TensorFlow's mask. */
static uint32_t masked_crc(const unsigned char *data, size_t bytes)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static uint64_t little(const unsigned char *data, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | data[i];
    return value;
}

/* The only file of a directory; owned by the caller. */
static char *only_file(const char *dir)
{
    DIR *opened = opendir(dir);
    char *path = NULL;
    for (struct dirent *entry; opened && (entry = readdir(opened));)
        if (strstr(entry->d_name, "tfevents")) {
            CU_ASSERT_PTR_NULL(path);
            path = ts_format("%s/%s", dir, entry->d_name);
        }
    if (opened)
        closedir(opened);
    return path;
}

static void read_events(const char *path)
{
    char *bytes = NULL;
    size_t size = 0, at = 0;
    event_count = 0;
    TEST_OK(ts_file_read(&bytes, &size, path, 1 << 20));
    while (bytes && at + 12 <= size && event_count < MOST_EVENTS) {
        const unsigned char *head = (unsigned char *)bytes + at;
        size_t length = (size_t)little(head, 8);
        CU_ASSERT_EQUAL(little(head + 8, 4), masked_crc(head, 8));
        CU_ASSERT(at + 12 + length + 4 <= size);
        if (at + 12 + length + 4 > size)
            break;
        CU_ASSERT_EQUAL(little(head + 12 + length, 4), masked_crc(head + 12, length));
        events[event_count] = ts_events__event__unpack(NULL, length, head + 12);
        CU_ASSERT_PTR_NOT_NULL(events[event_count]);
        at += 12 + length + 4;
        event_count += events[event_count] != NULL;
    }
    CU_ASSERT_EQUAL(at, size);
    ts_free(bytes);
}

static void free_events(void)
{
    for (int i = 0; i < event_count; i++)
        ts_events__event__free_unpacked(events[i], NULL);
    event_count = 0;
}

static void what_is_written_is_read(void)
{
    char dir[] = "/tmp/tessera-events.XXXXXX";
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(dir));
    TsEventFile *file = NULL;
    static const double limits[] = {-1, 0, 2.5}, counts[] = {1, 0, 4};
    TEST_OK(ts_event_file_create(&file, dir, 40));
    ts_event_file_scalar(file, 50, "loss", 2.5);
    ts_event_file_scalar(file, 50, "learning/rate", 1e-3);
    TEST_OK(ts_event_file_flush(file));
    TEST_OK(ts_event_file_flush(file)); /* nothing was added: nothing is written */
    ts_event_file_text(file, 60, "decoded", "a small ship");
    ts_event_file_histogram(file, 60, "parameters/bias",
                            (TsEventHistogram){.least = -2,
                                               .most = 2,
                                               .count = 5,
                                               .sum = 3,
                                               .sum_squares = 9,
                                               .buckets = 3,
                                               .limits = limits,
                                               .counts = counts});
    ts_event_file_scalar(file, 60, "loss", NAN);
    TEST_OK(ts_event_file_flush(file));
    char *path = only_file(dir);
    read_events(path); /* while it is open: what was flushed is there */
    CU_ASSERT_EQUAL(event_count, 4);
    if (event_count == 4) {
        CU_ASSERT_STRING_EQUAL(events[0]->file_version, "brain.Event:2");
        CU_ASSERT(events[0]->wall_time > 1.7e9);
        CU_ASSERT_EQUAL(events[1]->what_case, TS_EVENTS__EVENT__WHAT_SESSION_LOG);
        CU_ASSERT_EQUAL(events[1]->step, 40);
        CU_ASSERT_EQUAL(events[2]->step, 50);
        CU_ASSERT_EQUAL(events[2]->summary->n_value, 2);
        CU_ASSERT_STRING_EQUAL(events[2]->summary->value[0]->tag, "loss");
        CU_ASSERT_EQUAL(events[2]->summary->value[0]->simple_value, 2.5f);
        CU_ASSERT_STRING_EQUAL(events[2]->summary->value[1]->tag, "learning/rate");
        CU_ASSERT_EQUAL(events[2]->summary->value[1]->simple_value, 1e-3f);
        TsEvents__Value *text = events[3]->summary->value[0], *histogram = events[3]->summary->value[1];
        CU_ASSERT_STRING_EQUAL(text->metadata->plugin_data->plugin_name, "text");
        CU_ASSERT_EQUAL(text->tensor->dtype, 7);
        CU_ASSERT_EQUAL(text->tensor->string_val[0].len, 12);
        CU_ASSERT_EQUAL(memcmp(text->tensor->string_val[0].data, "a small ship", 12), 0);
        CU_ASSERT_EQUAL(histogram->histo->n_bucket, 3);
        CU_ASSERT_EQUAL(histogram->histo->bucket[2], 4);
        CU_ASSERT_EQUAL(histogram->histo->bucket_limit[2], 2.5);
        CU_ASSERT_EQUAL(histogram->histo->sum_squares, 9);
        CU_ASSERT(isnan(events[3]->summary->value[2]->simple_value));
    }
    free_events();
    ts_event_file_close(&file);
    unlink(path);
    ts_free(path);
    rmdir(dir);
}

static void what_cannot_be_made_is_said(void)
{
    TsEventFile *file = NULL;
    TEST_ERROR(ts_event_file_create(&file, "/proc/no/such", 0), "/proc/no");
    CU_ASSERT_PTR_NULL(file);
}

TEST_MAIN("event file", {"what is written is read", what_is_written_is_read},
          {"what cannot be made is said", what_cannot_be_made_is_said})
