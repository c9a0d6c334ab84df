/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints of GPT-2 124 M with AdamW (1.5 GB) on 2 ranks, ZeRO-1: saving and restoring against dd on the same
 * directory, and what saving in the background costs the steps. Called by checkpoint.sh, which gives the directory.
 *
 * usage: checkpoint DIR PART    PART: save, verify, asynchronous, memory, restore
 * A step is what a data-parallel one is to the machine: matrix products in the processor's caches on every rank, and a
 * reduction between the ranks.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "ckpt/checkpoint.h"
#include "comm/collectives.h"
#include "comm/runtime.h"
#include "target.h"
#include "tensor/matmul.h"

enum { PAIRS = 5, LAYERS = 12, WIDTH = 768, VOCABULARY = 50257, CONTEXT = 1024 };

static TsGroup *world;
static TsMesh *mesh;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void expect_ok(TsStatus status)
{
    TS_CHECK(!status, "%s", ts_status_message(status));
}

static bool is_root(void)
{
    return ts_group_rank(world) == 0;
}

/* ---- the state ---- */

static void put_parameter(TsBatch *batch, const char *path, TsShape shape)
{
    static const char *const prefix[] = {"parameters", "optimizer/mean", "optimizer/variance"};
    for (int i = 0; i < 3; i++) {
        char *name = ts_format("%s/%s", prefix[i], path);
        TsPlacement placement = i == 0 ? ts_replicated : ts_shard(ts_replicated, 0, TS_AXIS_DATA);
        TsArray *array = ts_array_create(mesh, TS_F32, shape, placement, (TsArrayOptions){0});
        float *values = array->data;
        for (int64_t k = 0; k < ts_array_local_elems(array); k++)
            values[k] = (float)((k * 2654435761u) >> 8 & 0xffff) / 65536;
        ts_batch_put(batch, name, array);
        ts_free(name);
    }
}

static TsBatch *make_state(void)
{
    static const struct {
        const char *name;
        TsShape shape;
    } layer[] = {{"norm1/scale", {1, {WIDTH}}},
                 {"norm1/shift", {1, {WIDTH}}},
                 {"qkv/kernel", {2, {WIDTH, 3 * WIDTH}}},
                 {"qkv/bias", {1, {3 * WIDTH}}},
                 {"out/kernel", {2, {WIDTH, WIDTH}}},
                 {"out/bias", {1, {WIDTH}}},
                 {"norm2/scale", {1, {WIDTH}}},
                 {"norm2/shift", {1, {WIDTH}}},
                 {"up/kernel", {2, {WIDTH, 4 * WIDTH}}},
                 {"up/bias", {1, {4 * WIDTH}}},
                 {"down/kernel", {2, {4 * WIDTH, WIDTH}}},
                 {"down/bias", {1, {WIDTH}}}};
    TsBatch *batch = ts_batch_create();
    put_parameter(batch, "tokens/table", ts_shape(VOCABULARY, WIDTH));
    put_parameter(batch, "positions/table", ts_shape(CONTEXT, WIDTH));
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            char *path = ts_format("layer_%02d/%s", l, layer[i].name);
            put_parameter(batch, path, layer[i].shape);
            ts_free(path);
        }
    put_parameter(batch, "norm/scale", ts_shape(WIDTH));
    put_parameter(batch, "norm/shift", ts_shape(WIDTH));
    return batch;
}

static double state_bytes(const TsBatch *state)
{
    double bytes = 0;
    for (int i = 0; i < ts_batch_count(state); i++)
        bytes += (double)ts_shape_elems(ts_batch_array(state, i)->shape) * 4;
    return bytes;
}

static double local_bytes(const TsBatch *state)
{
    double bytes = 0;
    for (int i = 0; i < ts_batch_count(state); i++)
        bytes += (double)ts_array_local_bytes(ts_batch_array(state, i));
    return bytes;
}

/* ---- what it is compared with ---- */

/* Seconds of a command on rank 0, the same on all ranks. */
static double command_s(const char *command)
{
    double seconds = 0;
    ts_barrier(world, "bench: before a command");
    if (is_root()) {
        double start = now_s();
        int code = system(command);
        TS_CHECK(code == 0, "%s: ended with %d", command, code);
        seconds = now_s() - start;
    }
    ts_broadcast(world,
                 (TsTransfer){.out = &seconds, .in = &seconds, .count_elems = 1, .dtype = TS_F64, .label = "bench"}, 0);
    return seconds;
}

