/* SPDX-License-Identifier: Apache-2.0
 *
 * Job: what a config describes, made: the mesh, the tasks, the table of parameters, and their arrays.
 *
 * Training, evaluation and decoding each begin with one. Hangs off a Group, so that several can run side by side.
 */
#pragma once

#include "task/config.h"
#include "task/task.h"

typedef struct TsJob {
    TsGroup *group;          /* borrowed */
    const TsConfig *config;  /* borrowed */
    const TsJobConfig *keys; /* its value */
    TsMesh *mesh;
    int threads;
    TsDtype dtype;
    TsJobMicros micros;
    TsShardingConfig sharding; /* keys->parameters, and the virtual shards of reproducible numerics */
    int task_count;
    TsTask **tasks;           /* (task_count) in the config's order */
    TsParameters *parameters; /* of all tasks */
    TsParameters **own;       /* (task_count) those rows of it that each task's Programs bind */
    TsBatch *arrays;          /* the parameters by path, with their initial values */
} TsJob;

typedef struct TsJobOptions {
    const json_t *kept;           /* what a checkpoint has of its tasks, by name; NULL: there is none */
    TsList files;                 /* of paths: examples to predict in place of the config's. Empty: none */
    const char *only;             /* the task that `files` are for, the others are without data; NULL: all */
    bool without_data;            /* tasks open no files: to decode */
    bool by_example;              /* a row of a batch is an example, packed or not: to predict each */
    const TsMeshShape *described; /* only described: the mesh has this shape, whatever the group, this rank is its last,
                                     and parameters have no arrays. NULL: the config's mesh over the group */
} TsJobOptions;

/* Makes mesh, tasks and parameters. Collective on group; the same status on all ranks. Owned by the caller. */
TS_MUST_USE TsStatus ts_job_open(TsJob **job, TsGroup *group, const TsConfig *config, TsJobOptions options);

/* Collective on its group. Sets *job to NULL; NULL is fine. */
void ts_job_close(TsJob **job);

/* What a checkpoint must keep of the tasks beside arrays, an object of their names; owned by the caller. */
json_t *ts_job_keep(const TsJob *job);

/* That the tasks are those of a checkpoint that kept this: an error where the training data has other classes now.
 * Not collective; the same on all ranks. */
TS_MUST_USE TsStatus ts_job_check_keep(const TsJob *job, const json_t *kept);

/* The parameters that the task's Programs bind; `task` is one of the job's. Borrowed. */
TsParameters *ts_job_parameters_of(const TsJob *job, const TsTask *task);

/* What of a task's trunk is frozen, put in, or its own, of what a table declares from now on: the table is borrowed. */
TS_MUST_USE TsStatus ts_job_fine_tune(TsParameters *parameters, const TsJob *job, int task);

/* The task of that name; an error that names the nearest. */
TS_MUST_USE TsStatus ts_job_find_task(const TsTask **task, const TsJob *job, const char *name);

/* The parameters that checkpoints hold, under the names that they bear there, "parameters/PATH"; lent, so the batch is
 * the caller's, the arrays are not. A backbone that fine_tune freezes is not among them: task/run/base.h. */
TsBatch *ts_job_kept(const TsJob *job);

/* The same arrays, by the names in checkpoints of what evaluation and decoding begin with: "average/PATH" of what
 * learns where learner.ema says so, else "parameters/PATH". */
TsBatch *ts_job_evaluated(const TsJob *job);
