/* SPDX-License-Identifier: Apache-2.0
 *
 * What a mixture costs. Run by bench/mixture.sh, which lays out ranks:
 *
 *     mixture tasks         1 rank: eight tasks against their mean alone, switching, allocations
 *     mixture gram          1 rank: a step of eight tasks of 124 M parameters with their Gram matrix against one
 * without mixture concurrent    2 ranks: two unequal tasks side by side against one after the other in data parallel
 *
 * `mixture gram LAYERS WIDTH` is of another size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "comm/runtime.h"
#include "measure.h"
#include "target.h"
#include "task/mixture/courses.h"
#include "tensor/matmul.h"

enum { TASKS = 8, ROUNDS = 7, STEPS = 24 };

typedef struct Run {
    TsConfig *config;
    TsJob *job;
    TsCourses *courses;
    int64_t step;
} Run;

/* Of a YAML text. Collective. */
static Run open_run(TsGroup *group, const TsText *yaml)
{
    Run run = {.step = 0};
    TsConfigText text = {"bench", yaml->data, yaml->size_bytes};
    TsStatus status = ts_config_load(&run.config, &ts_job_table, (TsConfigSources){.texts = &text, .text_count = 1});
    if (!status)
        status = ts_job_open(&run.job, group, run.config, (TsJobOptions){0});
    if (!status)
        status = ts_courses_create(&run.courses, run.job);
    TS_CHECK(!status, "%s", ts_status_message(status));
    return run;
}

static void close_run(Run *run)
{
    ts_courses_free(&run->courses);
    ts_job_close(&run->job);
    ts_config_free(&run->config);
}

/* Seconds of so many steps, on the slowest rank. Collective. */
static double time_steps(Run *run, int steps)
{
    TsCourseReport report;
    ts_barrier(run->job->group, "bench");
    double begin_s = bench_now_s();
    for (int i = 0; i < steps; i++) {
        TsStatus status = ts_courses_step(run->courses, &report, ++run->step);
        TS_CHECK(!status, "%s", ts_status_message(status));
    }
    double seconds = bench_now_s() - begin_s, most = 0;
    ts_all_reduce(
        run->job->group,
        (TsTransfer){
            .out = &most, .in = &seconds, .count_elems = 1, .dtype = TS_F64, .reduction = TS_MAX, .label = "bench"});
    return most;
}

/* ---- one rank ---- */

static void begin_yaml(TsText *yaml, int layers, int width, const char *mixture)
{
    ts_text_append(yaml,
                   "run: {dir: none, seed: 1, threads: 1, steps: 100000}\n"
                   "backbone: {type: transformer, layers: %d, heads: %d, width: %d, context: 256, vocab: %d}\n"
                   "mixture: %s\n"
                   "tasks:\n",
                   layers, width >= 64 ? width / 64 : 1, width, width == 768 ? 50257 : 256, mixture);
}

static void add_task(TsText *yaml, int number, int batch, int length)
{
    ts_text_append(yaml,
                   "  t%d: {type: language_model, data: {text: tests/data/alice.txt, batch: %d, length: %d, "
                   "validation: 0}}\n",
                   number, batch, length);
}

/* Tasks of these batches in turn, against the mean of each alone: what a step of the mixture takes, over that. */
static double against_alone(TsGroup *group, int tasks, const int *batch, const int *length)
{
    TsText yaml = {0};
    Run all, alone[TASKS];
    double together[ROUNDS], apart[ROUNDS];
    begin_yaml(&yaml, 2, 128, "{mode: interleaved, sampler: round_robin}");
    for (int i = 0; i < tasks; i++)
        add_task(&yaml, i, batch[i], length[i]);
    all = open_run(group, &yaml);
    for (int i = 0; i < tasks; i++) {
        ts_text_free(&yaml);
        begin_yaml(&yaml, 2, 128, "{mode: interleaved}");
        add_task(&yaml, i, batch[i], length[i]);
        alone[i] = open_run(group, &yaml);
        time_steps(&alone[i], 2);
    }
    ts_text_free(&yaml);
    time_steps(&all, 2 * tasks);
    for (int round = 0; round < ROUNDS; round++) {
        together[round] = time_steps(&all, STEPS * tasks);
        apart[round] = 0;
        for (int i = 0; i < tasks; i++)
            apart[round] += time_steps(&alone[i], STEPS);
    }
    for (int round = 0; round < ROUNDS; round++)
        together[round] /= apart[round];
    for (int i = 0; i < tasks; i++)
        close_run(&alone[i]);
    close_run(&all);
    return bench_median(together, ROUNDS);
}

