/* ranks: 2 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * One file for each group of ranks, and a view of them: restored like any other, on other ranks and meshes; left-overs
 * and damage of the parts.
 */
#include "ckpt/saves.h"

static void save_in_files(RunDir run, int layout, int ranks_per_file, int64_t step, bool asynchronous)
{
    TsMesh *mesh = make_mesh(test_world, layout);
    TsBatch *batch = make_arrays(mesh, layout);
    TsCheckpointSaver *saver;
    json_t *state = json_pack("{s:I}", "cursor", (json_int_t)step * 10);
    TEST_OK(ts_checkpoint_saver_create(
        &saver, test_world, run.path,
        (TsCheckpointSaverOptions){.ranks_per_file = ranks_per_file, .asynchronous = asynchronous, .keep.latest = 2}));
    fill(batch, (int)step);
    TEST_OK(ts_checkpoint_save(saver, step, batch, state));
    TEST_OK(ts_checkpoint_saver_wait(saver));
    json_decref(state);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
}

static void expect_values(TsGroup *group, RunDir run, int layout, int64_t step)
{
    TsMesh *mesh = make_mesh(group, layout);
    TsBatch *batch = make_arrays(mesh, layout);
    TsCheckpoint *checkpoint = NULL;
    TEST_OK(ts_checkpoint_resume(&checkpoint, group, run.path, batch, (TsRestoreOptions){0}));
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    if (checkpoint)
        CU_ASSERT_EQUAL(ts_checkpoint_step(checkpoint), step);
    CU_ASSERT_EQUAL(count_wrong(batch, (int)step), 0);
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
}

static void any_files_to_any_mesh(void)
{
    RunDir run = make_run();
    int64_t step = 0;
    int size = ts_group_size(test_world), rank = ts_group_rank(test_world);
    for (int layout = 0; layout < 3; layout++)
        for (int ranks_per_file = 1; ranks_per_file <= size; ranks_per_file++) {
            save_in_files(run, layout, ranks_per_file, ++step, layout == 1);
            char name[64];
            snprintf(name, sizeof name, "step_%08d/state.0001.h5", (int)step);
            CU_ASSERT_EQUAL(there(inside(run, name)), ranks_per_file < size);
            for (int other = 0; other < 3; other++)
                expect_values(test_world, run, other, step);
            TsGroup *alone = ts_group_split(test_world, "alone", rank == size - 1 ? 0 : -1, 0);
            if (alone)
                expect_values(alone, run, 0, step);
            ts_group_free(&alone);
            ts_barrier(test_world, "test: read alone");
        }
    remove_run(run);
}

static void parts_are_looked_at(void)
{
    RunDir run = make_run();
    save_in_files(run, 0, 1, 1, false);
    save_in_files(run, 0, 1, 2, false);
    TsCheckpoint *checkpoint;
    ON_ROOT(flip_bit(inside(run, "step_00000002/state.0001.h5"), -1000000));
    TEST_OK(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000002")));
    TEST_ERROR(ts_checkpoint_verify(checkpoint), "are not what was saved (CRC-32C ");
    ts_checkpoint_close(&checkpoint);
    expect_values(test_world, run, 1, 1);
    ON_ROOT(CU_ASSERT_EQUAL(truncate(inside(run, "step_00000002/state.0001.h5"), 5000), 0));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000002")),
               "has 5000 bytes, should have");
    ON_ROOT(unlink(inside(run, "step_00000002/state.0000.h5")));
    TEST_ERROR(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000002")),
               "state.0000.h5: cannot be read: No such file");
    ON_ROOT(mkdir(inside(run, "step_00000009.tmp"), 0777); /* a save that was killed */
            write_file(inside(run, "step_00000009.tmp/unfinished"), "");
            write_file(inside(run, "step_00000009.tmp/state.0000.h5"), "half");
            write_file(inside(run, "step_00000009.tmp/COMMIT.tmp.77"), ""));
    save_in_files(run, 2, 1, 3, false);
    CU_ASSERT_FALSE(there(inside(run, "step_00000009.tmp")));
    expect_values(test_world, run, 0, 3);
    remove_run(run);
}

TEST_MAIN("files", {"any files to any mesh", any_files_to_any_mesh}, {"parts are looked at", parts_are_looked_at})
