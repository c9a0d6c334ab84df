/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: saved on one mesh and restored on another, and what becomes of damaged, foreign and unfinished ones.
 */
#include "ckpt/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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

static bool is_root(void)
{
    return ts_group_rank(test_world) == 0;
}

typedef struct RunDir {
    char path[64];
} RunDir;

static RunDir make_run(void)
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

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)found, (void)kind, (void)place;
    return remove(path);
}

static void remove_run(RunDir dir)
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
static const char *inside(RunDir run, const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/checkpoints/%s", run.path, name);
    return path;
}

static bool there(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL(file);
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

/* Inverts one bit of the byte at `offset`, from the end where it is negative. */
static void flip_bit(const char *path, long offset)
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

static unsigned char byte_at(int64_t index, size_t byte, TsDtype dtype, int salt)
{
    if (dtype == TS_BOOL)
        return (unsigned char)((index + salt) % 3 == 0);
    uint64_t mixed = ((uint64_t)index * 8 + byte + (uint64_t)salt * 1000003) * 0x9e3779b97f4a7c15u;
    return (unsigned char)(mixed >> 40);
}

/* Fills the local block, or counts the bytes of it that are not as they should be. */
static int64_t visit_block(TsArray *array, int salt, bool fill)
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
static TsMesh *make_mesh(TsGroup *group, int layout)
{
    int size = ts_group_size(group), data = layout == 0 ? size : layout == 1 ? 1 : size % 2 == 0 ? 2 : size;
    TsMesh *mesh = NULL;
    TsMeshShape shape = {.size[TS_AXIS_DATA] = data, .size[TS_AXIS_MODEL] = size / data};
    TEST_OK(ts_mesh_create(&mesh, group, shape));
    return mesh;
}

static TsBatch *make_arrays(const TsMesh *mesh, int layout)
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

static void fill(const TsBatch *batch, int salt)
{
    for (int i = 0; i < ts_batch_count(batch); i++)
        visit_block(ts_batch_array(batch, i), salt + i, true);
}

static int64_t count_wrong(const TsBatch *batch, int salt)
{
    int64_t wrong = 0;
    for (int i = 0; i < ts_batch_count(batch); i++)
        wrong += visit_block(ts_batch_array(batch, i), salt + i, false);
    return wrong;
}

/* Saves the described arrays with that salt as checkpoints of these steps. */
static void save_steps(TsGroup *group, RunDir run, int layout, int keep, const int64_t *steps, int count)
{
    TsMesh *mesh = make_mesh(group, layout);
    TsBatch *batch = make_arrays(mesh, layout);
    TsCheckpointSaver *saver;
    TEST_OK(ts_checkpoint_saver_create(&saver, group, run.path, (TsCheckpointSaverOptions){.keep_latest = keep}));
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

/* Any layout, on any number of ranks, from any other. */

static void restore_all(TsGroup *group, RunDir run, int layout, int64_t step)
{
    TsMesh *mesh = make_mesh(group, layout);
    TsBatch *batch = make_arrays(mesh, layout);
    fill(batch, 77);
    CU_ASSERT(count_wrong(batch, (int)step) > 0);
    TsCheckpoint *checkpoint = NULL;
    TEST_OK(ts_checkpoint_latest(&checkpoint, group, run.path));
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    if (checkpoint) {
        CU_ASSERT_EQUAL(ts_checkpoint_step(checkpoint), step);
        CU_ASSERT_EQUAL(json_integer_value(json_object_get(ts_checkpoint_state(checkpoint), "cursor")), step * 10);
        TEST_OK(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}));
        CU_ASSERT_EQUAL(count_wrong(batch, (int)step), 0);
    }
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
}

static void any_mesh_to_any_mesh(void)
{
    int size = ts_group_size(test_world), rank = ts_group_rank(test_world);
    for (int savers = 1; savers <= size; savers++)
        for (int layout = 0; layout < 3; layout++) {
            RunDir run = make_run();
            TsGroup *some = ts_group_split(test_world, "savers", rank < savers ? 0 : -1, rank);
            if (some)
                save_steps(some, run, layout, 0, (const int64_t[]){5}, 1);
            ts_group_free(&some);
            ts_barrier(test_world, "test: saved");
            for (int restorers = 1; restorers <= size; restorers++) {
                /* in the opposite order, so that rank 0 of the job is not always the root */
                some = ts_group_split(test_world, "restorers", rank < restorers ? 0 : -1, -rank);
                for (int other = 0; some && other < 3; other++)
                    restore_all(some, run, other, 5);
                ts_group_free(&some);
            }
            remove_run(run);
        }
}

