/* SPDX-License-Identifier: Apache-2.0
 *
 * Measure: what the ranks at hand can do, as `cluster:` of a config. All ranks work at the same time, as they do in a
 * step, and the mean is taken.
 */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "task/cluster.h"
#include "task/job.h"
#include "task/learner.h"
#include "task/step.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"

enum {
    LARGE = 768, /* rows and columns of a product that runs at the full rate */
    SMALL = 32,  /* of one that does not */
    SUM_ELEMS = 1 << 23,
    STEPS = 2, /* of training that are timed */
};
static const double TIMED_S = 0.25;

static double mean_of_ranks(TsGroup *group, double value)
{
    double sum = 0;
    ts_all_reduce(group,
                  (TsTransfer){.out = &sum, .in = &value, .count_elems = 1, .dtype = TS_F64, .label = "measure"});
    return sum / ts_group_size(group);
}

/* ---- a rank ---- */

/* Seconds of one square product, of many. */
static double product_seconds(TsGroup *group, int64_t size, int threads)
{
    size_t elems = (size_t)(size * size);
    float *matrix[3];
    for (int m = 0; m < 3; m++) {
        matrix[m] = ts_alloc(elems * sizeof(float));
        for (size_t i = 0; i < elems; i++)
            matrix[m][i] = (float)(i % 17) * 0.01f;
    }
    TsMatmul product = {.c = matrix[0],
                        .a = matrix[1],
                        .b = matrix[2],
                        .m = size,
                        .n = size,
                        .k = size,
                        .dtype = TS_F32,
                        .threads = threads};
    ts_matmul(&product);
    ts_barrier(group, "measure");
    double begin_s = ts_timeline_now(), now_s = begin_s;
    int64_t calls = 0;
    for (; now_s - begin_s < TIMED_S; now_s = ts_timeline_now(), calls++)
        ts_matmul(&product);
    for (int m = 0; m < 3; m++)
        ts_free(matrix[m]);
    return mean_of_ranks(group, (now_s - begin_s) / (double)calls);
}

/* Bytes a second of sum = a + b, of arrays that no cache holds. */
static TsStatus sum_bandwidth(double *bandwidth, TsGroup *group, int threads)
{
    static const char *const names[] = {"a", "b", "sum"};
    TsShape shape = ts_shape(SUM_ELEMS);
    TsArray *array[3];
    TsProgram *program = NULL;
    TsGraph *graph = ts_graph_create();
    TsTensor a = ts_input(graph, names[0], TS_F32, shape, ts_replicated);
    TsTensor b = ts_input(graph, names[1], TS_F32, shape, ts_replicated);
    ts_output(names[2], ts_add(a, b), ts_replicated);
    TS_TRY(ts_comm_agree(group, ts_program_compile(&program, graph, (TsCompileOptions){.threads = threads})));
    for (int i = 0; i < 3; i++) {
        array[i] = ts_array_create(NULL, TS_F32, shape, ts_replicated, (TsArrayOptions){0});
        ts_program_bind(program, names[i], array[i]);
    }
    ts_program_run(program);
    ts_barrier(group, "measure");
    double begin_s = ts_timeline_now(), now_s = begin_s;
    int64_t calls = 0;
    for (; now_s - begin_s < TIMED_S; now_s = ts_timeline_now(), calls++)
        ts_program_run(program);
    *bandwidth = mean_of_ranks(group, 3.0 * SUM_ELEMS * sizeof(float) * (double)calls / (now_s - begin_s));
    ts_program_free(&program);
    for (int i = 0; i < 3; i++)
        ts_array_free(&array[i]);
    return TS_OK;
}

/* ---- links ---- */

/* Seconds of an all-reduce of so many bytes. */
static double all_reduce_seconds(TsGroup *group, int64_t bytes)
{
    enum { CALLS = 5 };
    int64_t elems = bytes / (int64_t)sizeof(float);
    float *data = ts_calloc((size_t)elems, sizeof *data);
    TsTransfer transfer = {.out = data, .in = data, .count_elems = elems, .dtype = TS_F32, .label = "measure"};
    double least_s = INFINITY;
    ts_all_reduce(group, transfer);
    for (int i = 0; i < CALLS; i++) {
        ts_barrier(group, "measure");
        double begin_s = ts_timeline_now();
        ts_all_reduce(group, transfer);
        least_s = fmin(least_s, mean_of_ranks(group, ts_timeline_now() - begin_s));
    }
    ts_free(data);
    return least_s;
}

static void append_link(TsText *text, const char *name, double latency_s, double bandwidth)
{
    ts_text_append(text, "  %s: {latency: %.6g ms, bandwidth: %.4g}\n", name, fmax(latency_s, 1e-7) * 1e3, bandwidth);
}

/* Two sizes give latency and bandwidth: a ring of n nodes takes 2 (n - 1) messages. */
static void measure_links(TsText *text, TsGroup *group)
{
    const int64_t few = 64 << 10, many = 4 << 20;
    int nodes = ts_group_nodes(group), here = ts_group_node_size(group);
    TsGroup *across = ts_group_split(group, "across", ts_group_node_rank(group), ts_group_rank(group));
    TsGroup *inside = ts_group_split(group, "inside", ts_group_node_of(group, ts_group_rank(group)), 0);
    if (nodes > 1) {
        double few_s = mean_of_ranks(group, all_reduce_seconds(across, few));
        double many_s = mean_of_ranks(group, all_reduce_seconds(across, many));
        double messages = 2.0 * (nodes - 1), byte_s = fmax(many_s - few_s, 1e-9) / (double)(many - few);
        append_link(text, "link", (few_s - byte_s * (double)few) / messages, messages / nodes * here / byte_s);
    }
    if (here > 1) {
        double few_s = mean_of_ranks(group, all_reduce_seconds(inside, 1 << 10));
        double many_s = mean_of_ranks(group, all_reduce_seconds(inside, many));
        append_link(text, "local", few_s, (double)many / fmax(many_s - few_s, 1e-9));
    }
    ts_group_free(&across);
    ts_group_free(&inside);
}

