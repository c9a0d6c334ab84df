/* SPDX-License-Identifier: Apache-2.0
 *
 * A job as the Trainer runs it, step by step and without a run directory, on any group: what the tests compare between
 * meshes.
 */
#pragma once

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "task/job.h"
#include "task/learner/learner.h"
#include "task/step.h"
#include "test.h"

typedef struct MeshRun {
    TsConfig *config;
    TsJob *job;
    TsLearner *learner;
    TsStep *step;
} MeshRun;

static const char mesh_run_base[] =
    "run: {dir: none, seed: 3, threads: 1}\n"
    "backbone: {type: transformer, layers: 2, heads: 4, width: 16, context: 8, vocab: 256}\n"
    "learner: {optimizer: {type: adamw, rate: 1e-3}, clip: 1}\n"
    "tasks: {lm: {type: language_model, data: {text: tests/data/alice.txt, batch: 8, validation: 0}}}\n";

static inline void mesh_run_free(MeshRun *run)
{
    ts_step_free(&run->step);
    ts_learner_free(&run->learner);
    ts_job_close(&run->job);
    ts_config_free(&run->config);
}

/* `words` are overrides between spaces, "mesh.model=2 run.precision=f64". Collective on group. */
static inline TsStatus mesh_run_create(MeshRun *run, TsGroup *group, const char *words)
{
    char copy[1024], *next = copy;
    const char *overrides[64];
    TsConfigText text = {"base", mesh_run_base, strlen(mesh_run_base)};
    TsConfigSources sources = {.texts = &text, .text_count = 1, .overrides = overrides};
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word; (word = strsep(&next, " "));)
        if (*word)
            overrides[sources.override_count++] = word;
    *run = (MeshRun){.config = NULL};
    TS_TRY(ts_config_load(&run->config, &ts_job_table, sources));
    TS_TRY(ts_job_open(&run->job, group, run->config, (TsJobOptions){0}));
    const TsJobConfig *keys = run->job->keys;
    TsLearnerSetting setting = {.config = &keys->learner,
                                .parameters = run->job->parameters,
                                .arrays = run->job->arrays,
                                .threads = run->job->threads};
    TS_TRY(ts_learner_create(&run->learner, setting));
    TS_TRY(ts_step_create(&run->step, run->job->tasks[0], ts_loader_batch(run->job->tasks[0]->train, 0),
                          (TsStepOptions){.parameters = ts_job_parameters_of(run->job, run->job->tasks[0]),
                                          .sequence = ts_job_sequence(keys),
                                          .learner = &keys->learner,
                                          .memory = ts_job_memory(keys),
                                          .objective = &((const TsTaskConfig *)keys->tasks.items)->objective,
                                          .vn = ((const TsTaskConfig *)keys->tasks.items)->vn,
                                          .seed = (uint64_t)keys->run.seed,
                                          .dtype = run->job->dtype,
                                          .threads = run->job->threads}));
    ts_step_bind(run->step, run->job->arrays, ts_learner_gradients(run->learner));
    return TS_OK;
}

/* Forward and backward of step `number`; the losses add up. */
static inline void mesh_run_pass(MeshRun *run, int64_t number)
{
    TsTask *task = run->job->tasks[0];
    ts_loader_next(task->train, &task->place);
    ts_step_run(run->step, number, 1);
}

/* Its update. */
static inline TsLearnerReport mesh_run_learn(MeshRun *run, int64_t number, int64_t steps)
{
    return ts_learner_step(run->learner, 0, &number, number, steps);
}

/* The losses since the last time, over all ranks. */
static inline void mesh_run_losses(MeshRun *run, TsWeightedScalar *scalars)
{
    TsMetrics *metrics = ts_step_metrics(run->step);
    ts_metrics_reduce(scalars, metrics, ts_mesh_group(run->job->mesh, ts_batch_axes()));
    ts_metrics_reset(metrics);
}