static double dd_s(const char *dir, double bytes)
{
    char *command =
        ts_format("dd if=/dev/zero of=%s/dd.out bs=8M count=%.0f conv=fsync 2>/dev/null", dir, bytes / (8 << 20));
    double seconds = command_s(command);
    ts_free(command);
    command = ts_format("rm %s/dd.out", dir);
    command_s(command);
    ts_free(command);
    return seconds;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- saving ---- */

static TsCheckpointSaver *make_saver(const char *dir, bool verify, bool asynchronous)
{
    TsCheckpointSaver *saver;
    expect_ok(ts_checkpoint_saver_create(
        &saver, world, dir,
        (TsCheckpointSaverOptions){.keep = {.latest = 1}, .skip_verify = !verify, .asynchronous = asynchronous}));
    return saver;
}

static double save_s(TsCheckpointSaver *saver, int64_t step, const TsBatch *state)
{
    json_t *empty = json_object();
    ts_barrier(world, "bench: before a save");
    double start = now_s();
    expect_ok(ts_checkpoint_save(saver, step, state, empty));
    json_decref(empty);
    return now_s() - start;
}

static void bench_save(const char *dir, const TsBatch *state, bool verify)
{
    TsCheckpointSaver *saver = make_saver(dir, verify, false);
    double ratio[PAIRS + 1], bytes = state_bytes(state);
    for (int pair = 0; pair <= PAIRS; pair++) {
        double theirs = dd_s(dir, bytes), ours = save_s(saver, pair + 1, state);
        ratio[pair] = theirs / ours;
        if (is_root())
            printf("save%s %.2f s, dd %.2f s of %.2f GB: %.2f%s\n", verify ? " and verify" : "", ours, theirs,
                   bytes / 1e9, ratio[pair], pair ? "" : " (discarded)");
    }
    if (is_root())
        bench_target(verify ? "checkpoint/save-verify" : "checkpoint/save", median(ratio + 1, PAIRS));
    ts_checkpoint_saver_free(&saver);
}

/* ---- in the background ---- */

enum { MATRIX = 512, PRODUCTS = 200, REDUCED = 1 << 18, STEPS_ALONE = 16, STEPS_AT_MOST = 300 };

typedef struct Load {
    float *a, *b, *c, *in, *out;
} Load;

static Load make_load(void)
{
    return (Load){.a = ts_calloc(MATRIX * MATRIX, 4),
                  .b = ts_calloc(MATRIX * MATRIX, 4),
                  .c = ts_calloc(MATRIX * MATRIX, 4),
                  .in = ts_calloc(REDUCED, 4),
                  .out = ts_calloc(REDUCED, 4)};
}

static void free_load(Load *load)
{
    ts_free(load->a);
    ts_free(load->b);
    ts_free(load->c);
    ts_free(load->in);
    ts_free(load->out);
}

/* Part of a second of work, then a reduction that waits for the slower rank. */
static double step_s(const Load *load)
{
    double start = now_s();
    for (int i = 0; i < PRODUCTS; i++)
        ts_matmul(&(TsMatmul){
            .c = load->c, .a = load->a, .b = load->b, .m = MATRIX, .n = MATRIX, .k = MATRIX, .dtype = TS_F32});
    ts_all_reduce(
        world, (TsTransfer){
                   .out = load->out, .in = load->in, .count_elems = REDUCED, .dtype = TS_F32, .label = "bench: step"});
    return now_s() - start;
}

static double steps_alone_s(const Load *load)
{
    double sum = 0;
    for (int i = 0; i < STEPS_ALONE; i++)
        sum += step_s(load);
    return sum / STEPS_ALONE;
}

/* Whether the checkpoint is committed, as rank 0 sees it; the same on all ranks. */
static bool is_committed(const char *dir, int64_t step)
{
    char *path = ts_format("%s/checkpoints/step_%08lld/COMMIT", dir, (long long)step);
    int32_t there = access(path, F_OK) == 0;
    ts_broadcast(world, (TsTransfer){.out = &there, .in = &there, .count_elems = 1, .dtype = TS_I32, .label = "bench"},
                 0);
    ts_free(path);
    return there;
}

/* Seconds to copy what this rank writes, once its pages are there, while the other ranks do the same. */
static double copy_s(const TsBatch *state)
{
    size_t bytes = (size_t)(state_bytes(state) / ts_group_size(world));
    char *from = ts_alloc(bytes), *to = ts_alloc(bytes);
    double best = 1e9;
    memset(from, 1, bytes);
    memset(to, 2, bytes);
    for (int i = 0; i < 3; i++) {
        ts_barrier(world, "bench: copy");
        double start = now_s();
        memcpy(to, from, bytes);
        double taken = now_s() - start;
        best = taken < best ? taken : best;
    }
    ts_free(from);
    ts_free(to);
    return best;
}

/* One save in the background: the steps meanwhile beside those before and after it. */
typedef struct Background {
    double alone_s, steps_s, blocked_s; /* steps_s with what the save blocked */
    int64_t steps;
} Background;

static Background save_behind_steps(TsCheckpointSaver *saver, const char *dir, int64_t number, const TsBatch *state,
                                    const Load *load)
{
    Background b = {.alone_s = steps_alone_s(load) / 2};
    b.steps_s = b.blocked_s = save_s(saver, number, state);
    while (!is_committed(dir, number) && b.steps++ < STEPS_AT_MOST)
        b.steps_s += step_s(load);
    expect_ok(ts_checkpoint_saver_wait(saver));
    TS_CHECK(b.steps > 0, "no step in the time of a save");
    b.alone_s += steps_alone_s(load) / 2;
    return b;
}

static void bench_asynchronous(const char *dir, const TsBatch *state)
{
    double step[PAIRS + 1], added[PAIRS + 1], blocking[PAIRS + 1], copied_s = copy_s(state);
    Load load = make_load();
    for (int pair = 0; pair <= PAIRS; pair++) {
        TsCheckpointSaver *saver = make_saver(dir, true, false);
        double saved_s = save_s(saver, 3 * pair + 1, state);
        ts_checkpoint_saver_free(&saver);
        saver = make_saver(dir, true, true);
        save_s(saver, 3 * pair + 2, state); /* its pages */
        expect_ok(ts_checkpoint_saver_wait(saver));
        Background b = save_behind_steps(saver, dir, 3 * pair + 3, state, &load);
        ts_checkpoint_saver_free(&saver);
        step[pair] = b.steps_s / (double)b.steps / b.alone_s;
        added[pair] = (b.steps_s - (double)b.steps * b.alone_s) / saved_s;
        blocking[pair] = b.blocked_s / copied_s;
        if (is_root())
            printf("step %.3f s alone; over a save %lld steps, %.3f each; blocked %.3f s, a copy %.3f s; a synchronous "
                   "save %.2f s%s\n",
                   b.alone_s, (long long)b.steps, b.steps_s / (double)b.steps, b.blocked_s, copied_s, saved_s,
                   pair ? "" : " (discarded)");
    }
    if (is_root()) {
        bench_target("checkpoint/async-step", median(step + 1, PAIRS));
        bench_target("checkpoint/async-added", median(added + 1, PAIRS));
        bench_target("checkpoint/async-blocking", median(blocking + 1, PAIRS));
    }
    free_load(&load);
}

/* ---- memory and restoring ---- */

/* The most memory that this process has had, in bytes, as the system counts it. */
static double resident_bytes(const char *key)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = atof(line + strlen(key));
    if (file)
        fclose(file);
    return kib * 1024;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    TS_CHECK(file && fputs("5", file) >= 0, "the peak of memory cannot be reset");
    fclose(file);
}

