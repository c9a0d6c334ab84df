/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/course.h"

/* The task's parameters as a table on the mesh of a group. */
static TsStatus copy_parameters(TsParameters **copy, const TsJob *job, int index, const TsMesh *mesh)
{
    const TsParameters *own = job->own[index];
    *copy = ts_parameters_create(mesh);
    TS_TRY(ts_parameters_shard(*copy, &job->sharding));
    TS_TRY(ts_job_fine_tune(*copy, job, index));
    for (int i = 0; i < ts_parameters_count(own); i++) {
        TsParameter row = *ts_parameters_at(own, i);
        row.placement = row.declared;
        TS_TRY(ts_parameters_declare(*copy, row));
        if (!row.trainable)
            ts_parameters_freeze(*copy, row.path);
    }
    return TS_OK;
}

static TsStepOptions step_options(const TsCourse *course, const TsCourseSetting *setting)
{
    const TsJob *job = setting->job;
    const TsTaskConfig *keys = (const TsTaskConfig *)job->keys->tasks.items + setting->index;
    return (TsStepOptions){.parameters = course->parameters,
                           .sequence = ts_job_sequence(job->keys),
                           .learner = &job->keys->learner,
                           .objective = &keys->objective,
                           .vn = keys->vn,
                           .gradients = setting->gradients,
                           .added = setting->own,
                           .metrics = course->metrics,
                           .memory = ts_job_memory(job->keys),
                           .seed = (uint64_t)job->keys->run.seed,
                           .dtype = job->dtype,
                           .threads = job->threads};
}

void ts_course_watch(TsCourse *course, TsCourseSetting setting)
{
    if (course->metrics || !course->task->train)
        return;
    course->parameters = setting.job->own[setting.index];
    course->metrics =
        ts_step_metrics_of(course->task, ts_loader_batch(course->task->train, 0), step_options(course, &setting));
    course->parameters = NULL;
}

TsStatus ts_course_open(TsCourse *course, TsCourseSetting setting)
{
    const TsJob *job = setting.job;
    ts_course_watch(course, setting);
    course->own_mesh = setting.mesh != NULL;
    course->parameters = job->own[setting.index];
    course->loader = course->task->train;
    if (course->own_mesh) {
        course->loader = ts_loader_on(course->task->train, setting.mesh);
        TS_TRY(copy_parameters(&course->parameters, job, setting.index, setting.mesh));
    }
    for (int k = 0; k < ts_loader_lengths(course->loader); k++) {
        TS_TRY(ts_step_create(&course->passes[k], course->task, ts_loader_batch(course->loader, k),
                              step_options(course, &setting)));
        ts_step_bind(course->passes[k], setting.arrays, setting.into);
        if (setting.own)
            ts_step_bind(course->passes[k], setting.arrays, setting.own);
        ts_step_record(course->passes[k], setting.timeline);
        double bytes;
        ts_program_cost(ts_step_program(course->passes[k]), &course->flops[k], &bytes);
    }
    return TS_OK;
}

void ts_course_close(TsCourse *course)
{
    for (int k = TS_MAX_LENGTHS - 1; k >= 0; k--)
        ts_step_free(&course->passes[k]);
    if (course->own_mesh) {
        ts_loader_free(&course->loader);
        ts_parameters_free(&course->parameters);
    }
    course->own_mesh = false;
    course->loader = NULL;
    course->parameters = NULL;
}

void ts_course_free(TsCourse *course)
{
    ts_course_close(course);
    ts_metrics_free(&course->metrics);
}

int ts_course_read(TsCourse *course)
{
    if (!course->loader) {
        course->task->place += ts_loader_rows(course->task->train);
        return -1;
    }
    return ts_loader_next(course->loader, &course->task->place); /* each rank reads its own rows */
}
