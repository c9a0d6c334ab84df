/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: saved on one mesh and restored on another, and what becomes of damaged and foreign ones.
 */
#include "ckpt/inspect.h"
#include "ckpt/saves.h"

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
    ts_batch_put(batch, "quite/another/thing", ts_array_create(NULL, TS_F32, ts_scalar, ts_replicated, plain));
    ts_batch_put(batch, "params/larg", ts_array_create(NULL, TS_F32, ts_scalar, ts_replicated, plain));
    ts_batch_put(batch, "mask", ts_array_create(NULL, TS_BOOL, ts_shape(5, 3), ts_replicated, plain));
    TEST_ERROR(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}),
               "it lacks quite/another/thing, params/larg (is it "
               "params/large?); nobody asks for its "
               "params/deep/er/b, params/large, ");
    TEST_ERROR(
        ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){.allow_unused = true}),
        "it lacks quite/another/thing, params/larg (is it params/large?); params/a is f32 (7, 5) there and f32 (7, 6) "
        "here, i64 is i64 () there and i32 () here");
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

    ON_ROOT(flip_bit(inside(run, "step_00000005/state.h5"), 0)); /* HDF5's signature; its reason is passed on */
    TEST_OK(ts_checkpoint_open(&checkpoint, test_world, inside(run, "step_00000005")));
    TEST_ERROR(ts_checkpoint_verify(checkpoint), "state.h5: cannot open the file: ");
    TsStatus unreadable = ts_checkpoint_verify(checkpoint);
    CU_ASSERT_PTR_NULL(strstr(ts_status_message(unreadable), "gives no reason"));
    ts_status_free(&unreadable);
    ts_checkpoint_close(&checkpoint);
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
    TEST_ERROR(ts_checkpoint_latest(&checkpoint, test_world, run.path), "newer than this program"); /* not skipped */
    CU_ASSERT_PTR_NULL(checkpoint);
    ON_ROOT(write_file(inside(run, "step_00000001/COMMIT"), "not ours\n"));
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

/* Going on: read and verified in one pass; what does not verify is skipped, and the next time unread. */

static TsStatus resume_step(RunDir run, int layout, int64_t *step)
{
    TsMesh *mesh = make_mesh(test_world, layout);
    TsBatch *batch = make_arrays(mesh, layout);
    TsCheckpoint *checkpoint = NULL;
    TsStatus status = ts_checkpoint_resume(&checkpoint, test_world, run.path, batch, (TsRestoreOptions){0});
    *step = checkpoint ? ts_checkpoint_step(checkpoint) : -1;
    if (checkpoint)
        CU_ASSERT_EQUAL(count_wrong(batch, (int)*step), 0);
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
    return status;
}

static void goes_on_from_the_newest(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 1, 2, 3);
    int64_t step;
    TEST_OK(resume_step(run, 1, &step));
    CU_ASSERT_EQUAL(step, 3);
    ON_ROOT(flip_bit(inside(run, "step_00000003/state.h5"), -1000000));
    for (int layout = 0; layout < 3; layout++) { /* the second time it is known */
        TEST_OK(resume_step(run, layout, &step));
        CU_ASSERT_EQUAL(step, 2);
        CU_ASSERT_TRUE(there(inside(run, "step_00000003/damaged")));
    }
    if (is_root()) {
        TsCheckpointList *list = NULL;
        TEST_OK(ts_checkpoint_list_create(&list, run.path));
        CU_ASSERT_EQUAL(list->items[2].condition, TS_CHECKPOINT_DAMAGED);
        CU_ASSERT_PTR_NOT_NULL(strstr(list->items[2].reason, "are not what was saved"));
        ts_checkpoint_list_free(&list);
    }
    SAVE(run, 1, 4); /* it does not count among those that are kept, and stays */
    CU_ASSERT_TRUE(there(inside(run, "step_00000003/COMMIT")));
    CU_ASSERT_FALSE(there(inside(run, "step_00000002")));
    ON_ROOT(flip_bit(inside(run, "step_00000004/state.h5"), -1000000));
    TEST_ERROR(resume_step(run, 0, &step), "none of its 2 checkpoints can be used");
    ON_ROOT(flip_bit(inside(run, "step_00000003/state.h5"), -1000000)); /* mended: its time is another */
    TEST_OK(resume_step(run, 2, &step));
    CU_ASSERT_EQUAL(step, 3);
    remove_run(run);
}

