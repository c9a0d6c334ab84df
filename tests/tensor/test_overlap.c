/* ranks: 2 3 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * What a timeline shows of the overlap of messages and work: gradients are reduced while the backward pass computes,
 * also that of the last micro-batch alone; parameters are gathered while the layer before computes, and given up.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "tensor/batch.h"
#include "tensor/ops.h"
#include "tensor/program.h"
#include "tensor/timeline.h"
#include "test.h"

enum { LAYERS = 8, ROWS = 12, WIDTH = 48, KERNEL_BYTES = WIDTH * WIDTH * 4, MOST_EVENTS = 1024 };

static const char *layer_name(char *name, const char *what, int layer)
{
    sprintf(name, "%s/%d", what, layer);
    return name;
}

/* tanh(… tanh(x W0) W1 …), of which the sum of squares, and the gradients. Kernels lie at rest as they say. */
static TsGraph *trace(bool at_rest)
{
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_shard(ts_replicated, 0, TS_AXIS_DATA), 0, TS_AXIS_MICRO);
    TsPlacement rest = at_rest ? ts_shard(ts_replicated, 0, TS_AXIS_DATA) : ts_replicated;
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(ROWS, WIDTH), rows), of[LAYERS], d[LAYERS];
    char name[32];
    for (int i = 0; i < LAYERS; i++) {
        ts_graph_set_path(graph, layer_name(name, "net", i));
        of[i] = ts_parameter(graph, layer_name(name, "kernel", i), TS_F32, ts_shape(WIDTH, WIDTH), rest);
        x = ts_tanh(ts_dot(x, of[i], (TsDot){0}));
    }
    ts_graph_set_path(graph, "loss");
    ts_gradients(d, ts_sum(ts_mul(x, x), -1, false), of, LAYERS);
    for (int i = 0; i < LAYERS; i++)
        ts_output(layer_name(name, "d_kernel", i), d[i], rest);
    return graph;
}

/* ---- one run, as its timeline tells it ---- */

typedef struct Event {
    double begin, end; /* microseconds */
    char kind[16], name[40];
    int layer; /* -1: none */
    bool backward;
} Event;

typedef struct Story {
    Event event[MOST_EVENTS]; /* of this rank */
    int events;
    size_t arena_bytes;
} Story;

static void read_story(Story *story, const char *path)
{
    json_t *file = json_load_file(path, 0, NULL), *event;
    size_t i;
    CU_ASSERT_PTR_NOT_NULL(file);
    json_array_foreach(json_object_get(file, "traceEvents"), i, event)
    {
        json_t *arguments = json_object_get(event, "args");
        const char *layer = json_string_value(json_object_get(arguments, "layer"));
        if (strcmp(json_string_value(json_object_get(event, "ph")), "X") != 0 || story->events == MOST_EVENTS ||
            json_integer_value(json_object_get(event, "pid")) != ts_group_rank(test_world))
            continue;
        Event *kept = &story->event[story->events++];
        *kept = (Event){.begin = json_number_value(json_object_get(event, "ts")), .layer = -1};
        kept->end = kept->begin + json_number_value(json_object_get(event, "dur"));
        kept->backward = json_object_get(arguments, "pass") != NULL;
        if (layer && strncmp(layer, "net/", 4) == 0)
            kept->layer = atoi(layer + 4);
        snprintf(kept->kind, sizeof kept->kind, "%s", json_string_value(json_object_get(event, "cat")));
        snprintf(kept->name, sizeof kept->name, "%s", json_string_value(json_object_get(event, "name")));
    }
    json_decref(file);
    CU_ASSERT(story->events > 0 && story->events < MOST_EVENTS);
}

/* The same path on all ranks. */
static const char *file_name(void)
{
    static char path[64];
    int64_t pid = getpid();
    ts_broadcast(test_world, (TsTransfer){.out = &pid, .in = &pid, .count_elems = 1, .dtype = TS_I64, .label = "test"},
                 0);
    snprintf(path, sizeof path, "/tmp/tessera-overlap-%d.json", (int)pid);
    return path;
}