/* ---- ops ---- */

/* Runs one step of the task's passes over its first batch. */
static void run_step(TsJob *job, TsStep *step, TsLearner *learner, int64_t number)
{
    int64_t *steps = ts_calloc((size_t)job->task_count, sizeof *steps), place = 0;
    steps[0] = number;
    ts_loader_next(job->tasks[0]->train, &place);
    ts_step_run(step, number, 1);
    ts_learner_step(learner, 0, steps, number, STEPS + 1);
    ts_free(steps);
}

static void append_efficiency(TsText *text, TsGroup *group, const TsEstimate *estimate, const TsTimeline *timeline)
{
    const char *between = "";
    ts_text_append(text, "  efficiency: {");
    for (int i = 0; i < estimate->ops; i++) { /* the same ops in the same order on all ranks */
        const TsEstimateOp *op = &estimate->op[i];
        double measured_s = mean_of_ranks(group, ts_timeline_seconds(timeline, "kernel", op->name) / STEPS);
        double estimated_s = mean_of_ranks(group, op->seconds);
        if (measured_s <= 0 || estimated_s <= 0)
            continue;
        ts_text_append(text, "%s%s: %.4g", between, op->name, estimated_s / measured_s);
        between = ", ";
    }
    ts_text_append(text, "}\n");
}

/* Trains the first task for a few steps on its first batch, and compares each kind of op with its roof. */
static TsStatus measure_ops(TsText *text, TsGroup *group, const TsConfig *config, const TsMachineModel *machine)
{
    TsJob *job = NULL;
    TsStep *step = NULL;
    TsLearner *learner = NULL;
    TS_TRY(ts_job_open(&job, group, config, (TsJobOptions){0}));
    TsStatus status = ts_learner_create(&learner, (TsLearnerSetting){.config = &job->keys->learner,
                                                                     .parameters = job->parameters,
                                                                     .arrays = job->arrays,
                                                                     .users = (const TsParameters *const *)job->own,
                                                                     .user_count = job->task_count,
                                                                     .threads = job->threads});
    if (!status)
        status = ts_comm_agree(group, ts_step_create(&step, job->tasks[0], ts_loader_batch(job->tasks[0]->train, 0),
                                                     (TsStepOptions){.parameters = job->own[0],
                                                                     .sequence = ts_job_sequence(job->keys),
                                                                     .learner = &job->keys->learner,
                                                                     .seed = (uint64_t)job->keys->run.seed,
                                                                     .dtype = job->dtype,
                                                                     .threads = job->threads}));
    if (!status) {
        ts_step_bind(step, job->arrays, ts_learner_gradients(learner));
        run_step(job, step, learner, 1);
        TsTimeline *timeline = ts_timeline_start(group);
        ts_step_record(step, timeline);
        ts_learner_record(learner, timeline);
        for (int64_t number = 2; number < 2 + STEPS; number++)
            run_step(job, step, learner, number);
        TsEstimate *estimate = ts_calloc(1, sizeof *estimate);
        ts_program_estimate(estimate, ts_step_program(step), machine);
        ts_program_estimate(estimate, ts_learner_program(learner, 0), machine);
        append_efficiency(text, group, estimate, timeline);
        ts_free(estimate);
        ts_timeline_free(&timeline);
    }
    ts_step_free(&step);
    ts_learner_free(&learner);
    ts_job_close(&job);
    return status;
}

TsStatus ts_cluster_measure(TsText *text, TsGroup *group, const TsConfig *config)
{
    const TsJobConfig *keys = config ? ts_config_value(config) : NULL;
    TsMachine machine = ts_machine();
    int threads =
        keys ? ts_job_threads(group, keys) : ts_machine_threads(&machine, TS_AUTO, ts_group_node_size(group), NULL);
    double large_s = product_seconds(group, LARGE, threads), small_s = product_seconds(group, SMALL, threads);
    double large = 2 * pow(LARGE, 3), small = 2 * pow(SMALL, 3);
    TsMachineModel model = {.flops = large / large_s,
                            .half_flops = fmax(0, small_s * large / large_s - small),
                            .op_s = 1e-6,
                            .ranks_per_node = ts_group_node_size(group),
                            .link = {1e-5, 1e9},
                            .local = {1e-6, 1e9}};
    TS_TRY(sum_bandwidth(&model.memory_bandwidth, group, threads));
    ts_text_append(text, "cluster:\n  flops: %.4g\n  half_flops: %.4g\n  memory_bandwidth: %.4g\n  op: %.4g ms\n",
                   model.flops, model.half_flops, model.memory_bandwidth, model.op_s * 1e3);
    if (machine.memory_bytes > 0)
        ts_text_append(text, "  memory: %lld\n", (long long)machine.memory_bytes);
    ts_text_append(text, "  nodes: %d\n  ranks_per_node: %d\n", ts_group_nodes(group), ts_group_node_size(group));
    measure_links(text, group);
    return config ? measure_ops(text, group, config, &model) : TS_OK;
}
