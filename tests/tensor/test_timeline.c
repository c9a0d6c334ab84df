/* ranks: 1 2 3 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/timeline.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "tensor/batch.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "test.h"

/* A file name that is the same on all ranks. */
static const char *file_name(void)
{
    static char path[64];
    int32_t words[sizeof path / 4] = {0};
    snprintf(path, sizeof path, "/tmp/tessera-timeline-%d.json", (int)getpid());
    memcpy(words, path, sizeof path);
    ts_broadcast(
        test_world,
        (TsTransfer){.out = words, .in = words, .count_elems = sizeof path / 4, .dtype = TS_I32, .label = "test"}, 0);
    memcpy(path, words, sizeof path);
    return path;
}

enum { ROWS = 6, COLUMNS = 4, MAX_EVENTS = 4096 };

/* sum over the data ranks of x^T x, twice: a kernel and a collective with a path. */
static TsProgram *create_program(const TsMesh *mesh, TsBatch *arrays)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    ts_graph_set_path(graph, "net/\"first\"");
    TsTensor x = ts_input(graph, "x", TS_F64, ts_shape(ROWS, COLUMNS), rows);
    ts_output("sum", ts_sum(ts_mul(x, x), 1 << 0, false), ts_replicated);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh}));
    ts_batch_put(arrays, "x", ts_array_create(mesh, TS_F64, ts_shape(ROWS, COLUMNS), rows, (TsArrayOptions){0}));
    ts_batch_put(arrays, "sum", ts_array_create(mesh, TS_F64, ts_shape(COLUMNS), ts_replicated, (TsArrayOptions){0}));
    for (int i = 0; i < ts_batch_count(arrays); i++)
        ts_program_bind(program, ts_batch_name(arrays, i), ts_batch_array(arrays, i));
    return program;
}

typedef struct Span {
    double begin, end;
} Span;

/* Whether spans of one thread lie beside or inside one another, as viewers want them. */
static bool nest(const Span *span, int count)
{
    const double rounding = 0.002; /* microseconds, of the text */
    for (int a = 0; a < count; a++)
        for (int b = 0; b < count; b++)
            if (span[a].begin < span[b].begin - rounding && span[b].begin < span[a].end - rounding &&
                span[a].end < span[b].end - rounding)
                return false;
    return true;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Checks the file; gives how many kernels and collectives of `rank` it has. */
static void check_rank(json_t *events, int rank, int *kernels, int *collectives)
{
    static Span span[4][MAX_EVENTS];
    int spans[4] = {0}, names = 0;
    size_t i;
    json_t *event;
    json_array_foreach(events, i, event)
    {
        json_int_t thread = json_integer_value(json_object_get(event, "tid"));
        json_t *arguments = json_object_get(event, "args");
        CU_ASSERT_TRUE(json_is_integer(json_object_get(event, "pid")) && thread >= 0 && thread < 4);
        if (json_integer_value(json_object_get(event, "pid")) != rank)
            continue;
        if (strcmp(text_of(event, "ph"), "M") == 0) {
            names += strcmp(text_of(arguments, "name"), "compute") == 0;
            names += strcmp(text_of(arguments, "name"), "communication") == 0;
            continue;
        }
        CU_ASSERT_STRING_EQUAL(text_of(event, "ph"), "X");
        double begin = json_number_value(json_object_get(event, "ts"));
        double length = json_number_value(json_object_get(event, "dur"));
        CU_ASSERT_TRUE(begin >= 0 && begin < 60e6 && length >= 0 && length < 60e6);
        CU_ASSERT_TRUE(spans[thread] < MAX_EVENTS);
        span[thread][spans[thread]++] = (Span){begin, begin + length};
        *kernels += strcmp(text_of(event, "cat"), "kernel") == 0;
        if (strcmp(text_of(event, "cat"), "collective") == 0) {
            (*collectives)++;
            double ranks = ts_group_size(test_world);
            CU_ASSERT_STRING_EQUAL(text_of(arguments, "axes"), "data");
            CU_ASSERT_STRING_EQUAL(text_of(arguments, "layer"), "net/\"first\"");
            CU_ASSERT_DOUBLE_EQUAL(json_number_value(json_object_get(arguments, "sent_bytes")),
                                   2 * COLUMNS * 8.0 * (ranks - 1) / ranks, 0.5);
            CU_ASSERT_TRUE(thread > 0);
        }
    }
    CU_ASSERT_EQUAL(names, 2);
    for (int thread = 0; thread < 4; thread++)
        CU_ASSERT_TRUE(nest(span[thread], spans[thread]));
}

static void all_ranks_are_in_the_file(void)
{
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}}));
    TsBatch *arrays = ts_batch_create();
    TsProgram *program = create_program(mesh, arrays);
    ts_program_run(program); /* not recorded */
    TsTimeline *timeline = ts_timeline_start(test_world);
    ts_program_record(program, timeline);
    double begin_s = ts_timeline_now();
    for (int run = 0; run < 3; run++)
        ts_program_run(program);
    ts_timeline_add(timeline, (TsTimelineEvent){.begin_s = begin_s,
                                                .end_s = ts_timeline_now(),
                                                .name = "runs",
                                                .category = "host",
                                                .lane = TS_LANE_COMPUTE});
    ts_program_record(program, NULL);
    int64_t allocations = ts_memory_usage().allocations;
    ts_program_run(program); /* nor this */
    CU_ASSERT_EQUAL(ts_memory_usage().allocations, allocations);
    const char *path = file_name();
    TEST_OK(ts_timeline_write(timeline, path));
    if (ts_group_rank(test_world) == 0) {
        json_error_t error;
        json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
        if (!file)
            fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        CU_ASSERT_PTR_NOT_NULL(file);
        for (int rank = 0; file && rank < ts_group_size(test_world); rank++) {
            int kernels = 0, collectives = 0;
            check_rank(json_object_get(file, "traceEvents"), rank, &kernels, &collectives);
            CU_ASSERT_TRUE(kernels >= 3 && kernels % 3 == 0);
            CU_ASSERT_EQUAL(collectives, ts_group_size(test_world) > 1 ? 3 : 0);
        }
        json_decref(file);
        remove(path);
    }
    ts_timeline_free(&timeline);
    ts_program_free(&program);
    ts_batch_free(&arrays);
    ts_mesh_free(&mesh);
}

static void says_where_it_cannot_write(void)
{
    TsTimeline *timeline = ts_timeline_start(test_world);
    TEST_ERROR(ts_timeline_write(timeline, "/tmp/there/is/no/such/folder/t.json"), "cannot be written");
    ts_timeline_free(&timeline);
}

TEST_MAIN("timeline", {"all ranks are in the file", all_ranks_are_in_the_file},
          {"says where it cannot write", says_where_it_cannot_write})
