/* SPDX-License-Identifier: Apache-2.0 */
#include "task/job.h"

#include "base/log.h"
#include "base/memory.h"
#include "task/fit.h"

static TsStatus create_tasks(TsJob *job, TsJobOptions options)
{
    const TsMap *map = &job->keys->tasks;
    const TsTaskConfig *items = map->items;
    job->tasks = ts_calloc((size_t)map->count, sizeof(TsTask *));
    for (int64_t i = 0; i < map->count; i++) {
        TsTaskSetting setting = {.group = job->group,
                                 .mesh = job->mesh,
                                 .config = job->config,
                                 .backbone = &job->keys->backbone,
                                 .name = map->names[i],
                                 .seed = (uint64_t)job->keys->run.seed,
                                 .without_data = options.without_data};
        TS_TRY(ts_task_create(&job->tasks[i], items[i].kind, setting));
        job->task_count++;
    }
    return TS_OK;
}

/* An error about a rule, with its file and line. */
static TsStatus locate_rule(const TsJob *job, TsStatus status)
{
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(job->config, "parameters.rules", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

/* Fills the table: each task's predictions are traced once. */
static TsStatus declare_parameters(TsJob *job)
{
    job->parameters = ts_parameters_create(job->mesh);
    TS_TRY(locate_rule(job, ts_parameters_shard(job->parameters, &job->keys->parameters)));
    for (int i = 0; i < job->task_count; i++) {
        const TsTask *task = job->tasks[i];
        TsGraph *graph = ts_graph_create();
        TsScope scope = {.graph = graph, .parameters = job->parameters, .dtype = job->dtype, .step = TS_NONE};
        TsColumns columns = ts_columns_trace(graph, task->sample);
        task->model->compute_predictions(scope, task->options, &columns);
        TsStatus status = ts_graph_status(graph);
        ts_graph_free(&graph);
        if (status)
            return ts_status_annotate(status, "tasks.%s", task->name);
    }
    return locate_rule(job, ts_parameters_check_rules(job->parameters));
}

/* Layers cut nothing along these axes: their ranks all do the same. */
static void warn_of_idle_axes(const TsMesh *mesh)
{
    static const TsAxis idle[] = {TS_AXIS_STAGE, TS_AXIS_SEQ};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (ts_mesh_size(mesh, idle[i]) > 1)
            ts_log(TS_LOG_WARNING, "mesh.%s: no layer is cut along it; its %d ranks repeat each other's work",
                   ts_axis_name(idle[i]), ts_mesh_size(mesh, idle[i]));
}

TsStatus ts_job_open(TsJob **job, TsGroup *group, const TsConfig *config, TsJobOptions options)
{
    TsJob *made = ts_calloc(1, sizeof *made);
    *made = (TsJob){.group = group, .config = config, .keys = ts_config_value(config)};
    made->dtype = ts_job_dtype(made->keys);
    made->threads = ts_job_threads(group, made->keys);
    TsStatus status = ts_job_mesh(&made->mesh, group, config);
    if (!status && ts_group_rank(group) == 0)
        warn_of_idle_axes(made->mesh);
    if (!status)
        status = create_tasks(made, options);
    if (!status)
        status = declare_parameters(made);
    if (!status)
        status = ts_comm_agree(group, ts_fit_check(made->parameters, group, !options.without_data));
    if (!status)
        made->arrays = ts_parameters_initialize(made->parameters, (uint64_t)made->keys->run.seed);
    if (status)
        ts_job_close(&made);
    *job = made;
    return status;
}

void ts_job_close(TsJob **job)
{
    if (!*job)
        return;
    for (int i = 0; i < (*job)->task_count; i++)
        ts_task_free(&(*job)->tasks[i]);
    ts_free((*job)->tasks);
    ts_batch_free(&(*job)->arrays);
    ts_parameters_free(&(*job)->parameters);
    ts_mesh_free(&(*job)->mesh);
    ts_free(*job);
    *job = NULL;
}

TsBatch *ts_job_kept(const TsJob *job)
{
    TsBatch *kept = ts_batch_create();
    for (int i = 0; i < ts_batch_count(job->arrays); i++) {
        char *name = ts_format("parameters/%s", ts_batch_name(job->arrays, i));
        ts_batch_lend(kept, name, ts_batch_array(job->arrays, i));
        ts_free(name);
    }
    return kept;
}