/* Calls of the allocator in a step, once all is made: the most of all modes. */
static double count_allocations(TsGroup *group)
{
    static const char *const modes[] = {"{mode: interleaved, sampler: round_robin}", "{mode: joint}",
                                        "{mode: concurrent, recut: 1000000}", "{mode: joint, balance: pcgrad}"};
    double most = 0;
    for (int mode = 0; mode < 4; mode++) {
        TsText yaml = {0};
        begin_yaml(&yaml, 1, 64, modes[mode]);
        for (int i = 0; i < TASKS; i++)
            add_task(&yaml, i, 1 + i % 3, 16 << i % 2);
        Run run = open_run(group, &yaml);
        time_steps(&run, 4 * TASKS);
        int64_t before = ts_memory_usage().allocations;
        time_steps(&run, 8 * TASKS);
        double each = (double)(ts_memory_usage().allocations - before) / (8 * TASKS);
        printf("allocations a step, mixture: %s: %.3g\n", modes[mode], each);
        most = each > most ? each : most;
        close_run(&run);
        ts_text_free(&yaml);
    }
    return most;
}

static void bench_tasks(TsGroup *group)
{
    static const int batch[TASKS] = {2, 4, 8, 1, 4, 2, 8, 4}, length[TASKS] = {64, 32, 16, 128, 64, 128, 32, 16};
    static const int same_batch[2] = {4, 4}, same_length[2] = {64, 64};
    double eight = against_alone(group, TASKS, batch, length);
    double two = against_alone(group, 2, same_batch, same_length);
    bench_target("mixture/eight-tasks", eight);
    bench_target("mixture/switching", two);
    bench_target("mixture/allocations", count_allocations(group));
}

/* The median step of eight tasks. */
static double time_eight(TsGroup *group, int layers, int width, const char *mixture)
{
    enum { GRAM_STEPS = 2 };
    TsText yaml = {0};
    double seconds[GRAM_STEPS];
    begin_yaml(&yaml, layers, width, mixture);
    for (int i = 0; i < TASKS; i++)
        add_task(&yaml, i, 1, 256);
    Run run = open_run(group, &yaml);
    time_steps(&run, 1);
    for (int i = 0; i < GRAM_STEPS; i++)
        seconds[i] = time_steps(&run, 1);
    close_run(&run);
    ts_text_free(&yaml);
    printf("%d layers of width %d, %s: %.3g s a step\n", layers, width, mixture, bench_median(seconds, GRAM_STEPS));
    fflush(stdout);
    return bench_median(seconds, GRAM_STEPS);
}

static void bench_gram(TsGroup *group, int layers, int width)
{
    double without = time_eight(group, layers, width, "{mode: joint}");
    double with = time_eight(group, layers, width, "{mode: joint, balance: pcgrad}");
    bench_target("mixture/gram", with / without);
}

/* ---- two ranks ---- */

/* The median time of a batch of each of two tasks, one three times as large as the other. */
static double time_two(TsGroup *group, int width, int batch, int length, const char *mixture, int steps)
{
    TsText yaml = {0};
    double seconds[ROUNDS];
    begin_yaml(&yaml, 2, width, mixture);
    add_task(&yaml, 0, 3 * batch, length);
    add_task(&yaml, 1, batch, length);
    Run run = open_run(group, &yaml);
    time_steps(&run, 60); /* costs are measured, and groups cut anew, on the way */
    for (int round = 0; round < ROUNDS; round++)
        seconds[round] = time_steps(&run, STEPS * steps) / STEPS;
    close_run(&run);
    ts_text_free(&yaml);
    return bench_median(seconds, ROUNDS);
}

static void bench_concurrent(TsGroup *group)
{
    static const struct {
        int width, batch, length;
    } cases[] = {{32, 1, 16}, {64, 1, 16}, {128, 1, 16}, {128, 2, 64}, {256, 4, 128}};
    double first = 0;
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        double turns = time_two(group, cases[i].width, cases[i].batch, cases[i].length,
                                "{mode: interleaved, sampler: round_robin}", 2);
        double joint = time_two(group, cases[i].width, cases[i].batch, cases[i].length, "{mode: joint}", 1);
        double side = time_two(group, cases[i].width, cases[i].batch, cases[i].length,
                               "{mode: concurrent, scaling: 0.6, recut: 20}", 1);
        first = i ? first : turns / side;
        if (ts_group_rank(group) == 0)
            printf("width %3d, rows %d and %d of %d: a batch of each interleaved %.3g ms, joint %.3g ms, concurrent "
                   "%.3g ms, %.3g times interleaved\n",
                   cases[i].width, 3 * cases[i].batch, cases[i].batch, cases[i].length, 1e3 * turns, 1e3 * joint,
                   1e3 * side, turns / side);
    }
    if (ts_group_rank(group) == 0)
        bench_target("mixture/concurrent", first);
}

int main(int argc, char **argv)
{
    ts_matmul_settle(argv);
    TsGroup *world = ts_runtime_start((TsRuntimeOptions){0});
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "tasks") == 0)
        bench_tasks(world);
    else if (strcmp(what, "gram") == 0)
        bench_gram(world, argc > 3 ? atoi(argv[2]) : 12, argc > 3 ? atoi(argv[3]) : 768);
    else if (strcmp(what, "concurrent") == 0)
        bench_concurrent(world);
    else
        return fprintf(stderr, "usage: mixture tasks | gram [LAYERS WIDTH] | concurrent\n"), ts_runtime_end(2);
    return ts_runtime_end(0);
}
