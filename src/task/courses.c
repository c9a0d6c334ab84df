/* SPDX-License-Identifier: Apache-2.0 */
#include "task/courses.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "comm/partition.h"
#include "task/balance.h"
#include "task/cut.h"
#include "task/mixture.h"
#include "task/step.h"

/* A task in training. */
typedef struct Course {
    TsTask *task;
    TsParameters *parameters;       /* of its passes: the job's, or owned, on the mesh of its group */
    TsLoader *loader;               /* likewise; NULL: it does not run here */
    TsStep *passes[TS_MAX_LENGTHS]; /* one a length of batches; none where it does not run here */
    double flops[TS_MAX_LENGTHS];   /* of each, on all ranks that run it together */
    TsMetrics *metrics;             /* NULL: it does not learn */
    int64_t steps;                  /* by itself */
    double seconds;                 /* of its passes here since groups were looked at last */
} Course;

struct TsCourses {
    TsJob *job;
    const TsMixtureConfig *config;
    TsMixture *mixture;
    TsLearner *learner;
    TsBalance *balance; /* NULL: interleaved */
    Course *courses;    /* (count) */
    int count;
    int64_t *places, *steps;    /* (count) of all tasks, as others take them */
    bool *active;               /* (count) tasks of the next step */
    double *coefficient, *loss; /* (count) of the step */
    TsWeightedScalar *before;   /* (count) what the metrics had before the step */
    int64_t together;           /* steps of several tasks */
    int64_t cut_step;           /* of the last cut, or look at it */
    TsPartition *partition;     /* NULL: all ranks run all tasks */
    TsCut cut;
    TsRecording *recording; /* NULL: none yet */
};

static bool is_together(const TsCourses *courses)
{
    return courses->config->mode != TS_MIXTURE_INTERLEAVED;
}

static bool is_concurrent(const TsCourses *courses)
{
    return courses->config->mode == TS_MIXTURE_CONCURRENT;
}

/* Gradients of several tasks are sums that wait for the last of them; reproducible ones have their order to keep. */
static TsStepGradients gradients_of(const TsCourses *courses)
{
    return !is_together(courses)                       ? TS_GRADIENTS_GIVEN
           : courses->job->sharding.virtual_shards > 0 ? TS_GRADIENTS_ADDED
                                                       : TS_GRADIENTS_IN_PARTS;
}

/* ---- making ---- */

