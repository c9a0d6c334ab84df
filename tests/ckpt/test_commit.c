/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Saving checkpoints: what is in the way, disks that refuse, what killed saves leave, and what is pruned.
 */
#include "ckpt/saves.h"

/* What is in the way of a save. */

static void expect_save_error(RunDir run, int64_t step, const char *words)
{
    TsBatch *none = ts_batch_create();
    TsCheckpointSaver *saver = NULL;
    json_t *state = json_object();
    TEST_OK(
        ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){.keep = {.latest = 1}}));
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
               "file: is a file, expected a directory");
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
    TEST_OK(
        ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){.keep = {.latest = 1}}));
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
            write_file(inside(run, "step_00000003.tmp/state.h5"), "half");
            write_file(inside(run, "step_00000003.tmp/state.0001.h5"), "half");
            write_file(inside(run, "step_00000003.tmp/manifest.json.tmp.4382"), ""));
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
    CU_ASSERT_TRUE(there(inside(run, "step_00000003"))); /* found to be damaged: nobody removes it */
    expect_latest(run, 4);
    remove_run(run);
}

TEST_MAIN("commit", {"obstacles stay", obstacles_stay}, {"too little space", too_little_space},
          {"refused writes", refused_writes}, {"left-overs go", left_overs_go},
          {"the same step is replaced", same_step_is_replaced}, {"prunes", prunes})
