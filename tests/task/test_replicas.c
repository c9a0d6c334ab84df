/* ranks: 1 2 3 4 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/plugin.h"
#include "comm/collectives.h"
#include "task/learner/optimizer.h"
#include "task/run/trainer.h"
#include "test.h"

/* ---- arrays: one that all ranks hold, one that each rank has a part of, one that is cut along data alone */

typedef struct Setup {
    TsMesh *mesh;
    TsHosts *hosts;
    TsBatch *arrays;
} Setup;

static TsArray *filled(const TsMesh *mesh, const char *placement, TsShape shape)
{
    TsPlacement parsed;
    TEST_OK(ts_placement_parse(&parsed, placement, shape.dims));
    TsArray *array = ts_array_create(mesh, TS_F32, shape, parsed, (TsArrayOptions){0});
    for (int64_t i = 0; i < ts_array_local_elems(array); i++)
        ((float *)array->data)[i] = (float)(i + 3 * array->block.first[0]);
    return array;
}

static Setup create(int model)
{
    Setup setup = {.hosts = ts_hosts_create(test_world), .arrays = ts_batch_create()};
    TsMeshShape shape = {.size = {[TS_AXIS_DATA] = TS_MESH_AUTO, [TS_AXIS_MODEL] = model}};
    TEST_OK(ts_mesh_create(&setup.mesh, test_world, shape));
    ts_batch_put(setup.arrays, "own", filled(setup.mesh, model > 1 ? "0: model, data" : "0: data", ts_shape(7, 3)));
    ts_batch_put(setup.arrays, "cut", filled(setup.mesh, "0: data", ts_shape(5, 3)));
    ts_batch_put(setup.arrays, "all", filled(setup.mesh, "replicated", ts_shape(4, 2)));
    return setup;
}

static void destroy(Setup *setup)
{
    ts_batch_free(&setup->arrays);
    ts_mesh_free(&setup->mesh);
    ts_hosts_free(&setup->hosts);
}

static void flip(const Setup *setup, const char *name, int rank)
{
    if (ts_group_rank(test_world) == rank)
        ((unsigned char *)ts_batch_find(setup->arrays, name)->data)[5] ^= 4;
}

static void copies_of_all(void)
{
    int ranks = ts_group_size(test_world);
    Setup setup = create(1);
    CU_ASSERT_EQUAL(setup.hosts->ranks, ranks);
    TEST_OK(ts_replicas_compare(test_world, setup.hosts, setup.arrays));
    flip(&setup, "own", ranks - 1); /* nobody else has that */
    TEST_OK(ts_replicas_compare(test_world, setup.hosts, setup.arrays));
    flip(&setup, "all", ranks - 1);
    TsStatus status = ts_replicas_compare(test_world, setup.hosts, setup.arrays);
    char expected[160];
    if (ranks == 2)
        snprintf(expected, sizeof expected, "all is not the same on the 2 ranks that hold it: 0 (%s), 1 (%s)",
                 setup.hosts->name[0], setup.hosts->name[1]);
    else
        snprintf(expected, sizeof expected, "all of rank %d (%s) is not what the other ranks that hold it have",
                 ranks - 1, setup.hosts->name[ranks - 1]);
    if (ranks == 1) {
        TEST_OK(status);
    } else {
        CU_ASSERT_EQUAL(ts_status_code(status), TS_CODE_CORRUPT);
        CU_ASSERT_STRING_EQUAL(ts_status_message(status), expected);
        ts_status_free(&status);
    }
    destroy(&setup);
}

/* On a mesh of 2 x 2, "cut" is on the two ranks of each place along data. */
static void copies_of_parts(void)
{
    if (ts_group_size(test_world) != 4)
        return;
    Setup setup = create(2);
    TEST_OK(ts_replicas_compare(test_world, setup.hosts, setup.arrays));
    flip(&setup, "cut", 3);
    flip(&setup, "all", 3);
    TEST_ERROR(ts_replicas_compare(test_world, setup.hosts, setup.arrays),
               "cut is not the same on the 2 ranks that hold it: 2 (");
    flip(&setup, "cut", 3);
    TEST_ERROR(ts_replicas_compare(test_world, setup.hosts, setup.arrays), "all of rank 3 (");
    flip(&setup, "all", 2);
    TEST_ERROR(ts_replicas_compare(test_world, setup.hosts, setup.arrays), "all is not the same on the 4 ranks");
    destroy(&setup);
}