static TsStatus create_mixture(TsCourses *courses)
{
    const TsJob *job = courses->job;
    const TsTaskConfig *keys = job->keys->tasks.items;
    TsMixtureTask *tasks = ts_calloc((size_t)courses->count, sizeof *tasks);
    for (int i = 0; i < courses->count; i++) {
        const TsTask *task = job->tasks[i];
        tasks[i] = (TsMixtureTask){.name = task->name,
                                   .weight = keys[i].weight,
                                   .loss_weight = keys[i].loss_weight,
                                   .examples = task->train ? ts_loader_count(task->train) : 0,
                                   .rows = task->train ? ts_loader_rows(task->train) : 1,
                                   .tokens = task->tokens_a_batch > 0 ? task->tokens_a_batch : 1};
    }
    TsStatus status =
        ts_mixture_create(&courses->mixture, courses->config, tasks, courses->count, (uint64_t)job->keys->run.seed);
    ts_free(tasks);
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(job->config, "mixture", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

/* What cannot be in one step, or side by side. */
static TsStatus check_together(const TsCourses *courses)
{
    const TsJob *job = courses->job;
    if (courses->balance &&
        (ts_balance_takes_gram(courses->balance) || ts_balance_waits_for_gradients(courses->balance)))
        return ts_config_error_at(job->config, "mixture.balance",
                                  "%s needs the gradients of each task apart, and a step adds them up as they come: "
                                  "fixed, uncertainty and dynamic_average do without",
                                  courses->config->balance.variant->name);
    if (!is_concurrent(courses))
        return TS_OK;
    if (job->sharding.shard == TS_SHARD_DATA)
        return ts_config_error_at(job->config, "parameters.shard",
                                  "mixture.mode: concurrent needs parameters whole along data: tasks on different "
                                  "ranks use them at different times");
    if (job->sharding.virtual_shards > 0)
        return ts_config_error_at(job->config, "mixture.mode",
                                  "concurrent: what groups add up depends on how they are cut, so it is not "
                                  "reproducible: joint is");
    if (courses->count > TS_MAX_CUT)
        return ts_config_error_at(job->config, "mixture.mode", "concurrent: %d tasks; %d can run side by side",
                                  courses->count, TS_MAX_CUT);
    return TS_OK;
}

/* The task's parameters as a table on the mesh of a group. */
static TsStatus copy_parameters(TsParameters **copy, const TsJob *job, const TsParameters *own, const TsMesh *mesh)
{
    *copy = ts_parameters_create(mesh);
    TS_TRY(ts_parameters_shard(*copy, &job->sharding));
    for (int i = 0; i < ts_parameters_count(own); i++) {
        TsParameter row = *ts_parameters_at(own, i);
        row.placement = row.declared;
        TS_TRY(ts_parameters_declare(*copy, row));
        if (!row.trainable)
            ts_parameters_freeze(*copy, row.path);
    }
    return TS_OK;
}

static TsStepOptions step_options(const TsCourses *courses, int index)
{
    const TsJob *job = courses->job;
    const Course *course = &courses->courses[index];
    const TsTaskConfig *keys = (const TsTaskConfig *)job->keys->tasks.items + index;
    return (TsStepOptions){.parameters = course->parameters,
                           .sequence = ts_job_sequence(job->keys),
                           .learner = &job->keys->learner,
                           .objective = &keys->objective,
                           .vn = keys->vn,
                           .gradients = gradients_of(courses),
                           .metrics = course->metrics,
                           .memory = ts_job_memory(job->keys),
                           .seed = (uint64_t)job->keys->run.seed,
                           .dtype = job->dtype,
                           .threads = job->threads};
}

/* Whether this rank runs the task. */
static bool runs_here(const TsCourses *courses, int index)
{
    return courses->courses[index].task->train &&
           (!courses->partition || courses->cut.group_of[index] == ts_partition_part(courses->partition));
}

static TsStatus create_passes(TsCourses *courses, int index)
{
    Course *course = &courses->courses[index];
    const TsJob *job = courses->job;
    course->parameters = job->own[index];
    course->loader = course->task->train;
    if (!course->metrics)
        course->metrics =
            ts_step_metrics_of(course->task, ts_loader_batch(course->loader, 0), step_options(courses, index));
    if (courses->partition) {
        course->loader = ts_loader_on(course->task->train, ts_partition_mesh(courses->partition));
        TS_TRY(copy_parameters(&course->parameters, job, job->own[index], ts_partition_mesh(courses->partition)));
    }
    for (int k = 0; k < ts_loader_lengths(course->loader); k++) {
        TS_TRY(ts_step_create(&course->passes[k], course->task, ts_loader_batch(course->loader, k),
                              step_options(courses, index)));
        ts_step_bind(course->passes[k], job->arrays, ts_learner_gradients(courses->learner));
        ts_step_record(course->passes[k], courses->recording ? courses->recording->timeline : NULL);
        double bytes;
        ts_program_cost(ts_step_program(course->passes[k]), &course->flops[k], &bytes);
    }
    return TS_OK;
}

static void free_passes(TsCourses *courses, Course *course)
{
    for (int k = TS_MAX_LENGTHS - 1; k >= 0; k--)
        ts_step_free(&course->passes[k]);
    if (courses->partition && course->loader) {
        ts_loader_free(&course->loader);
        ts_parameters_free(&course->parameters);
    }
    course->loader = NULL;
    course->parameters = NULL;
}

/* Of all tasks that run on this rank. The status is agreed. */
static TsStatus create_all_passes(TsCourses *courses)
{
    TsStatus status = TS_OK;
    for (int i = 0; i < courses->count && !status; i++) {
        Course *course = &courses->courses[i];
        if (runs_here(courses, i)) {
            status = create_passes(courses, i);
        } else if (course->task->train && !course->metrics) {
            course->parameters = courses->job->own[i];
            course->metrics =
                ts_step_metrics_of(course->task, ts_loader_batch(course->task->train, 0), step_options(courses, i));
            course->parameters = NULL;
        }
    }
    return ts_comm_agree(courses->job->group, status);
}

/* ---- groups ---- */

/* Along data, the only axis on which groups differ. */
static int slots_of(const TsCourses *courses)
{
    return ts_mesh_size(courses->job->mesh, TS_AXIS_DATA);
}

static TsStatus make_partition(TsCourses *courses)
{
    TsMeshShape shapes[TS_MAX_CUT];
    for (int g = 0; g < courses->cut.groups; g++) {
        shapes[g] = ts_mesh_shape(courses->job->mesh);
        shapes[g].size[TS_AXIS_DATA] = courses->cut.slots[g];
    }
    return ts_partition_create(&courses->partition, courses->job->group, shapes, NULL, courses->cut.groups);
}

static void say_cut(const TsCourses *courses)
{
    TsText line = {0};
    if (ts_group_rank(courses->job->group) != 0)
        return;
    for (int g = 0; g < courses->cut.groups; g++) {
        const char *between = "";
        int ranks = ts_partition_ranks(courses->partition, g);
        ts_text_append(&line, "%s", g ? "; " : "");
        for (int i = 0; i < courses->count; i++)
            if (courses->cut.group_of[i] == g) {
                ts_text_append(&line, "%s%s", between, courses->courses[i].task->name);
                between = ", ";
            }
        ts_text_append(&line, " on %d rank%s", ranks, ranks == 1 ? "" : "s");
    }
    ts_log(TS_LOG_INFO, "side by side: %s", line.data ? line.data : "nothing");
    ts_text_free(&line);
}

/* Cuts the ranks for these loads, and makes the passes anew. */
static TsStatus cut(TsCourses *courses, const double *load)
{
    for (int i = 0; i < courses->count; i++)
        free_passes(courses, &courses->courses[i]);
    ts_partition_free(&courses->partition);
    courses->cut = ts_cut_make(load, courses->count, slots_of(courses), courses->config->scaling);
    TS_TRY(make_partition(courses));
    say_cut(courses);
    return create_all_passes(courses);
}

/* What a step of each task costs one slot, of those that are active: by the seconds since the last look, or where there
 * are none yet, by its tokens. */
static void find_loads(TsCourses *courses, double *load)
{
    double *mine = ts_calloc((size_t)courses->count, sizeof *mine);
    for (int i = 0; i < courses->count; i++)
        mine[i] = courses->courses[i].seconds;
    ts_all_reduce(courses->job->group, (TsTransfer){.out = load,
                                                    .in = mine,
                                                    .count_elems = courses->count,
                                                    .dtype = TS_F64,
                                                    .reduction = TS_MAX,
                                                    .label = "mixture/cost"});
    ts_free(mine);
    for (int i = 0; i < courses->count; i++) {
        int group = courses->partition ? courses->cut.group_of[i] : -1;
        double slots = group >= 0 ? courses->cut.slots[group] : 1;
        load[i] = !courses->active[i]  ? 0
                  : courses->partition ? fmax(load[i], 1e-9) * pow(slots, 1 + log2(courses->config->scaling))
                                       : (double)courses->courses[i].task->tokens_a_batch;
        courses->courses[i].seconds = 0;
    }
}

/* Looks at the groups: at the first step, every `recut` steps, and when a task has ended. */
static TsStatus look_at_groups(TsCourses *courses, int64_t step)
{
    bool ended = false;
    for (int i = 0; i < courses->count && courses->partition; i++)
        ended |= courses->active[i] != (courses->cut.group_of[i] >= 0);
    if (!is_concurrent(courses) || (courses->partition && !ended && step - courses->cut_step < courses->config->recut))
        return TS_OK;
    double *load = ts_calloc((size_t)courses->count, sizeof *load);
    find_loads(courses, load);
    TsCut wanted = ts_cut_make(load, courses->count, slots_of(courses), courses->config->scaling);
    double now = courses->partition && !ended ? ts_cut_time(&courses->cut, load, courses->config->scaling) : INFINITY;
    courses->cut_step = step;
    TsStatus status = TS_OK;
    if (ts_cut_time(&wanted, load, courses->config->scaling) < 0.9 * now)
        status = cut(courses, load);
    ts_free(load);
    return status;
}

TsStatus ts_courses_create(TsCourses **courses, TsJob *job)
{
    TsCourses *made = ts_calloc(1, sizeof *made);
    size_t count = (size_t)job->task_count;
    *made = (TsCourses){.job = job,
                        .config = &job->keys->mixture,
                        .courses = ts_calloc(count, sizeof *made->courses),
                        .count = job->task_count,
                        .places = ts_calloc(count, sizeof *made->places),
                        .steps = ts_calloc(count, sizeof *made->steps),
                        .active = ts_calloc(count, sizeof *made->active),
                        .coefficient = ts_calloc(count, sizeof *made->coefficient),
                        .loss = ts_calloc(count, sizeof *made->loss),
                        .before = ts_calloc(count, sizeof *made->before)};
    for (int i = 0; i < made->count; i++)
        made->courses[i].task = job->tasks[i];
    TsStatus status = create_mixture(made);
    if (!status && is_together(made))
        made->balance = ts_balance_create(made->config->balance, made->count, (uint64_t)job->keys->run.seed);
    if (!status)
        status = check_together(made);
    if (!status)
        status = ts_learner_create(&made->learner,
                                   (TsLearnerSetting){.config = &job->keys->learner,
                                                      .parameters = job->parameters,
                                                      .arrays = job->arrays,
                                                      .users = (const TsParameters *const *)job->own,
                                                      .user_count = job->task_count,
                                                      .fine_tune = &job->keys->fine_tune,
                                                      .together = is_together(made),
                                                      .in_parts = gradients_of(made) == TS_GRADIENTS_IN_PARTS,
                                                      .threads = job->threads});
    if (!status && !is_concurrent(made)) /* else they are made once it is known which tasks run */
        status = create_all_passes(made);
    if (status)
        ts_courses_free(&made);
    *courses = made;
    return status;
}

void ts_courses_free(TsCourses **courses)
{
    TsCourses *ended = *courses;
    if (!ended)
        return;
    for (int i = 0; i < ended->count; i++) {
        free_passes(ended, &ended->courses[i]);
        ts_metrics_free(&ended->courses[i].metrics);
    }
    ts_partition_free(&ended->partition);
    ts_learner_free(&ended->learner);
    ts_balance_free(&ended->balance);
    ts_mixture_free(&ended->mixture);
    ts_free(ended->courses);
    ts_free(ended->places);
    ts_free(ended->steps);
    ts_free(ended->active);
    ts_free(ended->coefficient);
    ts_free(ended->loss);
    ts_free(ended->before);
    ts_free(ended);
    *courses = NULL;
}

/* ---- a step ---- */

/* What others take as arrays over all tasks. */
static void look_at_tasks(TsCourses *courses)
{
    for (int i = 0; i < courses->count; i++) {
        courses->places[i] = courses->courses[i].task->place;
        courses->steps[i] = courses->courses[i].steps;
    }
}

bool ts_courses_go_on(TsCourses *courses, int64_t step)
{
    look_at_tasks(courses);
    return ts_mixture_task(courses->mixture, step, courses->places) >= 0;
}

static void mark(const TsCourses *courses, const char *name)
{
    if (courses->recording)
        ts_recording_mark(courses->recording, name);
}

/* Reads the task's next batch and runs its passes on it, where it runs here; its place moves on every rank. */
static void run_task(TsCourses *courses, int index, TsCourseReport *report, int64_t step, double loss_scale)
{
    Course *course = &courses->courses[index];
    report->tokens += course->task->tokens_a_batch;
    if (!course->loader) {
        course->task->place += ts_loader_rows(course->task->train);
        return;
    }
    int length = ts_loader_next(course->loader, &course->task->place); /* each rank reads its own rows */
    mark(courses, "read a batch");
    double begin_s = ts_timeline_now();
    ts_step_run(course->passes[length], step, loss_scale); /* losses add up on each rank */
    course->seconds += ts_timeline_now() - begin_s;
    report->flops += course->flops[length];
    mark(courses, "forward and backward");
}

static TsStatus run_one(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    int number = ts_mixture_task(courses->mixture, step, courses->places);
    Course *course = &courses->courses[number];
    run_task(courses, number, report, step, ts_mixture_loss_scale(courses->mixture, number, step, courses->places));
    courses->steps[number] = ++course->steps;
    report->learner = ts_learner_step(courses->learner, number, courses->steps, step, courses->job->keys->run.steps);
    return TS_OK;
}

static void forget_gradients(TsCourses *courses)
{
    TsBatch *gradients = ts_learner_gradients(courses->learner);
    for (int i = 0; i < ts_batch_count(gradients); i++) {
        TsArray *array = ts_batch_array(gradients, i);
        memset(array->data, 0, ts_array_local_bytes(array));
    }
}

/* The losses of this step alone, weighted: what the metrics have now, less what they had. Collective. */
static void find_losses(TsCourses *courses)
{
    const TsWeightedScalar *before = courses->before;
    TsGroup *group = ts_mesh_group(courses->job->mesh, ts_batch_axes());
    const TsTaskConfig *keys = courses->job->keys->tasks.items;
    for (int i = 0; i < courses->count; i++) {
        TsWeightedScalar now[TS_MAX_LOSSES];
        if (!courses->active[i])
            continue;
        ts_metrics_reduce(now, courses->courses[i].metrics, group);
        double weight = now[0].weight - before[i].weight;
        double sum = now[0].value * now[0].weight - before[i].value * before[i].weight;
        courses->loss[i] = weight > 0 ? keys[i].loss_weight * sum / weight : 0;
    }
}

static void note_losses(TsCourses *courses)
{
    TsGroup *group = ts_mesh_group(courses->job->mesh, ts_batch_axes());
    for (int i = 0; i < courses->count; i++) {
        TsWeightedScalar now[TS_MAX_LOSSES];
        if (!courses->active[i])
            continue;
        ts_metrics_reduce(now, courses->courses[i].metrics, group);
        courses->before[i] = now[0];
    }
}

static TsStatus run_together(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    const TsTaskConfig *keys = courses->job->keys->tasks.items;
    const double *rates = ts_mixture_rates(courses->mixture, step, courses->places);
    bool learns = courses->config->balance.value != NULL; /* the method has something to learn from losses */
    for (int i = 0; i < courses->count; i++)
        courses->active[i] = rates[i] > 0;
    TsStatus status = look_at_groups(courses, step);
    if (!status) {
        ts_balance_coefficients(courses->balance, courses->coefficient, NULL, courses->active, step);
        if (learns)
            note_losses(courses);
        forget_gradients(courses);
        for (int i = 0; i < courses->count; i++)
            if (courses->active[i])
                run_task(courses, i, report, step, courses->coefficient[i] * keys[i].loss_weight);
        if (learns) {
            find_losses(courses);
            ts_balance_update(courses->balance, courses->loss, NULL, courses->active);
        }
        status = ts_learner_step_together(courses->learner, &report->learner, courses->active, courses->steps,
                                          ++courses->together, step, courses->job->keys->run.steps);
    }
    return status;
}

TsStatus ts_courses_step(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    *report = (TsCourseReport){.tokens = 0};
    look_at_tasks(courses);
    TsStatus status = is_together(courses) ? run_together(courses, report, step) : run_one(courses, report, step);
    mark(courses, "learn");
    return status;
}

/* ---- what others see ---- */

TsLearner *ts_courses_learner(const TsCourses *courses)
{
    return courses->learner;
}

TsMetrics *ts_courses_metrics(const TsCourses *courses, int task)
{
    return courses->courses[task].metrics;
}

double ts_courses_rate(TsCourses *courses, int task, int64_t step)
{
    look_at_tasks(courses);
    return ts_mixture_rates(courses->mixture, step, courses->places)[task];
}

int64_t ts_courses_steps(const TsCourses *courses, int task)
{
    return courses->courses[task].steps + courses->together;
}

void ts_courses_record(TsCourses *courses, TsRecording *recording)
{
    courses->recording = recording;
    for (int i = 0; i < courses->count; i++)
        for (int k = 0; k < TS_MAX_LENGTHS && courses->courses[i].passes[k]; k++)
            ts_step_record(courses->courses[i].passes[k], recording->timeline);
    ts_learner_record(courses->learner, recording->timeline);
}

void ts_courses_pack(const TsCourses *courses, json_t *state)
{
    json_t *tasks = json_object();
    for (int i = 0; i < courses->count; i++) {
        const Course *course = &courses->courses[i];
        json_object_set_new(
            tasks, course->task->name,
            json_pack("{s:I, s:I}", "place", (json_int_t)course->task->place, "steps", (json_int_t)course->steps));
    }
    json_object_set_new(state, "tasks", tasks);
    if (!courses->balance)
        return;
    double *numbers;
    int count = ts_balance_state(courses->balance, &numbers);
    json_t *balance = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(balance, json_real(numbers[i]));
    json_object_set_new(state, "together",
                        json_pack("{s:I, s:o}", "steps", (json_int_t)courses->together, "balance", balance));
}

void ts_courses_unpack(TsCourses *courses, const json_t *state, const char *origin)
{
    const json_t *tasks = json_object_get(state, "tasks"), *together = json_object_get(state, "together");
    for (int i = 0; i < courses->count; i++) {
        Course *course = &courses->courses[i];
        const json_t *kept = json_object_get(tasks, course->task->name);
        if (!kept) {
            ts_log(TS_LOG_WARNING, "%s knows nothing of the task %s: its data begin anew", origin, course->task->name);
            continue;
        }
        course->task->place = json_integer_value(json_object_get(kept, "place"));
        course->steps = json_integer_value(json_object_get(kept, "steps"));
    }
    courses->together = json_integer_value(json_object_get(together, "steps"));
    const json_t *balance = json_object_get(together, "balance");
    double *numbers;
    int count = courses->balance ? ts_balance_state(courses->balance, &numbers) : 0;
    for (int i = 0; i < count && (size_t)count == json_array_size(balance); i++)
        numbers[i] = json_real_value(json_array_get(balance, (size_t)i));
}
