/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms of Arrays that lie on several ranks count each value once: as TensorBoard reads them, they are those of
 * the whole arrays.
 */
#include "task/run/spread.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "task/events.pb-c.h"
#include "test.h"

static bool is_root(void)
{
    return ts_group_rank(test_world) == 0;
}

/* The histograms of the only event file of a run, by their tags; other ranks than rank 0 find none. */
typedef struct Found {
    TsEvents__Event *event[8];
    int count;
} Found;

static void read_file(Found *found, const char *path)
{
    char *bytes = NULL;
    size_t size = 0;
    TEST_OK(ts_file_read(&bytes, &size, path, 1 << 20));
    for (size_t at = 0; bytes && at + 16 <= size && found->count < 8;) {
        uint64_t length;
        memcpy(&length, bytes + at, sizeof length); /* framing and checksums are test_event_file's */
        found->event[found->count++] = ts_events__event__unpack(NULL, length, (unsigned char *)bytes + at + 12);
        at += 16 + length;
    }
    ts_free(bytes);
}

static void find(Found *found, const char *run)
{
    char *dir = ts_format("%s/summaries/train", run);
    DIR *opened = opendir(dir);
    for (struct dirent *entry; opened && (entry = readdir(opened));)
        if (strstr(entry->d_name, "tfevents")) {
            char *path = ts_format("%s/%s", dir, entry->d_name);
            read_file(found, path);
            unlink(path);
            ts_free(path);
        }
    if (opened)
        closedir(opened);
    rmdir(dir);
    ts_free(dir);
    dir = ts_format("%s/summaries", run);
    rmdir(dir);
    rmdir(run);
    ts_free(dir);
}

static const TsEvents__Histogram *histogram_of(const Found *found, const char *tag)
{
    for (int i = 0; i < found->count; i++) {
        const TsEvents__Event *event = found->event[i];
        bool sums_up = event && event->what_case == TS_EVENTS__EVENT__WHAT_SUMMARY;
        for (size_t k = 0; sums_up && k < event->summary->n_value; k++)
            if (strcmp(event->summary->value[k]->tag, tag) == 0)
                return event->summary->value[k]->histo;
    }
    return NULL;
}

/* That a histogram is that of `count` finite values. */
static void expect_histogram(const TsEvents__Histogram *histogram, const double *values, int count)
{
    double least = INFINITY, most = -INFINITY, sum = 0, sum_squares = 0, counted = 0;
    CU_ASSERT_PTR_NOT_NULL(histogram);
    if (!histogram)
        return;
    for (int i = 0; i < count; i++) {
        least = fmin(least, values[i]);
        most = fmax(most, values[i]);
        sum += values[i];
        sum_squares += values[i] * values[i];
    }
    CU_ASSERT_EQUAL(histogram->min, least);
    CU_ASSERT_EQUAL(histogram->max, most);
    CU_ASSERT_DOUBLE_EQUAL(histogram->num, count, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(histogram->sum, sum, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(histogram->sum_squares, sum_squares, 1e-9);
    for (size_t b = 0; b < histogram->n_bucket; b++) { /* up to each limit, but for values next to one */
        double below = 0, close = 0;
        counted += histogram->bucket[b];
        for (int i = 0; i < count; i++) {
            close += fabs(values[i] - histogram->bucket_limit[b]) < 1e-6;
            below += values[i] < histogram->bucket_limit[b] - 1e-6;
        }
        CU_ASSERT(counted > below - 1e-9 && counted < below + close + 1e-9);
    }
    CU_ASSERT_DOUBLE_EQUAL(counted, count, 1e-9);
}

static void each_value_counts_once(void)
{
    enum { ROWS = 7, COLUMNS = 3 };
    char run[64] = "/tmp/tessera-spread.XXXXXX";
    static const char *const names[] = {"lm"};
    double whole[ROWS * COLUMNS];
    TsSummaries *summaries = NULL;
    TsMesh *mesh = NULL;
    if (is_root())
        CU_ASSERT_PTR_NOT_NULL(mkdtemp(run));
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size[TS_AXIS_DATA] = ts_group_size(test_world)}));
    TEST_OK(ts_summaries_create(&summaries, test_world, run, names, 1, 0));
    TsBatch *arrays = ts_batch_create();
    TsArray *cut = ts_array_create(mesh, TS_F32, ts_shape(ROWS, COLUMNS), ts_shard(ts_replicated, 0, TS_AXIS_DATA),
                                   (TsArrayOptions){0});
    for (int64_t i = 0; i < ts_array_local_elems(cut); i++)
        ((float *)cut->data)[i] = (float)(cut->block.first[0] * COLUMNS + i) - 5;
    for (int i = 0; i < ROWS * COLUMNS; i++)
        whole[i] = i - 5;
    TsArray *copied = ts_array_create(mesh, TS_F64, ts_shape(4), ts_replicated, (TsArrayOptions){0});
    memcpy(copied->data, (double[]){1, 1.5, NAN, 3}, 4 * sizeof(double));
    TsArray *nothing = ts_array_create(mesh, TS_F32, ts_shape(2), ts_replicated, (TsArrayOptions){0});
    memcpy(nothing->data, (float[]){NAN, INFINITY}, 2 * sizeof(float));
    ts_batch_put(arrays, "cut", cut);
    ts_batch_put(arrays, "copied", copied);
    ts_batch_put(arrays, "nothing", nothing);
    ts_spread_report(summaries, test_world, arrays, 3);
    ts_summaries_flush(summaries);
    ts_summaries_free(&summaries);
    if (is_root()) {
        Found found = {.count = 0};
        find(&found, run);
        expect_histogram(histogram_of(&found, "histograms/cut"), whole, ROWS * COLUMNS);
        expect_histogram(histogram_of(&found, "histograms/copied"), (double[]){1, 1.5, 3}, 3);
        CU_ASSERT_PTR_NULL(histogram_of(&found, "histograms/nothing"));
        for (int i = 0; i < found.count; i++)
            ts_events__event__free_unpacked(found.event[i], NULL);
    }
    ts_batch_free(&arrays);
    ts_mesh_free(&mesh);
}

TEST_MAIN("spread", {"each value counts once", each_value_counts_once})