/* The second run, of which each rank reads what it did. Owned by the caller. */
static Story *tell(bool at_rest, TsCompileOptions options)
{
    Story *story = ts_calloc(1, sizeof *story);
    TsMesh *mesh = NULL;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size = {[TS_AXIS_DATA] = ts_group_size(test_world)}}));
    TsBatch *arrays = ts_batch_create();
    TsProgram *program = NULL;
    options.mesh = mesh;
    options.bucket_bytes = KERNEL_BYTES;
    TEST_OK(ts_program_compile(&program, trace(at_rest), options));
    for (int i = 0; i < ts_program_bindings(program); i++) {
        TsBinding binding = ts_program_binding(program, i);
        bool is_batch = binding.kind == TS_BIND_INPUT;
        ts_batch_put(arrays, binding.name,
                     ts_array_create(mesh, binding.dtype, binding.shape, binding.placement,
                                     (TsArrayOptions){.micros = is_batch ? options.micros : 0}));
        ts_program_bind(program, binding.name, ts_batch_find(arrays, binding.name));
    }
    ts_program_run(program);
    TsTimeline *timeline = ts_timeline_start(test_world);
    ts_program_record(program, timeline);
    ts_program_run(program);
    const char *path = file_name();
    TEST_OK(ts_timeline_write(timeline, path)); /* all ranks wait for it */
    read_story(story, path);
    ts_barrier(test_world, "test"); /* and for all to have read it */
    if (ts_group_rank(test_world) == 0)
        remove(path);
    story->arena_bytes = ts_program_arena_bytes(program);
    ts_timeline_free(&timeline);
    ts_program_free(&program);
    ts_batch_free(&arrays);
    ts_mesh_free(&mesh);
    return story;
}

static bool is(const Event *event, const char *kind, const char *name, bool backward)
{
    return strcmp(event->kind, kind) == 0 && strncmp(event->name, name, strlen(name)) == 0 &&
           event->backward == backward;
}

/* When the last kernel of a direction began, and how many there were of that name. */
static double last_begin(const Story *story, const char *name, bool backward, int *count)
{
    double last = -1;
    *count = 0;
    for (int i = 0; i < story->events; i++)
        if (is(&story->event[i], "kernel", name, backward)) {
            last = story->event[i].begin > last ? story->event[i].begin : last;
            ++*count;
        }
    return last;
}

/* Collectives of that name and direction that began in [from, to]; *all: how many there are. */
static int begun_within(const Story *story, const char *name, double from, double to, int *all)
{
    int count = 0;
    *all = 0;
    for (int i = 0; i < story->events; i++)
        if (is(&story->event[i], "collective", name, true)) {
            count += story->event[i].begin >= from && story->event[i].begin <= to;
            ++*all;
        }
    return count;
}

/* ---- cases ---- */

static void gradients_are_reduced_while_the_backward_pass_computes(void)
{
    int kernels, all;
    Story *whole = tell(false, (TsCompileOptions){.mesh = NULL});
    double last = last_begin(whole, "dot", true, &kernels);
    CU_ASSERT(kernels >= 2 * LAYERS - 1);
    CU_ASSERT(begun_within(whole, "all_reduce", 0, last, &all) >= LAYERS - 1);
    CU_ASSERT_EQUAL(all, LAYERS);
    ts_free(whole);
    Story *cut = tell(true, (TsCompileOptions){.scatter_first = true});
    last = last_begin(cut, "dot", true, &kernels);
    CU_ASSERT(begun_within(cut, "reduce_scatter", 0, last, &all) >= LAYERS - 1);
    CU_ASSERT_EQUAL(all, LAYERS);
    ts_free(cut);
}

/* One reduction a step, within the backward pass of the last micro-batch; cut gradients: one for each. */
static void sums_of_micro_batches_are_reduced_in_the_last_one(void)
{
    enum { MICROS = 3 };
    int kernels, all;
    Story *whole = tell(false, (TsCompileOptions){.micros = MICROS});
    double last = last_begin(whole, "dot", true, &kernels), forward = last_begin(whole, "dot", false, &all);
    CU_ASSERT(kernels >= MICROS * (2 * LAYERS - 1));
    CU_ASSERT_EQUAL(all, MICROS * LAYERS);
    CU_ASSERT(begun_within(whole, "all_reduce", forward, last, &all) >= LAYERS - 1);
    CU_ASSERT_EQUAL(all, LAYERS);
    ts_free(whole);
    Story *cut = tell(true, (TsCompileOptions){.micros = MICROS, .scatter_first = true});
    last = last_begin(cut, "dot", true, &kernels);
    CU_ASSERT(begun_within(cut, "reduce_scatter", 0, last, &all) >= MICROS * LAYERS - 1);
    CU_ASSERT_EQUAL(all, MICROS * LAYERS);
    ts_free(cut);
}