/* Arrays without a mesh are whole on every rank; pinned ones live at one coordinate only. */
static void without_mesh_and_pinned(void)
{
    RunDir run = make_run();
    int size = ts_group_size(test_world);
    TsMesh *mesh;
    TEST_OK(ts_mesh_create(&mesh, test_world, (TsMeshShape){.size[TS_AXIS_STAGE] = size}));
    TsPlacement pinned = ts_replicated;
    pinned.at_axis = TS_AXIS_STAGE;
    pinned.at_coord = (int16_t)(size - 1);
    TsBatch *batch = ts_batch_create();
    ts_batch_put(batch, "loose", ts_array_create(NULL, TS_F32, ts_shape(6, 2), ts_replicated, (TsArrayOptions){0}));
    ts_batch_put(batch, "pinned", ts_array_create(mesh, TS_I32, ts_shape(5, 3), pinned, (TsArrayOptions){0}));
    ts_batch_put(batch, "pinned scalar", ts_array_create(mesh, TS_I32, ts_scalar, pinned, (TsArrayOptions){0}));
    bool here = ts_mesh_coord(mesh, TS_AXIS_STAGE) == size - 1;
    TsCheckpointSaver *saver;
    TsCheckpoint *checkpoint;
    json_t *state = json_object();
    visit_block(ts_batch_find(batch, "loose"), 1, true);
    if (here) {
        visit_block(ts_batch_find(batch, "pinned"), 2, true);
        visit_block(ts_batch_find(batch, "pinned scalar"), 3, true);
    }
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){0}));
    TEST_OK(ts_checkpoint_save(saver, 0, batch, state));
    for (int i = 0; i < 3; i++)
        memset(ts_batch_array(batch, i)->data, 0, ts_array_local_bytes(ts_batch_array(batch, i)));
    TEST_OK(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000000")));
    TEST_OK(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}));
    CU_ASSERT_EQUAL(visit_block(ts_batch_find(batch, "loose"), 1, false), 0);
    if (here) {
        CU_ASSERT_EQUAL(visit_block(ts_batch_find(batch, "pinned"), 2, false), 0);
        CU_ASSERT_EQUAL(visit_block(ts_batch_find(batch, "pinned scalar"), 3, false), 0);
    }
    json_decref(state);
    ts_checkpoint_close(&checkpoint);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
    remove_run(run);
}

/* What is beside the arrays comes back as it was: large integers, doubles to the bit, nested objects, any text. */
static void state_is_exact(void)
{
    RunDir run = make_run();
    TsBatch *none = ts_batch_create();
    TsCheckpointSaver *saver;
    TsCheckpoint *checkpoint;
    json_t *state = json_pack("{s:I, s:f, s:f, s:{s:[i,i,n,b]}, s:s}", "seed", (json_int_t)INT64_MAX, "third", 1.0 / 3,
                              "tiny", 4.9e-324, "mixture", "place", 1, -2, 1, "text", "na\xc3\xafve \"quoted\"\n\x01");
    CU_ASSERT_PTR_NOT_NULL(state);
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){0}));
    TEST_OK(ts_checkpoint_save(saver, 123456789012, none, state));
    TEST_OK(ts_checkpoint_latest(&checkpoint, test_world, run.path));
    CU_ASSERT_EQUAL(ts_checkpoint_step(checkpoint), 123456789012);
    CU_ASSERT_EQUAL(ts_checkpoint_count(checkpoint), 0);
    CU_ASSERT(json_equal(state, ts_checkpoint_state(checkpoint)));
    CU_ASSERT(json_real_value(json_object_get(ts_checkpoint_state(checkpoint), "third")) == 1.0 / 3);
    json_decref(state);
    ts_checkpoint_close(&checkpoint);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&none);
    remove_run(run);
}

static void no_checkpoint_yet(void)
{
    RunDir run = make_run();
    TsCheckpoint *checkpoint = (TsCheckpoint *)&run;
    TEST_OK(ts_checkpoint_latest(&checkpoint, test_world, run.path));
    CU_ASSERT_PTR_NULL(checkpoint);
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000001")),
               "no checkpoint: No such file");
    remove_run(run);
}

/* Restoring into something else. */

