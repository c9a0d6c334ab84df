/* ranks: 1 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Saving in the background: what is saved is what was there at the call, however the arrays change meanwhile and
 * whatever the ranks say to one another; it takes one copy of what a rank writes; what goes wrong is told.
 */
#include "base/log.h"
#include "ckpt/saves.h"

static TsCheckpointSaver *make_saver(RunDir run, int keep)
{
    TsCheckpointSaver *saver = NULL;
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path,
                                       (TsCheckpointSaverOptions){.keep = {.latest = keep}, .asynchronous = true}));
    return saver;
}

static void expect_restored(RunDir run, int64_t step)
{
    TsMesh *mesh = make_mesh(test_world, 2);
    TsBatch *batch = make_arrays(mesh, 2);
    TsCheckpoint *checkpoint = NULL;
    TEST_OK(ts_checkpoint_latest(&checkpoint, test_world, run.path));
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    if (checkpoint) {
        CU_ASSERT_EQUAL(ts_checkpoint_step(checkpoint), step);
        TEST_OK(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}));
        CU_ASSERT_EQUAL(count_wrong(batch, (int)step), 0);
    }
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
}

/* Reductions on the world while a save is under way: they and the writer's messages must not meet. */
static void talk(int64_t rounds)
{
    int64_t wrong = 0, size = ts_group_size(test_world);
    static double in[20000], out[20000];
    for (int64_t round = 0; round < rounds; round++) {
        for (int64_t i = 0; i < 20000; i++)
            in[i] = (double)(i + round);
        ts_all_reduce(test_world,
                      (TsTransfer){.out = out, .in = in, .count_elems = 20000, .dtype = TS_F64, .label = "test: talk"});
        for (int64_t i = 0; i < 20000; i++)
            wrong += out[i] != (double)((i + round) * size);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void saves_what_was_there(void)
{
    RunDir run = make_run();
    for (int layout = 0; layout < 3; layout++) { /* also owned blocks that are cut along inner dims */
        TsMesh *mesh = make_mesh(test_world, layout);
        TsBatch *batch = make_arrays(mesh, layout);
        TsCheckpointSaver *saver = make_saver(run, 2);
        for (int i = 0; i < 3; i++) {
            int64_t step = 10 * layout + i;
            json_t *state = json_pack("{s:I}", "cursor", (json_int_t)step);
            fill(batch, (int)step);
            TEST_OK(ts_checkpoint_save(saver, step, batch, state));
            json_object_set_new(state, "cursor", json_integer(-1));
            json_decref(state);
            fill(batch, 5555); /* the steps that come after */
            talk(i == 0 ? 30 : 0);
        }
        TEST_OK(ts_checkpoint_saver_wait(saver));
        CU_ASSERT_EQUAL(ts_checkpoint_saver_step(saver), 10 * layout + 2);
        TEST_OK(ts_checkpoint_saver_wait(saver)); /* nothing is under way */
        expect_restored(run, 10 * layout + 2);
        ts_checkpoint_saver_free(&saver);
        ts_batch_free(&batch);
        ts_mesh_free(&mesh);
    }
    remove_run(run);
}

/* An array that all ranks hold whole is copied once, by all of them together. */
static void one_copy_of_the_share(void)
{
    enum { ELEMS = 3 << 20 };
    RunDir run = make_run();
    TsBatch *batch = ts_batch_create();
    ts_batch_put(batch, "w",
                 ts_array_create(NULL, TS_F32, ts_shape(ELEMS / 64, 64), ts_replicated, (TsArrayOptions){0}));
    TsCheckpointSaver *saver = make_saver(run, 1);
    json_t *state = json_object();
    int64_t before = ts_memory_usage().live_bytes, size = ts_group_size(test_world);
    TEST_OK(ts_checkpoint_save(saver, 1, batch, state));
    int64_t first = ts_memory_usage().live_bytes - before;
    CU_ASSERT(first >= ELEMS * 4 / size - 64);
    CU_ASSERT(first <= ELEMS * 4 / size + (10 << 20)); /* and the buffer with which it is read back */
    TEST_OK(ts_checkpoint_save(saver, 2, batch, state));
    TEST_OK(ts_checkpoint_saver_wait(saver));
    int64_t kept = ts_memory_usage().live_bytes - before; /* one copy, used again */
    CU_ASSERT(kept <= ELEMS * 4 / size + (1 << 20));
    json_decref(state);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&batch);
    remove_run(run);
}

/* Waits until this rank knows that the save has failed. */
static bool learns_of_failure(const TsCheckpointSaver *saver)
{
    for (int i = 0; i < 30000 && !ts_checkpoint_saver_failed(saver); i++)
        usleep(1000);
    return ts_checkpoint_saver_failed(saver);
}

static void errors_are_told(void)
{
    RunDir run = make_run();
    TsMesh *mesh = make_mesh(test_world, 0);
    TsBatch *batch = make_arrays(mesh, 0);
    TsCheckpointSaver *saver = make_saver(run, 1);
    json_t *state = json_object();
    fill(batch, 1);
    TEST_OK(ts_checkpoint_save(saver, 1, batch, state));
    TEST_OK(ts_checkpoint_saver_wait(saver));
    struct rlimit limit, small;
    getrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    small = limit;
    small.rlim_cur = 2000000; /* a disk that refuses on the last rank alone */
    if (ts_group_rank(test_world) == ts_group_size(test_world) - 1)
        setrlimit(RLIMIT_FSIZE, &small);
    TEST_OK(ts_checkpoint_save(saver, 2, batch, state));
    CU_ASSERT_TRUE(learns_of_failure(saver));
    TEST_ERROR(ts_checkpoint_saver_wait(saver), "checkpoint of step 2 not saved: ");
    CU_ASSERT_FALSE(ts_checkpoint_saver_failed(saver));
    CU_ASSERT_EQUAL(ts_checkpoint_saver_step(saver), 1);
    TEST_OK(ts_checkpoint_save(saver, 3, batch, state));
    TEST_ERROR(ts_checkpoint_save(saver, 4, batch, state), "checkpoint of step 3 not saved: "); /* in place of saving */
    TEST_OK(ts_checkpoint_saver_wait(saver));
    setrlimit(RLIMIT_FSIZE, &limit);
    ts_barrier(test_world, "test: the limit is gone");
    CU_ASSERT_FALSE(there(inside(run, "step_00000002")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000003.tmp")));
    expect_latest(run, 1);
    fill(batch, 5);
    TEST_OK(ts_checkpoint_save(saver, 5, batch, state));
    ts_checkpoint_saver_free(&saver); /* waits */
    expect_restored(run, 5);
    signal(SIGXFSZ, SIG_DFL);
    json_decref(state);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
    remove_run(run);
}

TEST_MAIN("asynchronous", {"saves what was there", saves_what_was_there},
          {"one copy of the share", one_copy_of_the_share}, {"errors are told", errors_are_told})