/* A run that goes back: to a checkpoint of before a step, and what came after it is gone on from no more. */
static void goes_back(void)
{
    RunDir run = make_run();
    SAVE(run, 0, 1, 2, 3, 4);
    TsMesh *mesh = make_mesh(test_world, 1);
    TsBatch *batch = make_arrays(mesh, 1);
    static const int64_t before[] = {4, 3, 1}, found[] = {3, 2, -1};
    for (int i = 0; i < 3; i++) {
        TsCheckpoint *checkpoint = NULL;
        TEST_OK(
            ts_checkpoint_resume(&checkpoint, test_world, run.path, batch, (TsRestoreOptions){.before = before[i]}));
        CU_ASSERT_EQUAL(checkpoint ? ts_checkpoint_step(checkpoint) : -1, found[i]);
        ts_checkpoint_close(&checkpoint);
    }
    ts_batch_free(&batch);
    ts_mesh_free(&mesh);
    int64_t step;
    TEST_OK(ts_checkpoint_set_aside(test_world, run.path, 2, "it was bad"));
    TEST_OK(resume_step(run, 1, &step));
    CU_ASSERT_EQUAL(step, 2);
    if (is_root()) {
        TsCheckpointList *list = NULL;
        TEST_OK(ts_checkpoint_list_create(&list, run.path));
        CU_ASSERT_EQUAL(list->items[1].condition, TS_CHECKPOINT_COMMITTED);
        CU_ASSERT_EQUAL(list->items[2].condition, TS_CHECKPOINT_DAMAGED);
        CU_ASSERT_STRING_EQUAL(list->items[3].reason, "it was bad");
        ts_checkpoint_list_free(&list);
    }
    SAVE(run, 0, 3); /* gone through again: it counts */
    TEST_OK(resume_step(run, 1, &step));
    CU_ASSERT_EQUAL(step, 3);
    remove_run(run);
}

/* Other dtypes on request. */

static void casts_on_request(void)
{
    RunDir run = make_run();
    TsMesh *mesh = make_mesh(test_world, 2);
    TsBatch *saved = ts_batch_create(), *read = ts_batch_create();
    TsPlacement rows, both;
    TEST_OK(ts_placement_parse(&rows, "0: data", 2));
    TEST_OK(ts_placement_parse(&both, "0: model; 1: data", 2));
    TsArrayOptions plain = {0};
    TsArray *f32 = ts_array_create(mesh, TS_F32, ts_shape(13, 7), rows, plain);
    TsArray *i32 = ts_array_create(mesh, TS_I32, ts_scalar, ts_replicated, plain);
    for (int64_t i = 0; i < ts_array_local_elems(f32); i++)
        ((float *)f32->data)[i] = (float)(f32->block.first[0] * 7 + i) + 1.0f / 512; /* the rest is lost in bf16 */
    *(int32_t *)i32->data = -5;
    ts_batch_put(saved, "w", f32);
    ts_batch_put(saved, "n", i32);
    TsCheckpointSaver *saver;
    json_t *state = json_object();
    TEST_OK(ts_checkpoint_saver_create(&saver, test_world, run.path, (TsCheckpointSaverOptions){0}));
    TEST_OK(ts_checkpoint_save(saver, 1, saved, state));
    TsArray *bf16 = ts_array_create(mesh, TS_BF16, ts_shape(13, 7), both, plain);
    TsArray *f64 = ts_array_create(mesh, TS_F64, ts_scalar, ts_replicated, plain);
    ts_batch_put(read, "w", bf16);
    ts_batch_put(read, "n", f64);
    TsCheckpoint *checkpoint;
    TEST_ERROR(ts_checkpoint_resume(&checkpoint, test_world, run.path, read, (TsRestoreOptions){0}),
               "w is f32 (13, 7) there and bf16 (13, 7) here, n is i32 () there and f64 () here");
    TEST_OK(ts_checkpoint_resume(&checkpoint, test_world, run.path, read, (TsRestoreOptions){.cast = true}));
    int64_t wrong = 0, columns = bf16->block.shape.size[1];
    for (int64_t i = 0; i < ts_array_local_elems(bf16); i++) {
        int64_t row = bf16->block.first[0] + i / columns, column = bf16->block.first[1] + i % columns;
        wrong += ((TsBf16 *)bf16->data)[i] != ts_bf16_from_f32((float)(row * 7 + column) + 1.0f / 512);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(*(double *)f64->data == -5);
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&read);
    read = ts_batch_create();
    ts_batch_put(read, "w", ts_array_create(mesh, TS_I32, ts_shape(13, 7), rows, plain)); /* what would lose values */
    TEST_ERROR(ts_checkpoint_resume(&checkpoint, test_world, run.path, read,
                                    (TsRestoreOptions){.cast = true, .allow_unused = true}),
               "w is f32 (13, 7) there and i32 (13, 7) here");
    json_decref(state);
    ts_checkpoint_saver_free(&saver);
    ts_batch_free(&read);
    ts_batch_free(&saved);
    ts_mesh_free(&mesh);
    remove_run(run);
}

TEST_MAIN("checkpoint", {"any mesh to any mesh", any_mesh_to_any_mesh},
          {"arrays without a mesh, and pinned ones", without_mesh_and_pinned}, {"state is exact", state_is_exact},
          {"no checkpoint yet", no_checkpoint_yet}, {"names what does not fit", names_what_does_not_fit},
          {"damage is found", damage_is_found}, {"foreign is refused", foreign_is_refused},
          {"goes on from the newest", goes_on_from_the_newest}, {"goes back", goes_back},
          {"casts on request", casts_on_request})
