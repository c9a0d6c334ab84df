/* ranks: 1 2 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "task/config.h"

#include <string.h>

#include "task/task.h"
#include "test.h"

static void tables_hold(void)
{
    ts_config_check_tables(&ts_job_table); /* aborts where one contradicts itself */
    CU_PASS("tables");
}

static void the_line_is_read(void)
{
    TsConfig *config = NULL;
    const char *const words[] = {"jobs/line.yaml", "learner.clip=0.5", "mesh.model=2"};
    TEST_OK(ts_job_load(&config, test_world, words, 3));
    const TsJobConfig *job = config ? ts_config_value(config) : NULL;
    if (job) {
        const TsTaskConfig *tasks = job->tasks.items;
        CU_ASSERT_EQUAL(job->learner.clip, 0.5);
        CU_ASSERT_EQUAL(job->mesh.data, TS_AUTO);
        CU_ASSERT_EQUAL(job->mesh.model, 2);
        CU_ASSERT_EQUAL(job->tasks.count, 1);
        CU_ASSERT_STRING_EQUAL(job->tasks.names[0], "lm");
        CU_ASSERT_STRING_EQUAL(tasks[0].kind.variant->name, "language_model");
        CU_ASSERT_STRING_EQUAL(job->learner.schedule.variant->name, "cosine");
        CU_ASSERT_EQUAL(job->checkpoint.every.unit, TS_STEPS);
    }
    ts_config_free(&config);
}

static void errors_are_the_same_on_all_ranks(void)
{
    TsConfig *config = NULL;
    const char *const missing[] = {"jobs/none.yaml"}, *const epochs[] = {"jobs/line.yaml", "run.evaluate=2 epochs"};
    const char *const unknown[] = {"jobs/line.yaml", "tasks.lm.type=language_modle"};
    TEST_ERROR(ts_job_load(&config, test_world, missing, 1), "jobs/none.yaml");
    TEST_ERROR(ts_job_load(&config, test_world, epochs, 2), "give steps or a time");
    TEST_ERROR(ts_job_load(&config, test_world, unknown, 2), "language_model");
    CU_ASSERT_PTR_NULL(config);
}

static void a_mesh_multiplies_to_the_ranks(void)
{
    TsConfig *config = NULL;
    TsMesh *mesh = NULL;
    int ranks = ts_group_size(test_world);
    const char *const fitting[] = {"jobs/line.yaml", ranks == 2 ? "mesh.model=2" : "mesh.model=1"};
    TEST_OK(ts_job_load(&config, test_world, fitting, 2));
    TEST_OK(ts_job_mesh(&mesh, test_world, config));
    CU_ASSERT_EQUAL(mesh ? ts_mesh_size(mesh, TS_AXIS_MODEL) : 0, ranks);
    ts_mesh_free(&mesh);
    ts_config_free(&config);
    const char *const unfitting[] = {"jobs/line.yaml", "mesh.model=3"};
    TEST_OK(ts_job_load(&config, test_world, unfitting, 2));
    TEST_ERROR(ts_job_mesh(&mesh, test_world, config), "model: 3, but there ");
    ts_config_free(&config);
}

TEST_MAIN("config", {"tables hold", tables_hold}, {"the line is read", the_line_is_read},
          {"errors are the same on all ranks", errors_are_the_same_on_all_ranks},
          {"a mesh multiplies to the ranks", a_mesh_multiplies_to_the_ranks})
