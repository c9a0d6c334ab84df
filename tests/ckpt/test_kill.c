/* ranks: 1 */
/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that saves checkpoint after checkpoint is killed at random instants: what it said was saved is there,
 * verifies, and holds what was saved; what it left over is gone after the next save.
 *
 * The victim is this program again, a job of one rank of its own, which prints the number of each step that it has
 * saved.
 */
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "ckpt/checkpoint.h"
#include "test.h"

enum { KILLS = 30, ELEMS = 300000 };

static float value_at(int64_t step, int64_t index)
{
    return (float)((step * 7919 + index * 31) % 65521);
}

static TsBatch *make_arrays(void)
{
    TsBatch *batch = ts_batch_create();
    ts_batch_put(batch, "params/w",
                 ts_array_create(NULL, TS_F32, ts_shape(ELEMS / 100, 100), ts_replicated, (TsArrayOptions){0}));
    return batch;
}

/* Saves steps from `step` on, up to `end`, and says so. */
static TsStatus save_steps(TsGroup *group, const char *run, int64_t step, int64_t end)
{
    TsCheckpointSaver *saver;
    TS_TRY(ts_checkpoint_saver_create(&saver, group, run, (TsCheckpointSaverOptions){.keep = {.latest = 2}}));
    TsBatch *batch = make_arrays();
    TsStatus status = TS_OK;
    for (; !status && step < end; step++) {
        float *values = ts_batch_array(batch, 0)->data;
        for (int64_t i = 0; i < ELEMS; i++)
            values[i] = value_at(step, i);
        json_t *state = json_pack("{s:I}", "step", (json_int_t)step);
        status = ts_checkpoint_save(saver, step, batch, state);
        json_decref(state);
        if (!status) {
            printf("%lld\n", (long long)step);
            fflush(stdout);
        }
    }
    ts_batch_free(&batch);
    ts_checkpoint_saver_free(&saver);
    return status;
}

static int be_victim(const char *run, int64_t step)
{
    TsGroup *group = ts_runtime_start((TsRuntimeOptions){0});
    TsStatus status = save_steps(group, run, step, INT64_MAX);
    fprintf(stderr, "the victim ended: %s\n", ts_status_message(status));
    ts_status_free(&status);
    return ts_runtime_end(1);
}

/* Starts a victim; *output is where it prints. */
static pid_t start_victim(FILE **output, const char *run, int64_t step)
{
    char program[512] = "", number[32];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    int ends[2];
    if (length < 0 || pipe(ends) != 0)
        return -1;
    snprintf(number, sizeof number, "%lld", (long long)step);
    char *arguments[] = {program, (char *)(uintptr_t)run, number, NULL};
    char *environment[] = {"OMPI_MCA_ess_singleton_isolated=1",
                           "OMPI_ALLOW_RUN_AS_ROOT=1",
                           "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                           "OMP_NUM_THREADS=1",
                           "PATH=/usr/bin:/bin",
                           NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    pid_t victim = -1;
    if (posix_spawn(&victim, program, &actions, NULL, arguments, environment) != 0)
        victim = -1;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *output = fdopen(ends[0], "r");
    return victim;
}

/* Lets a victim begin at `step` and kills it `delay_us` after its first save; the last step that it said was saved. */
static int64_t kill_one(const char *run, int64_t step, useconds_t delay_us)
{
    FILE *output = NULL;
    pid_t victim = start_victim(&output, run, step);
    CU_ASSERT(victim > 0);
    if (victim <= 0)
        return -1;
    long long saved = -1;
    CU_ASSERT_EQUAL(fscanf(output, "%lld", &saved), 1);
    usleep(delay_us);
    kill(victim, SIGKILL);
    while (fscanf(output, "%lld", &saved) == 1) {
    }
    fclose(output);
    CU_ASSERT_EQUAL(waitpid(victim, NULL, 0), victim);
    return saved;
}

/* That the newest checkpoint is whole, and no older than what was said; its step. */
static int64_t expect_saved(const char *run, int64_t said)
{
    TsCheckpoint *checkpoint = NULL;
    TsBatch *batch = make_arrays();
    int64_t step = -1, wrong = 0;
    TEST_OK(ts_checkpoint_latest(&checkpoint, test_world, run));
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    if (checkpoint) {
        step = ts_checkpoint_step(checkpoint);
        TEST_OK(ts_checkpoint_restore(checkpoint, batch, (TsRestoreOptions){0}));
        CU_ASSERT_EQUAL(json_integer_value(json_object_get(ts_checkpoint_state(checkpoint), "step")), step);
    }
    const float *values = ts_batch_array(batch, 0)->data;
    for (int64_t i = 0; i < ELEMS; i++)
        wrong += values[i] != value_at(step, i);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(step == said || step == said + 1); /* it may have died between saving and saying so */
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&batch);
    return step;
}

static int entries;
static int count_entry(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)path, (void)found, (void)kind;
    entries += place->level == 2;
    return 0;
}

static int remove_entry(const char *path, const struct stat *found, int kind, struct FTW *place)
{
    (void)found, (void)kind, (void)place;
    return remove(path);
}

static void killed_at_random(void)
{
    char run[] = "/tmp/tessera-kill-XXXXXX";
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(run));
    int64_t step = 1;
    for (unsigned kills = 0; kills < KILLS; kills++) {
        int64_t said = kill_one(run, step, kills * 2654435761u % 40000);
        step = expect_saved(run, said) + 1;
    }
    TEST_OK(save_steps(test_world, run, step, step + 2));
    CU_ASSERT_EQUAL(expect_saved(run, step + 1), step + 1);
    nftw(run, count_entry, 8, FTW_PHYS);
    CU_ASSERT_EQUAL(entries, 2); /* the two that are kept, and nothing left over */
    nftw(run, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(int count, char **arguments)
{
    if (count == 3)
        return be_victim(arguments[1], strtoll(arguments[2], NULL, 10));
    const CU_TestInfo cases[] = {{"killed at random instants", killed_at_random}, CU_TEST_INFO_NULL};
    return test_run("kill", cases);
}
