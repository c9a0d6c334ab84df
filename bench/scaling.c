/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps of training, timed. Run by bench/scaling.sh, which lays out ranks and links:
 *
 *     scaling step STEPS CONFIG… [key=value…]     so many steps behind one that is not counted: prints, by rank 0,
 *                                                 `seconds S bytes B cpu C`: the median step, the slowest rank's, what
 *                                                 a rank sent in it, and the processor's time of rank 0, also in
 *                                                 the kernel, which on hosts that share cores is that of messages too
 *     scaling alone STEPS CONFIG… [key=value…]    the same by every rank for itself, all at the same time: no messages
 *     scaling messages ELEMENTS                   an all-reduce of so many f32, in buckets, and nothing else
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/accounting.h"
#include "comm/collectives.h"
#include "comm/runtime.h"
#include "tensor/matmul.h"
#include "task/job.h"
#include "task/learner/learner.h"
#include "task/step.h"

enum { MOST_STEPS = 64, BUCKET_ELEMS = 1 << 20, MOST_BUCKETS = 1024 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double slowest(TsGroup *world, double seconds)
{
    double most = 0;
    ts_all_reduce(
        world,
        (TsTransfer){
            .out = &most, .in = &seconds, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "bench"});
    return most;
}

static double sent_bytes(void)
{
    double bytes = 0;
    for (TsAxisSet axes = 2; axes < 1u << TS_AXES; axes += 2)
        bytes += (double)ts_account_total(axes, TS_COMM_KINDS).bytes;
    return bytes;
}

/* Seconds that this process has had of the processor. */
static double cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* Times steps of the job's first task; every rank of `world` takes part, `group` is whom this one trains with. */
static TsStatus time_steps(TsGroup *world, TsGroup *group, int steps, const char *const *words, int count)
{
    TsConfig *config = NULL;
    TsJob *job = NULL;
    TsLearner *learner = NULL;
    TsStep *step = NULL;
    TS_TRY(ts_job_load(&config, group, words, count));
    TsStatus status = ts_job_open(&job, group, config, (TsJobOptions){0});
    if (!status)
        status = ts_learner_create(&learner, (TsLearnerSetting){.config = &job->keys->learner,
                                                                .parameters = job->parameters,
                                                                .arrays = job->arrays,
                                                                .threads = job->threads});
    if (!status)
        status = ts_step_create(&step, job->tasks[0], ts_loader_batch(job->tasks[0]->train, 0),
                                (TsStepOptions){.parameters = job->own[0],
                                                .sequence = ts_job_sequence(job->keys),
                                                .learner = &job->keys->learner,
                                                .seed = (uint64_t)job->keys->run.seed,
                                                .dtype = job->dtype,
                                                .threads = job->threads});
    if (!status) {
        double seconds[MOST_STEPS], bytes = 0, busy_s = 0;
        int64_t place = 0;
        ts_step_bind(step, job->arrays, ts_learner_gradients(learner));
        for (int i = -1; i < steps; i++) {
            ts_loader_next(job->tasks[0]->train, &place);
            ts_barrier(world, "bench");
            double begin_s = ts_timeline_now(), before = sent_bytes(), busy_before_s = cpu_s();
            int64_t number = i + 2;
            ts_step_run(step, number, 1);
            ts_learner_step(learner, 0, &number, number, MOST_STEPS);
            double took_s = ts_timeline_now() - begin_s;
            bytes = sent_bytes() - before;
            busy_s += i >= 0 ? (cpu_s() - busy_before_s) / steps : 0;
            if (i >= 0)
                seconds[i] = slowest(world, took_s);
        }
        qsort(seconds, (size_t)steps, sizeof *seconds, by_size);
        if (ts_group_rank(world) == 0)
            printf("seconds %.6g bytes %.0f cpu %.4g\n", seconds[steps / 2], bytes, busy_s);
    }
    ts_step_free(&step);
    ts_learner_free(&learner);
    ts_job_close(&job);
    ts_config_free(&config);
    return status;
}

/* All buckets are under way at once, as gradients are behind a backward pass. */
static void time_messages(TsGroup *world, int64_t elems)
{
    enum { ROUNDS = 3 };
    float *data = ts_calloc((size_t)elems, sizeof *data);
    double seconds[ROUNDS], busy_s = 0;
    TsRequest *request[MOST_BUCKETS];
    int buckets = (int)((elems + BUCKET_ELEMS - 1) / BUCKET_ELEMS);
    TS_CHECK(buckets <= MOST_BUCKETS, "%d buckets", buckets);
    for (int round = -1; round < ROUNDS; round++) {
        ts_barrier(world, "bench");
        double begin_s = ts_timeline_now(), busy_before_s = cpu_s();
        for (int b = 0; b < buckets; b++) {
            int64_t first = (int64_t)b * BUCKET_ELEMS;
            int64_t here = elems - first < BUCKET_ELEMS ? elems - first : BUCKET_ELEMS;
            request[b] = ts_all_reduce_begin(
                world,
                (TsTransfer){
                    .out = data + first, .in = data + first, .count_elems = here, .dtype = TS_F32, .label = "bench"});
        }
        for (int b = 0; b < buckets; b++)
            ts_request_end(&request[b]);
        double took_s = slowest(world, ts_timeline_now() - begin_s);
        busy_s += round >= 0 ? (cpu_s() - busy_before_s) / ROUNDS : 0;
        if (round >= 0)
            seconds[round] = took_s;
    }
    qsort(seconds, ROUNDS, sizeof *seconds, by_size);
    if (ts_group_rank(world) == 0)
        printf("seconds %.6g cpu %.4g\n", seconds[ROUNDS / 2], busy_s);
    ts_free(data);
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){0});
    TsStatus status = TS_OK;
    const char *what = argc > 2 ? argv[1] : "";
    if (strcmp(what, "messages") == 0) {
        time_messages(world, strtoll(argv[2], NULL, 10));
    } else if (strcmp(what, "step") == 0 || strcmp(what, "alone") == 0) {
        int steps = atoi(argv[2]);
        TS_CHECK(steps >= 1 && steps <= MOST_STEPS, "%s steps", argv[2]);
        bool alone = strcmp(what, "alone") == 0;
        TsGroup *group = alone ? ts_group_split(world, "alone", ts_group_rank(world), 0) : world;
        status = time_steps(world, group, steps, (const char *const *)argv + 3, argc - 3);
        if (alone)
            ts_group_free(&group);
    } else {
        status = ts_status_error(TS_CODE_INVALID, "scaling step|alone STEPS CONFIG…, or messages ELEMENTS");
    }
    int exit_code = ts_status_exit_code(status);
    if (status && ts_group_rank(world) == 0)
        ts_log(TS_LOG_ERROR, "%s", ts_status_message(status));
    ts_status_free(&status);
    return ts_runtime_end(exit_code);
}