static void names_what_does_not_fit(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 3);
    TsCheckpoint *checkpoint;
    TEST_OK(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000003")));
    CU_ASSERT_EQUAL(ts_checkpoint_count(checkpoint), ARRAYS);
    CU_ASSERT_STRING_EQUAL(ts_checkpoint_entry(checkpoint, 2).name, "params/large");
    CU_ASSERT(ts_checkpoint_entry(checkpoint, 2).shape.size[1] == 1201);
    TsBatch *batch = ts_batch_create();
    TsArrayOptions plain = {0};
    ts_batch_put(batch, "params/a", ts_array_create(NULL, TS_F32, ts_shape(7, 6), ts_replicated, plain));
    ts_batch_put(batch, "i64", ts_array_create(NULL, TS_I32, ts_scalar, ts_replicated, plain));
    ts_batch_put(batch, "params/new", ts_array_create(NULL, TS_F32, ts_scalar, ts_replicated, plain));
    ts_batch_put(batch, "mask", ts_array_create(NULL, TS_BOOL, ts_shape(5, 3), ts_replicated, plain));
    TEST_ERROR(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}), "it lacks params/new; nobody asks for "
                                                                                "its params/deep/er/b, params/large, ");
    TEST_ERROR(
        ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){.allow_unused = true}),
        "it lacks params/new; params/a is f32 (7, 5) there and f32 (7, 6) here, i64 is i64 () there and i32 () here");
    CU_ASSERT_EQUAL(visit_block(ts_batch_find(batch, "mask"), 3 + 8, false) == 0, 0); /* nothing was read */
    ts_batch_free(&batch);

    batch = ts_batch_create(); /* a part of it, in another order */
    ts_batch_put(batch, "mask", ts_array_create(NULL, TS_BOOL, ts_shape(5, 3), ts_replicated, plain));
    ts_batch_put(batch, "params/a", ts_array_create(NULL, TS_F32, ts_shape(7, 5), ts_replicated, plain));
    TEST_OK(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){.allow_unused = true}));
    CU_ASSERT_EQUAL(visit_block(ts_batch_find(batch, "mask"), 3 + 8, false), 0);
    CU_ASSERT_EQUAL(visit_block(ts_batch_find(batch, "params/a"), 3 + 0, false), 0);
    ts_batch_free(&batch);
    ts_checkpoint_close(&checkpoint);
    remove_run(run);
}

/* Damage: the newest that verifies is taken, the others are skipped, and nothing is removed. */

static void expect_latest(RunDir run, int64_t step)
{
    TsCheckpoint *checkpoint = NULL;
    TEST_OK(ts_checkpoint_latest(&checkpoint, test_world, run.path));
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    if (checkpoint)
        CU_ASSERT_EQUAL(ts_checkpoint_step(checkpoint), step);
    ts_checkpoint_close(&checkpoint);
}

static void damage_is_found(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 1, 2, 3, 4, 5, 6);
    TsCheckpoint *checkpoint;
    ON_ROOT(flip_bit(inside(run, "step_00000006/state.h5"), -1000000));
    TEST_OK(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000006")));
    TEST_ERROR(ts_checkpoint_verify(checkpoint), "state.h5: params/large: bytes ");
    TsMesh *mesh = make_mesh(test_world, 2);
    TsBatch *batch = make_arrays(mesh, 2);
    TEST_ERROR(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}), "are not what was saved (CRC-32C ");
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
    ts_checkpoint_close(&checkpoint);
    expect_latest(run, 5);

    ON_ROOT(CU_ASSERT_EQUAL(truncate(inside(run, "step_00000005/state.h5"), 100000), 0));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000005")),
               "has 100000 bytes, should have");
    ON_ROOT(flip_bit(inside(run, "step_00000004/manifest.json"), 200));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000004")),
               "manifest.json: does not match its checksum");
    ON_ROOT(unlink(inside(run, "step_00000003/COMMIT")));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000003")),
               "not committed: it has no COMMIT");
    expect_latest(run, 2);

    ON_ROOT(unlink(inside(run, "step_00000002/state.h5")));
    ON_ROOT(write_file(inside(run, "step_00000001/COMMIT"), "tessera checkpoint 2\nwhatever comes then\n"));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000001")), "newer than this program");
    TEST_ERROR(ts_checkpoint_latest(&checkpoint, test_world, run.path), "none of its 6 checkpoints can be used");
    CU_ASSERT_PTR_NULL(checkpoint);
    for (int step = 1; step <= 6; step++) {
        char name[32];
        snprintf(name, sizeof name, "step_%08d/manifest.json", step);
        CU_ASSERT_TRUE(there(inside(run, name)));
    }
    remove_run(run);
}

