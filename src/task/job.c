/* SPDX-License-Identifier: Apache-2.0 */
#include "task/job.h"

#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"

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

/* Fills the table: each task's predictions are traced once. */
static TsStatus declare_parameters(TsJob *job)
{
    job->parameters = ts_parameters_create(job->mesh);
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
    return TS_OK;
}

/* Layers cut nothing along these axes: their ranks all do the same. */
static void warn_of_idle_axes(const TsMesh *mesh)
{
    static const TsAxis idle[] = {TS_AXIS_STAGE, TS_AXIS_EXPERT, TS_AXIS_SEQ};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (ts_mesh_size(mesh, idle[i]) > 1)
            ts_log(TS_LOG_WARNING, "mesh.%s: no layer is cut along it; its %d ranks repeat each other's work",
                   ts_axis_name(idle[i]), ts_mesh_size(mesh, idle[i]));
}

/* That the parameters alone fit into the memory of this rank's host, beside those of the other ranks there. */
static TsStatus expect_memory(const TsJob *job)
{
    double bytes = 0, memory_bytes = (double)ts_machine().memory_bytes;
    int ranks = ts_group_node_size(job->group);
    for (int i = 0; i < ts_parameters_count(job->parameters); i++) {
        const TsParameter *row = ts_parameters_at(job->parameters, i);
        TsBlockRange block = ts_placement_local(row->placement, row->shape, job->mesh);
        bytes += (double)ts_shape_elems(block.shape) * (double)ts_dtype_bytes(row->dtype) * ranks;
    }
    if (memory_bytes == 0 || bytes <= memory_bytes)
        return TS_OK;
    return ts_status_error(TS_CODE_RESOURCES,
                           "backbone: %.4g GiB of parameters for %d rank%s on a host with %.4g GiB of memory",
                           bytes / (1 << 30), ranks, ranks == 1 ? "" : "s", memory_bytes / (1 << 30));
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
        status = ts_comm_agree(group, expect_memory(made));
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