/* ---- a run: an optimizer in whose state a bit flips on the last rank in step 5 */

static TsTensor trace(const TsUpdate *update)
{
    TsTensor kept = ts_update_state(update, "kept"), fresh = ts_add(ts_scale(kept, 0.5), update->gradient);
    ts_assign(kept, fresh);
    return ts_sub(update->parameter, ts_scale(fresh, 1e-3));
}

static double one_state(const TsOptimizerConfig *options)
{
    (void)options;
    return 1;
}

static TsStatus flip_bit(const TsAfterUpdate *after)
{
    char name[256];
    snprintf(name, sizeof name, "optimizer/kept/%s", after->row->path);
    if (after->step == 5 && ts_group_rank(test_world) == ts_group_size(test_world) - 1 && strstr(name, "table"))
        ((unsigned char *)ts_batch_find(after->state, name)->data)[2] ^= 64;
    return TS_OK;
}

static const TsOptimizer rule = {.trace = trace, .states = one_state, .after = flip_bit};
static const TsConfigTable no_keys = {"flipping", "For a test.", sizeof(TsOptimizerConfig), NULL, NULL};

static TsStatus train(const char *dir, const char *every)
{
    char run_dir[128], check[64];
    snprintf(run_dir, sizeof run_dir, "run.dir=%s", dir);
    snprintf(check, sizeof check, "guard.check_replicas=%s", every);
    const char *words[] = {
        run_dir,
        check,
        "run={steps: 12, threads: 1, evaluate: never, log: never}",
        "backbone={type: transformer, layers: 1, heads: 2, width: 16, context: 8}",
        "learner.optimizer=flipping",
        "parameters.optimizer_shard=none",
        "checkpoint.every=2 steps",
        "tasks.lm={type: language_model, data: {text: tests/data/alice.txt, validation: 0, batch: 8, "
        "length: 8}}"};
    TsConfig *config = NULL;
    TsStatus status = ts_job_load(&config, test_world, words, sizeof words / sizeof *words);
    if (!status)
        status = ts_train(test_world, config, (TsTrainOptions){.force = false});
    ts_config_free(&config);
    return status;
}

/* A bit that flips is found before it is saved, whether the check or the save comes first. */
static void a_run(void)
{
    static const char *const every[] = {"every 3 steps", "1000 steps"};
    int ranks = ts_group_size(test_world);
    for (int i = 0; i < 2; i++) {
        char dir[64] = "/tmp/tessera-replicas-XXXXXX";
        if (ts_group_rank(test_world) == 0)
            CU_ASSERT_PTR_NOT_NULL(mkdtemp(dir));
        int32_t words[sizeof dir / 4];
        memcpy(words, dir, sizeof dir);
        ts_broadcast(test_world,
                     (TsTransfer){.out = words, .in = words, .count_elems = sizeof dir / 4, .dtype = TS_I32}, 0);
        memcpy(dir, words, sizeof dir);
        TsStatus status = train(dir, every[i]);
        if (ranks == 1) {
            TEST_OK(status);
        } else {
            char *message = ts_strdup(status ? ts_status_message(status) : "nothing was found");
            ts_status_free(&status);
            CU_ASSERT_PTR_NOT_NULL(strstr(message, "after step 6 "));
            CU_ASSERT_PTR_NOT_NULL(strstr(message, "table"));
            CU_ASSERT_PTR_NOT_NULL(strstr(message, "go on from the last checkpoint, of step 4"));
            if (ranks > 2) {
                char expected[32];
                snprintf(expected, sizeof expected, "of rank %d (", ranks - 1);
                CU_ASSERT_PTR_NOT_NULL(strstr(message, expected));
            }
            ts_free(message);
        }
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", dir);
        if (ts_group_rank(test_world) == 0)
            CU_ASSERT_EQUAL(system(command), 0);
    }
}

static void begin(void)
{
    TEST_OK(ts_variants_add(&ts_optimizers, (TsVariant){"flipping", "for a test", &no_keys, &rule}));
}

TEST_MAIN("replicas", {"begin", begin}, {"copies of all", copies_of_all}, {"copies of parts", copies_of_parts},
          {"a run", a_run})
