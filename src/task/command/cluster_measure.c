/* SPDX-License-Identifier: Apache-2.0
 *
 * What ts_measure finds, as `cluster:` of a config, and how far each kind of op stays behind it.
 */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "task/command/cluster.h"
#include "task/job.h"
#include "task/learner/learner.h"
#include "task/command/measure.h"
#include "task/step.h"

enum {
    LARGE = 768, /* rows and columns of a product that runs at the full rate */
    SMALL = 32,  /* of one that does not */
    STEPS = 2,   /* of training that are timed */
};

static void append_link(TsText *text, const char *name, TsMeasuredLink link)
{
    if (link.bandwidth > 0)
        ts_text_append(text, "  %s: {latency: %.6g ms, bandwidth: %.4g}\n", name, link.latency_s * 1e3, link.bandwidth);
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
        double measured_s = ts_measure_mean(group, ts_timeline_seconds(timeline, "kernel", op->name) / STEPS);
        double estimated_s = ts_measure_mean(group, op->seconds);
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
    double large_s = ts_measure_mean(group, ts_measure_product(group, LARGE, TS_F32, threads));
    double small_s = ts_measure_mean(group, ts_measure_product(group, SMALL, TS_F32, threads));
    double large = 2 * pow(LARGE, 3), small = 2 * pow(SMALL, 3);
    TsMachineModel model = {.flops = large / large_s,
                            .half_flops = fmax(0, small_s * large / large_s - small),
                            .op_s = 1e-6,
                            .ranks_per_node = ts_group_node_size(group),
                            .link = {1e-5, 1e9},
                            .local = {1e-6, 1e9}};
    TS_TRY(ts_measure_memory(&model.memory_bandwidth, group, threads));
    ts_text_append(text, "cluster:\n  flops: %.4g\n  half_flops: %.4g\n  memory_bandwidth: %.4g\n  op: %.4g ms\n",
                   model.flops, model.half_flops, model.memory_bandwidth, model.op_s * 1e3);
    if (machine.memory_bytes > 0)
        ts_text_append(text, "  memory: %lld\n", (long long)machine.memory_bytes);
    ts_text_append(text, "  nodes: %d\n  ranks_per_node: %d\n", ts_group_nodes(group), ts_group_node_size(group));
    TsMeasuredLinks links = ts_measure_links(group);
    append_link(text, "link", links.between);
    append_link(text, "local", links.within);
    return config ? measure_ops(text, group, config, &model) : TS_OK;
}
