/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/event_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/events.pb-c.h"

enum { STRINGS = 7, START = 1 };

struct TsEventFile {
    FILE *file; /* NULL after an error */
    char *path;
    TsEvents__Value **values; /* (count) that the next flush writes; owned */
    size_t count, capacity;
    int64_t step; /* of them */
};

uint32_t ts_event_mask(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- records ---- */

static void put_u32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static void put_u64(unsigned char *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static TsStatus fail(TsEventFile *file)
{
    TsStatus status = ts_status_error(TS_CODE_IO, "%s: %s", file->path, strerror(errno));
    if (file->file)
        fclose(file->file);
    file->file = NULL;
    return status;
}

static TsStatus write_event(TsEventFile *file, TsEvents__Event *event)
{
    event->wall_time = wall_time();
    size_t bytes = ts_events__event__get_packed_size(event);
    unsigned char *data = ts_alloc(bytes + 1), head[12], tail[4];
    ts_events__event__pack(event, data);
    put_u64(head, bytes);
    put_u32(head + 8, ts_event_mask(ts_crc32c(0, head, 8)));
    put_u32(tail, ts_event_mask(ts_crc32c(0, data, bytes)));
    bool good = fwrite(head, sizeof head, 1, file->file) == 1 && fwrite(data, 1, bytes, file->file) == bytes &&
                fwrite(tail, sizeof tail, 1, file->file) == 1;
    ts_free(data);
    return good ? TS_OK : fail(file);
}

/* ---- values ---- */

static TsEvents__Value *add_value(TsEventFile *file, int64_t step, const char *tag)
{
    if (file->count == file->capacity) {
        file->capacity = file->capacity ? 2 * file->capacity : 32;
        file->values = ts_realloc(file->values, file->capacity * sizeof *file->values);
    }
    TsEvents__Value *value = ts_alloc(sizeof *value);
    ts_events__value__init(value);
    value->tag = ts_strdup(tag);
    file->values[file->count++] = value;
    file->step = step;
    return value;
}

static void free_tensor(TsEvents__Tensor *tensor)
{
    ts_free(tensor->string_val[0].data);
    ts_free(tensor->string_val);
    ts_free(tensor->tensor_shape->dim[0]);
    ts_free(tensor->tensor_shape->dim);
    ts_free(tensor->tensor_shape);
    ts_free(tensor);
}

static void free_value(TsEvents__Value *value)
{
    ts_free(value->tag);
    if (value->value_case == TS_EVENTS__VALUE__VALUE_HISTO) {
        ts_free(value->histo->bucket_limit);
        ts_free(value->histo->bucket);
        ts_free(value->histo);
    } else if (value->value_case == TS_EVENTS__VALUE__VALUE_TENSOR) {
        free_tensor(value->tensor);
        ts_free(value->metadata->plugin_data->plugin_name);
        ts_free(value->metadata->plugin_data);
        ts_free(value->metadata);
    }
    ts_free(value);
}

static void drop_values(TsEventFile *file)
{
    for (size_t i = 0; i < file->count; i++)
        free_value(file->values[i]);
    file->count = 0;
}

void ts_event_file_scalar(TsEventFile *file, int64_t step, const char *tag, double value)
{
    TsEvents__Value *added = add_value(file, step, tag);
    added->value_case = TS_EVENTS__VALUE__VALUE_SIMPLE_VALUE;
    added->simple_value = (float)value;
}

void ts_event_file_text(TsEventFile *file, int64_t step, const char *tag, const char *text)
{
    TsEvents__Value *added = add_value(file, step, tag);
    TsEvents__Tensor *tensor = ts_alloc(sizeof *tensor);
    ts_events__tensor__init(tensor);
    tensor->dtype = STRINGS;
    tensor->n_string_val = 1;
    tensor->string_val = ts_alloc(sizeof *tensor->string_val);
    tensor->string_val[0] = (ProtobufCBinaryData){strlen(text), (uint8_t *)ts_strdup(text)};
    tensor->tensor_shape = ts_alloc(sizeof *tensor->tensor_shape);
    ts_events__shape__init(tensor->tensor_shape);
    tensor->tensor_shape->n_dim = 1;
    tensor->tensor_shape->dim = ts_alloc(sizeof *tensor->tensor_shape->dim);
    tensor->tensor_shape->dim[0] = ts_alloc(sizeof **tensor->tensor_shape->dim);
    ts_events__dim__init(tensor->tensor_shape->dim[0]);
    tensor->tensor_shape->dim[0]->size = 1;
    added->value_case = TS_EVENTS__VALUE__VALUE_TENSOR;
    added->tensor = tensor;
    added->metadata = ts_alloc(sizeof *added->metadata);
    ts_events__metadata__init(added->metadata);
    added->metadata->plugin_data = ts_alloc(sizeof *added->metadata->plugin_data);
    ts_events__plugin_data__init(added->metadata->plugin_data);
    added->metadata->plugin_data->plugin_name = ts_strdup("text");
}

static double *copy_of(const double *values, int count)
{
    double *copy = ts_calloc((size_t)count + 1, sizeof *copy);
    for (int i = 0; i < count; i++)
        copy[i] = values[i];
    return copy;
}

void ts_event_file_histogram(TsEventFile *file, int64_t step, const char *tag, TsEventHistogram histogram)
{
    TsEvents__Value *added = add_value(file, step, tag);
    TsEvents__Histogram *made = ts_alloc(sizeof *made);
    ts_events__histogram__init(made);
    made->min = histogram.least;
    made->max = histogram.most;
    made->num = histogram.count;
    made->sum = histogram.sum;
    made->sum_squares = histogram.sum_squares;
    made->n_bucket_limit = made->n_bucket = (size_t)histogram.buckets;
    made->bucket_limit = copy_of(histogram.limits, histogram.buckets);
    made->bucket = copy_of(histogram.counts, histogram.buckets);
    added->value_case = TS_EVENTS__VALUE__VALUE_HISTO;
    added->histo = made;
}

/* ---- files ---- */

static TsStatus write_head(TsEventFile *file, int64_t step)
{
    TsEvents__Event version = TS_EVENTS__EVENT__INIT, start = TS_EVENTS__EVENT__INIT;
    TsEvents__SessionLog session = TS_EVENTS__SESSION_LOG__INIT;
    version.what_case = TS_EVENTS__EVENT__WHAT_FILE_VERSION;
    version.file_version = "brain.Event:2";
    session.status = START;
    start.step = step;
    start.what_case = TS_EVENTS__EVENT__WHAT_SESSION_LOG;
    start.session_log = &session;
    TS_TRY(write_event(file, &version));
    TS_TRY(write_event(file, &start));
    return fflush(file->file) == 0 ? TS_OK : fail(file);
}

TsStatus ts_event_file_create(TsEventFile **file, const char *dir, int64_t step)
{
    char host[128] = "host";
    gethostname(host, sizeof host - 1);
    *file = NULL;
    TS_TRY(ts_file_make_directory(dir));
    TsEventFile *made = ts_calloc(1, sizeof *made);
    for (int number = 0; !made->file; number++) { /* two starts in one second have two files */
        ts_free(made->path);
        made->path = ts_format("%s/events.out.tfevents.%010lld.%s.%lld.%d", dir, (long long)time(NULL), host,
                               (long long)getpid(), number);
        made->file = fopen(made->path, "wbx");
        if (!made->file && errno != EEXIST)
            break;
    }
    TsStatus status = made->file ? write_head(made, step) : fail(made);
    if (status)
        ts_event_file_close(&made);
    *file = made;
    return status;
}

void ts_event_file_close(TsEventFile **file)
{
    if (!*file)
        return;
    TsStatus status = ts_event_file_flush(*file);
    ts_status_free(&status); /* nobody is left to be told */
    if ((*file)->file)
        fclose((*file)->file);
    drop_values(*file);
    ts_free((*file)->values);
    ts_free((*file)->path);
    ts_free(*file);
    *file = NULL;
}

TsStatus ts_event_file_flush(TsEventFile *file)
{
    TsStatus status = TS_OK;
    if (file->file && file->count) {
        TsEvents__Summary summary = TS_EVENTS__SUMMARY__INIT;
        TsEvents__Event event = TS_EVENTS__EVENT__INIT;
        summary.n_value = file->count;
        summary.value = file->values;
        event.step = file->step;
        event.what_case = TS_EVENTS__EVENT__WHAT_SUMMARY;
        event.summary = &summary;
        status = write_event(file, &event);
        if (!status && fflush(file->file) != 0)
            status = fail(file);
    }
    drop_values(file);
    return status;
}