/* When the first event of that kind, name, layer and direction began; -1: there is none. */
static double begin_of(const Story *story, const char *kind, const char *name, int layer, bool backward)
{
    for (int i = 0; i < story->events; i++)
        if (is(&story->event[i], kind, name, backward) && story->event[i].layer == layer)
            return story->event[i].begin;
    return -1;
}

/* In both directions, while the layer before computes: what was gathered for the one is not kept for the other. */
static void parameters_are_gathered_ahead(void)
{
    Story *story = tell(true, (TsCompileOptions){.scatter_first = true});
    for (int layer = 1; layer < LAYERS; layer++) {
        double gather = begin_of(story, "collective", "all_gather", layer, false);
        CU_ASSERT(gather >= 0 && gather < begin_of(story, "kernel", "dot", layer - 1, false));
        double back = begin_of(story, "collective", "all_gather", layer, true);
        CU_ASSERT(back >= 0 && back < begin_of(story, "kernel", "dot", layer, true));
    }
    ts_free(story);
}

static TsMeshShape along_data(int ranks)
{
    return (TsMeshShape){.size = {[TS_AXIS_DATA] = ranks}};
}

/* The arena of `layers` kernels of (width, width) that lie at rest on two ranks, in those kernels; with a table of so
 * many kernels' rows, from which the inputs come and which makes logits. */
static double arena_of(int layers, int width, int table_kernels)
{
    TsMesh *mesh = ts_mesh_describe(along_data(2), 0);
    TsGraph *graph = ts_graph_create();
    TsPlacement rows = ts_shard(ts_replicated, 0, TS_AXIS_DATA);
    int batch = table_kernels ? 64 : 2; /* with so few, the table's gradient would not move, but they */
    TsTensor ids = ts_input(graph, "ids", TS_I32, ts_shape(batch), rows), of[64], d[64];
    TsTensor x = ts_input(graph, "x", TS_F32, ts_shape(batch, width), rows);
    char name[32];
    ts_graph_set_path(graph, "table");
    of[layers] = ts_parameter(graph, "table", TS_F32, ts_shape((1 + table_kernels) * width, width), rows);
    if (table_kernels)
        x = ts_add(x, ts_take(of[layers], ids));
    for (int i = 0; i < layers; i++) {
        ts_graph_set_path(graph, layer_name(name, "net", i));
        of[i] = ts_parameter(graph, layer_name(name, "kernel", i), TS_F32, ts_shape(width, width), rows);
        x = ts_tanh(ts_dot(x, of[i], (TsDot){0}));
    }
    if (table_kernels) {
        ts_graph_set_path(graph, "table");
        TsTensor logits = ts_dot(x, of[layers], (TsDot){.transpose_b = true});
        x = ts_cross_entropy(logits, ids, (TsCrossEntropy){.ignore = -1});
    }
    ts_gradients(d, ts_sum(ts_mul(x, x), -1, false), of, layers + (table_kernels > 0));
    for (int i = 0; i < layers + (table_kernels > 0); i++)
        ts_output(layer_name(name, "d_kernel", i), d[i], rows);
    TsProgram *program = NULL;
    TEST_OK(ts_program_compile(&program, graph, (TsCompileOptions){.mesh = mesh, .scatter_first = true}));
    double kernels = (double)ts_program_arena_bytes(program) / (4.0 * width * width);
    ts_program_free(&program);
    ts_mesh_free(&mesh);
    return kernels;
}

/* However many layers there are: those that are gathered, and the gradient under way, are few. Kernels here are larger
 * than what is gathered ahead. */
static void what_is_whole_does_not_grow_with_the_layers(void)
{
    double few = arena_of(6, 3072, 0), many = arena_of(24, 3072, 0);
    CU_ASSERT(few < 3.1 && many < 3.1);
    CU_ASSERT(many - few < 0.1);
    double tied = arena_of(24, 3072, 7); /* the gradient of the table does not wait while the layers are gathered */
    CU_ASSERT(tied < 9.5);
}

TEST_MAIN("overlap",
          {"gradients are reduced while the backward pass computes",
           gradients_are_reduced_while_the_backward_pass_computes},
          {"sums of micro-batches are reduced in the last one", sums_of_micro_batches_are_reduced_in_the_last_one},
          {"parameters are gathered ahead", parameters_are_gathered_ahead},
          {"what is whole does not grow with the layers", what_is_whole_does_not_grow_with_the_layers})
