/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/courses.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "task/mixture/apart.h"
#include "task/mixture/balance.h"
#include "task/mixture/course.h"
#include "task/mixture/lanes.h"
#include "task/mixture/mixture.h"

struct TsCourses {
    TsJob *job;
    const TsMixtureConfig *config;
    TsMixture *mixture;
    TsLearner *learner;
    TsBalance *balance; /* NULL: interleaved */
    TsApart *apart;     /* NULL: gradients are added up as they come */
    TsCourse *courses;  /* (count) */
    int count;
    int64_t *places, *steps;    /* (count) of all tasks, as others take them */
    bool *active;               /* (count) tasks of the next step */
    int64_t *batches;           /* (count) of each in it */
    double *coefficient, *ones; /* (count) of the step; of gradients that are taken as they are */
    double *loss, *gram;        /* (count), (count, count) of the step */
    bool *known;                /* (count) whose gradient there is, apart */
    TsGuard *guard;
    TsWeightedScalar *losses; /* (count) of the step, over all ranks; weight 0: the task had none */
    double *parts;            /* (count, 2) of them on this rank: sums of value * weight, and of weight */
    int64_t together;         /* steps of several tasks */
    TsLanes lanes;
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

/* Gradients of several passes are sums that wait for the last of them; those apart lie cut, and reproducible ones have
 * their order to keep; groups bring parts. */
static TsStepGradients gradients_of(const TsCourses *courses)
{
    if (is_concurrent(courses))
        return TS_GRADIENTS_IN_PARTS;
    if (!is_together(courses) || (courses->apart && !courses->config->batches))
        return TS_GRADIENTS_GIVEN;
    return courses->apart || courses->job->sharding.virtual_shards > 0 ? TS_GRADIENTS_ADDED : TS_GRADIENTS_IN_PARTS;
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
    double whole = 0;
    for (int i = 0; i < courses->count; i++)
        whole += keys[i].loss_weight;
    TsStatus status =
        ts_mixture_create(&courses->mixture, courses->config, tasks, courses->count, (uint64_t)job->keys->run.seed);
    ts_free(tasks);
    if (!status && !(whole > 0))
        status = ts_status_error(TS_CODE_INVALID, "loss_weight of all tasks is 0: nothing is learned");
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(job->config, "mixture", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

/* Makes room for gradients by themselves, where somebody asks for them. */
static TsStatus create_apart(TsCourses *courses)
{
    const TsJob *job = courses->job;
    bool needed = courses->balance &&
                  (ts_balance_takes_gram(courses->balance) || ts_balance_waits_for_gradients(courses->balance));
    if (!needed && !courses->config->conflicts)
        return TS_OK;
    if (courses->count > TS_MAX_APART)
        return ts_config_error_at(job->config, needed ? "mixture.balance" : "mixture.conflicts",
                                  "%d tasks; the gradients of %d can be kept apart", courses->count, TS_MAX_APART);
    return ts_apart_create(&courses->apart,
                           (TsApartSetting){.parameters = job->parameters,
                                            .users = (const TsParameters *const *)job->own,
                                            .user_count = job->task_count,
                                            .rows = is_concurrent(courses) ? ts_own_shared(courses->lanes.own) : NULL,
                                            .in_parts = is_concurrent(courses),
                                            .threads = job->threads});
}

static TsCourseSetting setting_of(TsCourses *courses, int index, bool runs)
{
    TsPartition *partition = courses->lanes.partition;
    return (TsCourseSetting){.job = courses->job,
                             .index = index,
                             .mesh = partition ? ts_partition_mesh(partition) : NULL,
                             .arrays = ts_courses_arrays(courses),
                             .own = partition ? ts_own_gradients(courses->lanes.own) : NULL,
                             .gradients = gradients_of(courses),
                             .into = !runs            ? NULL
                                     : courses->apart ? ts_apart_gradients(courses->apart, index)
                                                      : ts_learner_gradients(courses->learner),
                             .timeline = courses->recording ? courses->recording->timeline : NULL};
}

/* Of all tasks that run on this rank. The status is agreed. */
static TsStatus open_all(TsCourses *courses)
{
    TsStatus status = TS_OK;
    for (int i = 0; i < courses->count && !status; i++) {
        bool runs =
            courses->courses[i].task->train && (!is_concurrent(courses) || ts_lanes_run_here(&courses->lanes, i));
        TsCourseSetting setting = setting_of(courses, i, runs);
        if (runs)
            status = ts_course_open(&courses->courses[i], setting);
        else
            ts_course_watch(&courses->courses[i], setting);
    }
    return ts_comm_agree(courses->job->group, status);
}

static TsStatus create_learner(TsCourses *courses)
{
    const TsJob *job = courses->job;
    return ts_learner_create(
        &courses->learner,
        (TsLearnerSetting){.config = &job->keys->learner,
                           .parameters = job->parameters,
                           .arrays = job->arrays,
                           .users = (const TsParameters *const *)job->own,
                           .user_count = job->task_count,
                           .fine_tune = &job->keys->fine_tune,
                           .part = is_concurrent(courses) ? TS_LEARNER_LEADS : TS_LEARNER_WHOLE,
                           .together = is_together(courses),
                           .in_parts = !courses->apart && gradients_of(courses) == TS_GRADIENTS_IN_PARTS,
                           .threads = job->threads});
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
                        .batches = ts_calloc(count, sizeof *made->batches),
                        .known = ts_calloc(count, sizeof *made->known),
                        .coefficient = ts_calloc(count, sizeof *made->coefficient),
                        .ones = ts_calloc(count, sizeof *made->ones),
                        .loss = ts_calloc(count, sizeof *made->loss),
                        .gram = ts_calloc(count * count, sizeof *made->gram),
                        .losses = ts_calloc(count, sizeof *made->losses),
                        .parts = ts_calloc(2 * count, sizeof *made->parts),
                        .lanes = {.job = job}};
    for (int i = 0; i < made->count; i++) {
        made->courses[i].task = job->tasks[i];
        made->ones[i] = 1;
    }
    made->guard = ts_guard_create(&job->keys->guard, job->keys->learner.skip_above, made->count, is_together(made));
    TsStatus status = create_mixture(made);
    if (!status && is_together(made))
        made->balance = ts_balance_create(made->config->balance, made->count, (uint64_t)job->keys->run.seed);
    if (!status && is_concurrent(made))
        status = ts_lanes_check(job);
    if (!status && is_concurrent(made))
        made->lanes.own = ts_own_create(job);
    if (!status)
        status = create_apart(made);
    if (!status)
        status = create_learner(made);
    if (!status && is_concurrent(made))
        ts_own_lead(made->lanes.own, made->learner);
    if (!status && !is_concurrent(made)) /* else they are made once it is known which tasks run */
        status = open_all(made);
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
    for (int i = 0; i < ended->count; i++)
        ts_course_free(&ended->courses[i]);
    ts_lanes_free(&ended->lanes);
    ts_learner_free(&ended->learner);
    ts_apart_free(&ended->apart);
    ts_balance_free(&ended->balance);
    ts_mixture_free(&ended->mixture);
    ts_free(ended->courses);
    ts_free(ended->places);
    ts_free(ended->steps);
    ts_free(ended->active);
    ts_free(ended->batches);
    ts_free(ended->known);
    ts_free(ended->coefficient);
    ts_free(ended->ones);
    ts_free(ended->loss);
    ts_free(ended->gram);
    ts_guard_free(&ended->guard);
    ts_free(ended->losses);
    ts_free(ended->parts);
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

/* The losses of this step alone, of all tasks. Collective: one small reduction. */
static void find_losses(TsCourses *courses)
{
    for (int i = 0; i < courses->count; i++) {
        TsMetricsPart part = {0, 0};
        if (courses->courses[i].metrics)
            part = ts_metrics_of_step(courses->courses[i].metrics, 0);
        courses->parts[2 * i] = part.sum;
        courses->parts[2 * i + 1] = part.weight;
    }
    ts_all_reduce(courses->job->group, (TsTransfer){.out = courses->parts,
                                                    .in = courses->parts,
                                                    .count_elems = 2 * courses->count,
                                                    .dtype = TS_F64,
                                                    .algorithm = TS_ALGORITHM_TREE,
                                                    .label = "step/losses"});
    for (int i = 0; i < courses->count; i++) {
        double weight = courses->parts[2 * i + 1];
        courses->losses[i] = (TsWeightedScalar){weight ? courses->parts[2 * i] / weight : 0, weight};
    }
}

/* Tells the Learner which norm is still believed, of a step of `task`, or of all together. */
static void look_at_losses(TsCourses *courses, int task)
{
    find_losses(courses);
    ts_learner_limit(courses->learner, ts_guard_look(courses->guard, courses->losses, task));
}

/* Reads the task's next batch and runs its passes on it, where it runs here; its place moves on every rank. */
static void run_task(TsCourses *courses, int index, TsCourseReport *report, int64_t step, double loss_scale)
{
    TsCourse *course = &courses->courses[index];
    report->tokens += course->task->tokens_a_batch;
    int length = ts_course_read(course);
    if (length < 0)
        return;
    mark(courses, "read a batch");
    double begin_s = ts_timeline_now();
    ts_step_run(course->passes[length], step, loss_scale); /* losses add up on each rank */
    course->seconds += course->said_s > 0 ? course->said_s : ts_timeline_now() - begin_s;
    course->batches++;
    report->flops += course->flops[length];
    mark(courses, "forward and backward");
}

static TsStatus run_one(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    int number = ts_mixture_task(courses->mixture, step, courses->places);
    TsCourse *course = &courses->courses[number];
    run_task(courses, number, report, step, ts_mixture_loss_scale(courses->mixture, number, step, courses->places));
    courses->steps[number] = ++course->steps;
    if (courses->apart) {
        for (int i = 0; i < courses->count; i++)
            courses->active[i] = i == number;
        courses->known[number] = true;
        ts_apart_combine(courses->apart, ts_learner_gradients(courses->learner), courses->ones, courses->ones,
                         courses->active);
    }
    look_at_losses(courses, number);
    report->learner = ts_learner_step(courses->learner, number, courses->steps, step, courses->job->keys->run.steps);
    report->verdict = ts_guard_judge(courses->guard, report->learner.gradient_norm);
    return TS_OK;
}

static void forget_gradients(TsBatch *gradients)
{
    for (int i = 0; i < ts_batch_count(gradients); i++) {
        TsArray *array = ts_batch_array(gradients, i);
        if (ts_array_local_elems(array))
            memset(array->data, 0, ts_array_local_bytes(array));
    }
}

/* The balance learns from the losses as they are weighted. */
static void update_balance(TsCourses *courses)
{
    const TsTaskConfig *keys = courses->job->keys->tasks.items;
    for (int i = 0; i < courses->count; i++)
        courses->loss[i] = keys[i].loss_weight * courses->losses[i].value;
    ts_balance_update(courses->balance, courses->loss, ts_balance_takes_gram(courses->balance) ? courses->gram : NULL,
                      courses->active);
}

/* Cuts groups so, and makes the passes on them. */
static TsStatus cut_groups(TsCourses *courses, TsCut cut)
{
    for (int i = 0; i < courses->count; i++)
        ts_course_close(&courses->courses[i]);
    TS_TRY(ts_lanes_cut(&courses->lanes, cut, courses->active));
    return open_all(courses);
}

/* Cuts groups anew where that pays; a task that has no room in its group gets all ranks, as do the others then. */
static TsStatus look_at_groups(TsCourses *courses, int64_t step)
{
    TsCut cut;
    if (!is_concurrent(courses) || !ts_lanes_look(&courses->lanes, &cut, courses->courses, courses->batches, step))
        return TS_OK;
    TsStatus status = cut_groups(courses, cut);
    if (!status || ts_status_code(status) != TS_CODE_RESOURCES)
        return status;
    if (cut.groups > 1) {
        if (ts_group_rank(courses->job->group) == 0)
            ts_log(TS_LOG_WARNING, "%s; all ranks run all tasks", ts_status_message(status));
        ts_status_free(&status);
        status = cut_groups(courses, ts_lanes_stay_whole(&courses->lanes, courses->batches));
    }
    return ts_status_annotate(status, "mixture.mode: concurrent: a task has no room in any group");
}

/* The passes of all active tasks, whose gradients add up by the coefficients, or are kept apart as they are. Of several
 * batches of a task, the mean counts. */
static void run_passes(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    const TsTaskConfig *keys = courses->job->keys->tasks.items;
    if (courses->apart && gradients_of(courses) != TS_GRADIENTS_GIVEN)
        ts_apart_begin(courses->apart);
    if (!courses->apart)
        forget_gradients(ts_learner_gradients(courses->learner));
    if (is_concurrent(courses))
        forget_gradients(ts_own_gradients(courses->lanes.own));
    for (int i = 0; i < courses->count; i++)
        for (int64_t k = 0; k < courses->batches[i]; k++)
            run_task(courses, i, report, step,
                     (courses->apart ? 1 : courses->coefficient[i]) * keys[i].loss_weight /
                         (double)courses->batches[i]);
}

/* Gradients that were kept apart become the Learner's. */
static void combine(TsCourses *courses, int64_t step)
{
    TsBalance *balance = courses->balance;
    bool waits = ts_balance_waits_for_gradients(balance);
    ts_apart_gather(courses->apart, courses->active);
    memcpy(courses->known, courses->active, (size_t)courses->count * sizeof *courses->known);
    if (waits || ts_balance_takes_gram(balance))
        ts_apart_gram(courses->apart, courses->gram, courses->active);
    if (waits)
        ts_balance_coefficients(balance, courses->coefficient, courses->gram, courses->active, step);
    const double *own = waits ? courses->ones : courses->coefficient;
    ts_apart_combine(courses->apart, ts_learner_gradients(courses->learner), courses->coefficient, own,
                     courses->active);
    if (is_concurrent(courses))
        ts_own_scale(courses->lanes.own, own);
}

/* The update: where tasks have something of their own on groups of ranks, the norm is that of all of it, and one factor
 * serves all. */
static TsStatus learn_together(TsCourses *courses, TsLearnerReport *report, int64_t step)
{
    TsOwn *own = courses->lanes.own;
    TsLearnerTurn turn = {.active = courses->active,
                          .user_steps = courses->steps,
                          .steps = ++courses->together,
                          .step = step,
                          .run_steps = courses->job->keys->run.steps};
    if (own)
        turn.others = ts_own_squares(own, turn);
    TS_TRY(ts_learner_step_together(courses->learner, report, turn));
    if (own)
        ts_own_follow(own, report->factor, turn);
    return TS_OK;
}

static TsStatus run_together(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    TsBalance *balance = courses->balance;
    ts_mixture_batches(courses->mixture, courses->batches, step, courses->places);
    for (int i = 0; i < courses->count; i++)
        courses->active[i] = courses->batches[i] > 0;
    TS_TRY(look_at_groups(courses, step));
    if (!ts_balance_waits_for_gradients(balance))
        ts_balance_coefficients(balance, courses->coefficient, NULL, courses->active, step);
    run_passes(courses, report, step);
    if (courses->apart)
        combine(courses, step);
    look_at_losses(courses, 0);
    TS_TRY(learn_together(courses, &report->learner, step));
    report->verdict = ts_guard_judge(courses->guard, report->learner.gradient_norm);
    if (courses->config->balance.value && report->verdict.doubt == TS_BELIEVED) /* it learns from losses */
        update_balance(courses);
    return TS_OK;
}

TsStatus ts_courses_step(TsCourses *courses, TsCourseReport *report, int64_t step)
{
    *report = (TsCourseReport){.tokens = 0};
    look_at_tasks(courses);
    for (int i = 0; i < courses->count; i++)
        if (courses->courses[i].metrics)
            ts_metrics_begin_step(courses->courses[i].metrics);
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

bool ts_courses_conflicts(TsCourses *courses, double *gram)
{
    if (courses->apart)
        ts_apart_gram(courses->apart, gram, courses->known);
    return courses->apart != NULL;
}

void ts_courses_say_cost(TsCourses *courses, int task, double seconds)
{
    courses->courses[task].said_s = seconds;
}

const TsBatch *ts_courses_arrays(const TsCourses *courses)
{
    return courses->lanes.partition ? ts_own_arrays(courses->lanes.own) : courses->job->arrays;
}

double ts_courses_weight_norm(TsCourses *courses)
{
    double norm = ts_learner_weight_norm(courses->learner);
    return courses->lanes.own ? sqrt(norm * norm + ts_own_weight_squares(courses->lanes.own)) : norm;
}

void ts_courses_gather(TsCourses *courses, bool state)
{
    if (courses->lanes.own)
        ts_own_gather(courses->lanes.own, state);
}

void ts_courses_scatter(TsCourses *courses)
{
    if (courses->lanes.own)
        ts_own_scatter(courses->lanes.own);
}

void ts_courses_release(TsCourses *courses)
{
    if (!courses->lanes.own)
        return;
    ts_own_release(courses->lanes.own);
    if (ts_learner_averages(courses->learner))
        ts_averages_drop(ts_learner_averages(courses->learner));
}

const TsCut *ts_courses_cut(const TsCourses *courses)
{
    return courses->lanes.partition ? &courses->lanes.cut : NULL;
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
    if (courses->lanes.own)
        ts_own_record(courses->lanes.own, recording->timeline);
}

void ts_courses_pack(const TsCourses *courses, json_t *state)
{
    json_t *tasks = json_object();
    for (int i = 0; i < courses->count; i++) {
        const TsCourse *course = &courses->courses[i];
        json_object_set_new(
            tasks, course->task->name,
            json_pack("{s:I, s:I}", "place", (json_int_t)course->task->place, "steps", (json_int_t)course->steps));
    }
    json_object_set_new(state, "tasks", tasks);
    ts_guard_pack(courses->guard, state);
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
        TsCourse *course = &courses->courses[i];
        const json_t *kept = json_object_get(tasks, course->task->name);
        if (!kept) {
            ts_log(TS_LOG_WARNING, "%s knows nothing of the task %s: its data begin anew", origin, course->task->name);
            continue;
        }
        course->task->place = json_integer_value(json_object_get(kept, "place"));
        course->steps = json_integer_value(json_object_get(kept, "steps"));
    }
    ts_guard_unpack(courses->guard, state);
    courses->together = json_integer_value(json_object_get(together, "steps"));
    const json_t *balance = json_object_get(together, "balance");
    double *numbers;
    int count = courses->balance ? ts_balance_state(courses->balance, &numbers) : 0;
    for (int i = 0; i < count && (size_t)count == json_array_size(balance); i++)
        numbers[i] = json_real_value(json_array_get(balance, (size_t)i));
}