static void foreign_is_refused(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 1);
    TsCheckpoint *checkpoint;
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, "tests/data/alice.txt"), "is a file, not a directory");
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, "tests"), "not committed");
    ON_ROOT(write_file(inside(run, "step_00000001/COMMIT"), "another program's\n"));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000001")),
               "not a checkpoint of this program");
    ON_ROOT(write_file(inside(run, "step_00000001/COMMIT"), "tessera checkpoint 1\nmanifest.json 12 byt"));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000001")), "its COMMIT is damaged");
    remove_run(run);
}

/* What is in the way of a save. */

static void expect_save_error(RunDir run, int64_t step, const char *words)
{
    TsBatch *none = ts_batch_create();
    TsCheckpointSaver *saver = NULL;
    json_t *state = json_object();
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){.keep_latest = 1}));
    if (saver)
        TEST_ERROR(ts_checkpoint_save(saver, step, none, state), words);
    ts_checkpoint_saver_free(&saver);
    json_decref(state);
    ts_batch_free(&none);
}

static void obstacles_stay(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 1);
    ON_ROOT(write_file(inside(run, "step_00000002"), "a file"));
    expect_save_error(run, 2, "step_00000002: is a file where a checkpoint is to be");
    ON_ROOT(mkdir(inside(run, "step_00000003"), 0777); write_file(inside(run, "step_00000003/notes.txt"), "mine"));
    expect_save_error(run, 3, "holds notes.txt, which is not part of one");
    ON_ROOT(mkdir(inside(run, "step_00000004.tmp"), 0777);
            write_file(inside(run, "step_00000004.tmp/state.h5"), "copy"));
    expect_save_error(run, 4, "not a save that was cut off: move it elsewhere");
    expect_save_error(run, 2,
                      "step_00000002: is a file"); /* the copy in step_00000004.tmp does not hinder other steps */
    CU_ASSERT_TRUE(there(inside(run, "step_00000002")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000003/notes.txt")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000004.tmp/state.h5")));
    expect_latest(run, 1);

    RunDir file = {0};
    TsCheckpointSaver *saver;
    snprintf(file.path, sizeof file.path, "%.50s/file", run.path);
    ON_ROOT(write_file(file.path, "not a directory"));
    TEST_ERROR(ts_checkpoint_saver_create(&saver, test_world, file.path, (TsCheckpointSaverOptions){0}),
               "file: is a file: expected a directory");
    remove_run(run);
}

/* A checkpoint of 32 TiB is refused before anything is written, on a file system that has less. */
static void too_little_space(void)
{
    RunDir run = make_run();
    TsBatch *batch = ts_batch_create();
    TsArray *array = ts_array_create(NULL, TS_F32, ts_scalar, ts_replicated, (TsArrayOptions){0});
    array->shape = ts_shape(1 << 20, 1 << 23); /* 32 TiB, only described: nothing may be read of it */
    array->block.shape = ts_shape(0, 0);
    ts_batch_put(batch, "huge", array);
    TsCheckpointSaver *saver;
    json_t *state = json_object();
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){0}));
    TEST_ERROR(ts_checkpoint_save(saver, 1, batch, state), "too little space");
    CU_ASSERT_FALSE(there(inside(run, "step_00000001.tmp")));
    json_decref(state);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&batch);
    remove_run(run);
}

/* A disk that refuses, on one rank or on all: files may not grow beyond a limit, as if it were full. */
static void refused_writes(void)
{
    RunDir run = make_run();
    SAVE(run, 1, 1);
    TsMesh *mesh = make_mesh(test_world, 0);
    TsBatch *batch = make_arrays(mesh, 0);
    fill(batch, 2);
    TsCheckpointSaver *saver;
    json_t *state = json_object();
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){.keep_latest = 1}));
    struct rlimit limit, small;
    getrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    for (int whose = 0; whose < 2; whose++) { /* of the last rank alone; of all */
        small = limit;
        small.rlim_cur = 2000000;
        if (whose == 1 || ts_group_rank(test_world) == ts_group_size(test_world) - 1)
            setrlimit(RLIMIT_FSIZE, &small);
        TEST_ERROR(ts_checkpoint_save(saver, 2, batch, state), "checkpoint of step 2 not saved: ");
        setrlimit(RLIMIT_FSIZE, &limit);
        ts_barrier(test_world, "test: the limit is gone");
        CU_ASSERT_FALSE(there(inside(run, "step_00000002")));
        CU_ASSERT_FALSE(there(inside(run, "step_00000002.tmp")));
    }
    expect_latest(run, 1);
    TEST_OK(ts_checkpoint_save(saver, 2, batch, state)); /* the same saver, once the disk takes it */
    expect_latest(run, 2);
    signal(SIGXFSZ, SIG_DFL);
    json_decref(state);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
    TEST_ERROR(ts_checkpoint_saver_create(&saver, test_world, "/proc/self/run", (TsCheckpointSaverOptions){0}),
               "/proc/self/run: cannot make the directory: ");
    remove_run(run);
}