/* The largest of all ranks. */
static double over_ranks(double value)
{
    double largest;
    ts_all_reduce(
        world,
        (TsTransfer){
            .out = &largest, .in = &value, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "bench"});
    return largest;
}

static void bench_save_memory(const char *dir, const TsBatch *state)
{
    TsCheckpointSaver *saver = make_saver(dir, true, true);
    forget_peak();
    double before = resident_bytes("VmRSS:");
    save_s(saver, 1, state);
    expect_ok(ts_checkpoint_saver_wait(saver));
    double copies = over_ranks((resident_bytes("VmHWM:") - before) / local_bytes(state));
    if (is_root())
        bench_target("checkpoint/save-memory", copies);
    ts_checkpoint_saver_free(&saver);
}

static void bench_restore(const char *dir, const TsBatch *state)
{
    TsCheckpointSaver *saver = make_saver(dir, false, false);
    save_s(saver, 1, state);
    ts_checkpoint_saver_free(&saver);
    double ratio[PAIRS + 1], extra = 0;
    char *reading = ts_format("dd if=%s/checkpoints/step_00000001/state.h5 of=/dev/null bs=8M 2>/dev/null", dir);
    for (int pair = 0; pair <= PAIRS; pair++) {
        double theirs = command_s(reading);
        forget_peak();
        double before = resident_bytes("VmRSS:"), start = now_s();
        TsCheckpoint *checkpoint;
        expect_ok(ts_checkpoint_resume(&checkpoint, world, dir, state, (TsRestoreOptions){0}));
        ts_barrier(world, "bench: restored");
        double ours = now_s() - start, more = over_ranks(resident_bytes("VmHWM:") - before) / (1 << 20);
        ts_checkpoint_close(&checkpoint);
        extra = more > extra ? more : extra;
        ratio[pair] = theirs / ours;
        if (is_root())
            printf("restore %.2f s, reading the file %.2f s: %.2f%s\n", ours, theirs, ratio[pair],
                   pair ? "" : " (discarded)");
    }
    if (is_root()) {
        bench_target("checkpoint/restore", median(ratio + 1, PAIRS));
        bench_target("checkpoint/restore-memory", extra);
    }
    ts_free(reading);
}

int main(int count, char **words)
{
    ts_matmul_settle(words);
    world = ts_runtime_start((TsRuntimeOptions){0});
    TS_CHECK(count == 3, "usage: checkpoint DIR save|verify|asynchronous|memory|restore");
    expect_ok(ts_mesh_create(&mesh, world, (TsMeshShape){.size[TS_AXIS_DATA] = ts_group_size(world)}));
    TsBatch *state = make_state();
    if (strcmp(words[2], "save") == 0)
        bench_save(words[1], state, false);
    else if (strcmp(words[2], "verify") == 0)
        bench_save(words[1], state, true);
    else if (strcmp(words[2], "asynchronous") == 0)
        bench_asynchronous(words[1], state);
    else if (strcmp(words[2], "memory") == 0)
        bench_save_memory(words[1], state);
    else
        bench_restore(words[1], state);
    ts_batch_free(&state);
    ts_mesh_free(&mesh);
    return ts_runtime_end(0);
}
