/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of checkpoints share: directories of a test, arrays whose every byte is known, saving some steps.
 */
#pragma once

#include "ckpt/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "test.h"

/* Directories of a test: made by rank 0, the same name on all ranks, removed with all that is in them. */

static inline bool is_root(void)
{
    return ts_group_rank(test_world) == 0;
}

typedef struct RunDir {
    char path[64];
} RunDir;

static inline RunDir make_run(void)
{
    RunDir dir = {"/tmp/tessera-ckpt-XXXXXX"};
    if (is_root())
        CU_ASSERT_PTR_NOT_NULL(mkdtemp(dir.path));
    int32_t words[sizeof dir / 4];
    memcpy(words, &dir, sizeof dir);
    ts_broadcast(
        test_world,
        (TsTransfer){.out = words, .in = words, .count_elems = sizeof dir / 4, .dtype = TS_I32, .label = "test"}, 0);
    memcpy(&dir, words, sizeof dir);
    return dir;
}

static inline int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)found, (void)kind, (void)place;
    return remove(path);
}

static inline void remove_run(RunDir dir)
{
    ts_barrier(test_world, "test: done with the directory");
    if (is_root())
        nftw(dir.path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Rank 0 does something to the files between two barriers. */
#define ON_ROOT(...)                                                                                                   \
    do {                                                                                                               \
        ts_barrier(test_world, "test: before root");                                                                   \
        if (is_root()) {                                                                                               \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        ts_barrier(test_world, "test: after root");                                                                    \
    } while (0)

/* RUN/checkpoints/NAME; valid until the fourth call after. */
static inline const char *inside(RunDir run, const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/checkpoints/%s", run.path, name);
    return path;
}

static inline bool there(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL(file);
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

/* Inverts one bit of the byte at `offset`, from the end where it is negative. */
static inline void flip_bit(const char *path, long offset)
{
    FILE *file = fopen(path, "r+");
    CU_ASSERT_PTR_NOT_NULL(file);
    if (!file)
        return;
    fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET);
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 4, file);
    fclose(file);
}

/* Arrays whose every byte says where in the global array it is. */

static inline unsigned char byte_at(int64_t index, size_t byte, TsDtype dtype, int salt)
{
    if (dtype == TS_BOOL)
        return (unsigned char)((index + salt) % 3 == 0);
    uint64_t mixed = ((uint64_t)index * 8 + byte + (uint64_t)salt * 1000003) * 0x9e3779b97f4a7c15u;
    return (unsigned char)(mixed >> 40);
}

/* Fills the local block, or counts the bytes of it that are not as they should be. */
static inline int64_t visit_block(TsArray *array, int salt, bool fill)
{
    size_t elem_bytes = ts_dtype_bytes(array->dtype);
    int64_t wrong = 0, elems = ts_array_local_elems(array);
    for (int64_t local = 0; local < elems; local++) {
        int64_t global = 0, rest = local, stride = 1;
        for (int d = array->shape.dims - 1; d >= 0; d--) {
            global += (array->block.first[d] + rest % array->block.shape.size[d]) * stride;
            rest /= array->block.shape.size[d];
            stride *= array->shape.size[d];
        }
        unsigned char *bytes = (unsigned char *)array->data + (size_t)local * elem_bytes;
        for (size_t b = 0; b < elem_bytes; b++) {
            unsigned char expected = byte_at(global, b, array->dtype, salt);
            if (fill)
                bytes[b] = expected;
            else
                wrong += bytes[b] != expected;
        }
    }
    return wrong;
}

typedef struct Described {
    const char *name;
    TsDtype dtype;
    TsShape shape;
    const char *placements[3]; /* one for each layout below */
} Described;

/* Uneven and empty blocks, scalars, empty arrays, all dtypes, arrays of more than one segment, cuts of inner dims. */
static const Described described[] = {
    {"params/a", TS_F32, {2, {7, 5}}, {"0: data", "1: data", "0: model; 1: data"}},
    {"params/deep/er/b", TS_F32, {3, {3, 4, 6}}, {"replicated", "2: model, data", "1: data, model"}},
    {"params/large", TS_F32, {2, {1031, 1201}}, {"1: data", "0: data", "0: data; 1: model"}},
    {"params/bf16", TS_BF16, {2, {2, 9}}, {"0: data", "replicated", "0: model, data"}},
    {"adam/f64", TS_F64, {1, {11}}, {"0: data", "0: model", "0: data"}},
    {"adam/f16", TS_F16, {1, {1}}, {"0: data", "0: model", "replicated"}},
    {"i32", TS_I32, {4, {2, 1, 3, 2}}, {"2: data", "3: data", "0: data; 2: model"}},
    {"i64", TS_I64, {0, {0}}, {"replicated", "replicated", "replicated"}},
    {"mask", TS_BOOL, {2, {5, 3}}, {"0: data", "1: model", "1: data"}},
    {"empty", TS_F32, {2, {0, 4}}, {"1: data", "0: data", "replicated"}},
};
enum { ARRAYS = sizeof described / sizeof described[0] };

/* The meshes of the three layouts: all on data; all on model; as square as it goes. */
static inline TsMesh *make_mesh(TsGroup *group, int layout)
{
    int size = ts_group_size(group), data = layout == 0 ? size : layout == 1 ? 1 : size % 2 == 0 ? 2 : size;
    TsMesh *mesh = NULL;
    TsMeshShape shape = {.size[TS_AXIS_DATA] = data, .size[TS_AXIS_MODEL] = size / data};
    TEST_OK(ts_mesh_create(&mesh, group, shape));
    return mesh;
}

static inline TsBatch *make_arrays(const TsMesh *mesh, int layout)
{
    TsBatch *batch = ts_batch_create();
    for (int i = 0; i < ARRAYS; i++) {
        TsPlacement placement;
        TEST_OK(ts_placement_parse(&placement, described[i].placements[layout], described[i].shape.dims));
        ts_batch_put(batch, described[i].name,
                     ts_array_create(mesh, described[i].dtype, described[i].shape, placement, (TsArrayOptions){0}));
    }
    return batch;
}

static inline void fill(const TsBatch *batch, int salt)
{
    for (int i = 0; i < ts_batch_count(batch); i++)
        visit_block(ts_batch_array(batch, i), salt + i, true);
}

static inline int64_t count_wrong(const TsBatch *batch, int salt)
{
    int64_t wrong = 0;
    for (int i = 0; i < ts_batch_count(batch); i++)
        wrong += visit_block(ts_batch_array(batch, i), salt + i, false);
    return wrong;
}

/* Saves the described arrays with that salt as checkpoints of these steps. */
static inline void save_steps(TsGroup *group, RunDir run, int layout, int keep, const int64_t *steps, int count)
{
    TsMesh *mesh = make_mesh(group, layout);
    TsBatch *batch = make_arrays(mesh, layout);
    TsCheckpointSaver *saver;
    TEST_OK(ts_checkpoint_saver_create(&saver, group, run.path, (TsCheckpointSaverOptions){.keep = {.latest = keep}}));
    for (int i = 0; i < count; i++) {
        json_t *state = json_pack("{s:I}", "cursor", (json_int_t)steps[i] * 10);
        fill(batch, (int)steps[i]);
        TEST_OK(ts_checkpoint_save(saver, steps[i], batch, state));
        json_decref(state);
    }
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
}

#define SAVE(run, keep, ...)                                                                                           \
    save_steps(test_world, run, 0, keep, (const int64_t[]){__VA_ARGS__},                                               \
               (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

/* The checkpoint that a run would go on from is that of `step`. */
static inline void expect_latest(RunDir run, int64_t step)
{
    TsCheckpoint *checkpoint = NULL;
    TEST_OK(ts_checkpoint_latest(&checkpoint, test_world, run.path));
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    if (checkpoint)
        CU_ASSERT_EQUAL(ts_checkpoint_step(checkpoint), step);
    ts_checkpoint_close(&checkpoint);
}