/* Crashes: what a killed save leaves is ignored by readers and removed by the next save. */

static void left_overs_go(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 1);
    ON_ROOT(mkdir(inside(run, "step_00000002.tmp"), 0777)); /* killed right after mkdir */
    ON_ROOT(mkdir(inside(run, "step_00000003.tmp"), 0777);  /* while writing the arrays */
            write_file(inside(run, "step_00000003.tmp/unfinished"), "");
            write_file(inside(run, "step_00000003.tmp/state.h5"), "half"));
    ON_ROOT(mkdir(inside(run, "step_00000004.tmp"), 0777); /* right before the rename */
            write_file(inside(run, "step_00000004.tmp/unfinished"), "");
            write_file(inside(run, "step_00000004.tmp/COMMIT"), "tessera checkpoint 1\n"));
    ON_ROOT(mkdir(inside(run, "step_00000005.tmp"), 0777); /* somebody's copy */
            write_file(inside(run, "step_00000005.tmp/COMMIT"), "tessera checkpoint 1\n"));
    ON_ROOT(mkdir(inside(run, "step_7.tmp"), 0777)); /* not a name of ours */
    expect_latest(run, 1);
    SAVE(run, 0, 4);
    expect_latest(run, 4);
    CU_ASSERT_FALSE(there(inside(run, "step_00000002.tmp")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000003.tmp")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000004.tmp")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000004/unfinished")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000005.tmp/COMMIT")));
    CU_ASSERT_TRUE(there(inside(run, "step_7.tmp")));
    remove_run(run);
}

static void same_step_is_replaced(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 7);
    ON_ROOT(flip_bit(inside(run, "step_00000007/state.h5"), -1000000));
    TsCheckpoint *checkpoint;
    TEST_ERROR(ts_checkpoint_latest(&checkpoint, test_world, run.path), "none of its 1 checkpoints");
    SAVE(run, 1, 7);
    expect_latest(run, 7);
    CU_ASSERT_FALSE(there(inside(run, "step_00000007.tmp")));
    remove_run(run);
}

static void prunes(void)
{
    RunDir run = make_run();
    SAVE(run, 2, 1, 2, 3);
    CU_ASSERT_FALSE(there(inside(run, "step_00000001")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000002/COMMIT")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000003/COMMIT")));
    ON_ROOT(flip_bit(inside(run, "step_00000003/state.h5"), -1000000)); /* so that the run goes on from 2 */
    ON_ROOT(mkdir(inside(run, "step_00000001"), 0777));                 /* never committed: does not count, stays */
    SAVE(run, 1, 2);
    CU_ASSERT_TRUE(there(inside(run, "step_00000002/COMMIT"))); /* the one just saved, though an older step than 3 */
    CU_ASSERT_TRUE(there(inside(run, "step_00000003/COMMIT")));
    CU_ASSERT_TRUE(there(inside(run, "step_00000001")));
    expect_latest(run, 2);
    SAVE(run, 1, 4);
    CU_ASSERT_FALSE(there(inside(run, "step_00000002")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000003")));
    expect_latest(run, 4);
    remove_run(run);
}

TEST_MAIN("checkpoint", {"any mesh to any mesh", any_mesh_to_any_mesh},
          {"arrays without a mesh, and pinned ones", without_mesh_and_pinned}, {"state is exact", state_is_exact},
          {"no checkpoint yet", no_checkpoint_yet}, {"names what does not fit", names_what_does_not_fit},
          {"damage is found", damage_is_found}, {"foreign is refused", foreign_is_refused},
          {"obstacles stay", obstacles_stay}, {"too little space", too_little_space},
          {"refused writes", refused_writes}, {"left-overs go", left_overs_go},
          {"the same step is replaced", same_step_is_replaced}, {"prunes", prunes})
