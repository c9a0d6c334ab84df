/* SPDX-License-Identifier: Apache-2.0 */
#include "task/trainer.h"

#include <jansson.h>
#include <signal.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/version.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "task/base.h"
#include "task/evaluator.h"
#include "task/progress.h"
#include "task/run_dir.h"
#include "task/saving.h"

/* A task in training. */
typedef struct Course {
    TsTask *task;
    TsStep *passes[TS_MAX_LENGTHS]; /* one a length of batches */
    TsEvaluator *evaluator;         /* NULL: no validation data */
} Course;

typedef struct Trainer {
    TsJob *job;
    const TsJobConfig *keys;
    TsRunDir *dir;
    Course *courses;     /* (job->task_count) */
    int64_t *task_steps; /* (job->task_count) that each had so far */
    TsMixture *mixture;
    int64_t *places; /* (job->task_count) examples taken of each task so far */
    int next_task;   /* of the next step; -1: data are exhausted */
    TsLearner *learner;
    TsSaving *saving;
    TsBatch *kept; /* parameters and optimizer state, lent: what a checkpoint holds */
    int64_t step;  /* that was finished last */
    int64_t skipped_steps, skipped_in_row;
    TsLearnerReport report; /* of the last step */
    TsProgress progress;
    double evaluated_s, said_s;
    TsTimeline *timeline; /* of the steps that are recorded; NULL before and after them */
    int64_t recorded_from;
    double marked_s; /* where the span ended that was recorded last */
} Trainer;

/* ---- recording ---- */

static void record_programs(Trainer *trainer)
{
    for (int i = 0; i < trainer->job->task_count; i++)
        for (int k = 0; k < TS_MAX_LENGTHS && trainer->courses[i].passes[k]; k++)
            ts_step_record(trainer->courses[i].passes[k], trainer->timeline);
    ts_learner_record(trainer->learner, trainer->timeline);
}

/* What the host did since the last mark. */
static void mark(Trainer *trainer, const char *name)
{
    if (!trainer->timeline)
        return;
    double now_s = ts_timeline_now();
    if (name)
        ts_timeline_add(trainer->timeline, (TsTimelineEvent){.begin_s = trainer->marked_s,
                                                             .end_s = now_s,
                                                             .name = name,
                                                             .category = "host",
                                                             .lane = TS_LANE_COMPUTE});
    trainer->marked_s = now_s;
}

/* Begins to record before the first of the steps that trace: names. Collective. */
static void begin_recording(Trainer *trainer)
{
    if (trainer->keys->trace.file && trainer->step + 1 == trainer->recorded_from) {
        trainer->timeline = ts_timeline_start(trainer->job->group);
        record_programs(trainer);
    }
    mark(trainer, NULL);
}

/* Writes what was recorded, after the last of those steps or at the end of the run. Collective. */
static TsStatus end_recording(Trainer *trainer, bool at_end)
{
    const TsTraceConfig *trace = &trainer->keys->trace;
    if (!trainer->timeline || (!at_end && trainer->step < trainer->recorded_from + trace->steps - 1))
        return TS_OK;
    TsStatus status = ts_timeline_write(trainer->timeline, trace->file);
    if (!status)
        ts_log(TS_LOG_INFO, "a timeline of steps %lld to %lld is in %s", (long long)trainer->recorded_from,
               (long long)trainer->step, trace->file);
    ts_timeline_free(&trainer->timeline);
    record_programs(trainer);
    return status;
}

/* ---- a step ---- */

static TsStatus run_hooks(Trainer *trainer);

/* Finds the task of the step after the last one. The same on every rank. */
static void look_ahead(Trainer *trainer)
{
    for (int i = 0; i < trainer->job->task_count; i++)
        trainer->places[i] = trainer->courses[i].task->place;
    trainer->next_task = ts_mixture_task(trainer->mixture, trainer->step + 1, trainer->places);
}

static bool is_at_end(const Trainer *trainer)
{
    return trainer->step >= trainer->keys->run.steps || trainer->next_task < 0;
}

/* The life of a step. */
static TsStatus run_step(Trainer *trainer)
{
    int64_t step = trainer->step + 1;
    int number = trainer->next_task;
    Course *course = &trainer->courses[number];
    double loss_scale = ts_mixture_loss_scale(trainer->mixture, number, step, trainer->places);

    begin_recording(trainer);
    int length = ts_loader_next(course->task->train, &course->task->place); /* each rank reads its own rows */
    mark(trainer, "read a batch");
    ts_step_run(course->passes[length], step, loss_scale); /* forward, backward; losses add up on each rank */
    mark(trainer, "forward and backward");
    trainer->task_steps[number]++;
    trainer->report = ts_learner_step(trainer->learner, number, trainer->task_steps, step, trainer->keys->run.steps);
    mark(trainer, "learn");

    bool skipped = trainer->report.factor == 0;
    trainer->skipped_steps += skipped;
    trainer->skipped_in_row = skipped ? trainer->skipped_in_row + 1 : 0;
    trainer->progress.tokens += course->task->tokens_a_batch;
    trainer->step = step;
    look_ahead(trainer);
    TsStatus status = run_hooks(trainer);
    mark(trainer, "hooks");
    return status ? status : end_recording(trainer, false);
}

/* ---- hooks ---- */

static volatile sig_atomic_t stop_signal;

static void on_signal(int signal)
{
    stop_signal = signal;
}

/* What the ranks decide together after a step: any rank's wish is every rank's. */
typedef struct Decision {
    int32_t stop; /* the number of the signal, or 0 */
    int32_t say, evaluate, save;
    int32_t failed; /* the save in the background */
    int32_t lost;   /* the run directory is another run's now */
} Decision;

static bool is_due(TsInterval interval, int64_t step, double since_s)
{
    switch (interval.unit) {
    case TS_STEPS:
        return step % (int64_t)interval.count == 0;
    case TS_SECONDS:
        return ts_progress_now() - since_s >= interval.count;
    default:
        return false;
    }
}

static Decision decide(const Trainer *trainer)
{
    const TsJobConfig *keys = trainer->keys;
    bool failing = trainer->skipped_in_row >= keys->learner.skip_limit;
    bool last = is_at_end(trainer) || failing;
    TsSavingMoment moment = {.step = trainer->step, .last = last, .stopping = stop_signal != 0};
    Decision mine = {.stop = stop_signal,
                     .say = last || is_due(keys->run.log, trainer->step, trainer->said_s),
                     .evaluate = last || is_due(keys->run.evaluate, trainer->step, trainer->evaluated_s),
                     .save = !failing && ts_saving_is_due(trainer->saving, moment),
                     .failed = ts_saving_failed(trainer->saving),
                     .lost = ts_run_dir_lost(trainer->dir)};
    Decision all = {0};
    ts_all_reduce(trainer->job->group, (TsTransfer){.out = &all,
                                                    .in = &mine,
                                                    .count_elems = sizeof mine / sizeof(int32_t),
                                                    .dtype = TS_I32,
                                                    .reduction = TS_MAX,
                                                    .label = "step/decision"});
    moment.stopping = all.stop != 0; /* of any rank */
    all.save |= !failing && moment.stopping && ts_saving_is_due(trainer->saving, moment);
    all.evaluate |= all.save && !all.stop && ts_saving_wants_evaluation(trainer->saving);
    return all;
}

static void say(Trainer *trainer)
{
    int count = trainer->job->task_count;
    TsProgressTask *tasks = ts_calloc((size_t)count, sizeof *tasks);
    for (int i = 0; i < count; i++) {
        tasks[i].name = trainer->courses[i].task->name;
        if (!trainer->courses[i].passes[0])
            continue;
        TsMetrics *metrics = ts_step_metrics(trainer->courses[i].passes[0]);
        TsWeightedScalar scalars[TS_MAX_LOSSES];
        ts_metrics_reduce(scalars, metrics, ts_mesh_group(trainer->job->mesh, ts_batch_axes()));
        ts_metrics_reset(metrics);
        tasks[i] = (TsProgressTask){trainer->courses[i].task->name, scalars[0]};
    }
    ts_progress_say(&trainer->progress, trainer->dir,
                    (TsProgressReport){.step = trainer->step,
                                       .tasks = tasks,
                                       .task_count = count,
                                       .learner = trainer->report,
                                       .skipped_steps = trainer->skipped_steps});
    ts_free(tasks);
    trainer->said_s = ts_progress_now();
}

static void note_scores(Trainer *trainer, const char *task, const TsScores *scores)
{
    for (int i = 0; i < scores->count; i++) {
        char *path = ts_format("%s/%s", task, scores->score[i].name);
        ts_saving_note_metric(trainer->saving, trainer->step, path, scores->score[i].scalar.value);
        ts_free(path);
    }
}

static void evaluate(Trainer *trainer)
{
    for (int i = 0; i < trainer->job->task_count; i++) {
        Course *course = &trainer->courses[i];
        if (!course->evaluator)
            continue;
        TsScores scores;
        ts_evaluator_run(course->evaluator, &scores, NULL, NULL);
        ts_progress_say_evaluation(trainer->dir, trainer->step, course->task->name, &scores);
        note_scores(trainer, course->task->name, &scores);
    }
    trainer->evaluated_s = ts_progress_now();
}

/* The state beside the arrays. */
static json_t *pack_state(const Trainer *trainer)
{
    json_t *tasks = json_object();
    for (int i = 0; i < trainer->job->task_count; i++)
        json_object_set_new(tasks, trainer->courses[i].task->name,
                            json_pack("{s:I, s:I}", "place", (json_int_t)trainer->courses[i].task->place, "steps",
                                      (json_int_t)trainer->task_steps[i]));
    json_t *state =
        json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "seed", (json_int_t)trainer->keys->run.seed, "step",
                  (json_int_t)trainer->step, "skipped_steps", (json_int_t)trainer->skipped_steps, "skipped_in_row",
                  (json_int_t)trainer->skipped_in_row, "tasks", tasks, "kept", ts_job_keep(trainer->job));
    ts_saving_pack(trainer->saving, state);
    return state;
}

static TsStatus save(Trainer *trainer)
{
    json_t *state = pack_state(trainer);
    TsStatus status = ts_saving_save(trainer->saving, trainer->step, trainer->kept, state);
    json_decref(state);
    return status;
}

/* The step of the last checkpoint, once a save that is under way has ended. Collective. */
static long long last_saved_step(Trainer *trainer)
{
    TsStatus status = ts_saving_wait(trainer->saving);
    if (status && ts_group_rank(trainer->job->group) == 0)
        ts_log(TS_LOG_WARNING, "%s", ts_status_message(status));
    ts_status_free(&status);
    return (long long)ts_saving_committed_step(trainer->saving);
}

/* The run ends because the steps go wrong. */
static TsStatus too_many_skipped(Trainer *trainer)
{
    return ts_status_error(TS_CODE_INVALID,
                           "%lld steps in a row had a gradient that is not finite or above learner.skip_above (the "
                           "last norm is %g); the last checkpoint is of step %lld",
                           (long long)trainer->skipped_in_row, trainer->report.gradient_norm, last_saved_step(trainer));
}

/* The run ends because a signal asked for it. */
static TsStatus stopped(Trainer *trainer, int signal)
{
    TS_TRY(ts_saving_wait(trainer->saving));
    long long saved = last_saved_step(trainer);
    return ts_status_error(TS_CODE_INTERRUPTED, "stopped by signal %d after step %lld; the same command goes on %s%s",
                           signal, (long long)trainer->step, saved == trainer->step ? "from there" : "from ",
                           saved == trainer->step ? ""
                           : saved < 0            ? "the beginning"
                                                  : "the last checkpoint");
}

/* The run ends because the directory is another's. */
static TsStatus taken_over(Trainer *trainer)
{
    return ts_status_error(TS_CODE_INTERRUPTED,
                           "%s: another run has taken the directory over; stopped after step %lld; the last checkpoint "
                           "of this run is of step %lld",
                           trainer->keys->run.dir, (long long)trainer->step, last_saved_step(trainer));
}

/* In this order: summaries, evaluation, checkpoint, ends of the run. */
static TsStatus run_hooks(Trainer *trainer)
{
    Decision due = decide(trainer);
    if (due.lost)
        return taken_over(trainer);
    if (due.failed)
        return ts_saving_wait(trainer->saving);
    if (due.say)
        say(trainer);
    if (trainer->skipped_in_row >= trainer->keys->learner.skip_limit)
        return too_many_skipped(trainer);
    if (due.evaluate)
        evaluate(trainer);
    if (due.save)
        TS_TRY(save(trainer));
    return due.stop ? stopped(trainer, due.stop) : TS_OK;
}

/* ---- the beginning ---- */

static TsStatus create_courses(Trainer *trainer)
{
    TsJob *job = trainer->job;
    trainer->courses = ts_calloc((size_t)job->task_count, sizeof *trainer->courses);
    trainer->task_steps = ts_calloc((size_t)job->task_count, sizeof *trainer->task_steps);
    for (int i = 0; i < job->task_count; i++) {
        Course *course = &trainer->courses[i];
        course->task = job->tasks[i];
        for (int k = 0; course->task->train && k < ts_loader_lengths(course->task->train); k++) {
            TS_TRY(ts_step_create(&course->passes[k], course->task, ts_loader_batch(course->task->train, k),
                                  (TsStepOptions){.parameters = job->own[i],
                                                  .sequence = ts_job_sequence(trainer->keys),
                                                  .learner = &trainer->keys->learner,
                                                  .metrics = k ? ts_step_metrics(course->passes[0]) : NULL,
                                                  .memory = ts_job_memory(trainer->keys),
                                                  .seed = (uint64_t)trainer->keys->run.seed,
                                                  .dtype = job->dtype,
                                                  .threads = job->threads}));
            ts_step_bind(course->passes[k], job->arrays, ts_learner_gradients(trainer->learner));
        }
        if (course->task->validation)
            TS_TRY(ts_evaluator_create(&course->evaluator, job, course->task, course->task->validation));
    }
    return TS_OK;
}

static TsStatus create_mixture(Trainer *trainer)
{
    const TsJob *job = trainer->job;
    const TsTaskConfig *keys = trainer->keys->tasks.items;
    TsMixtureTask *tasks = ts_calloc((size_t)job->task_count, sizeof *tasks);
    for (int i = 0; i < job->task_count; i++) {
        const TsTask *task = job->tasks[i];
        tasks[i] = (TsMixtureTask){.name = task->name,
                                   .weight = keys[i].weight,
                                   .loss_weight = keys[i].loss_weight,
                                   .examples = task->train ? ts_loader_count(task->train) : 0,
                                   .rows = task->train ? ts_loader_rows(task->train) : 1,
                                   .tokens = task->tokens_a_batch > 0 ? task->tokens_a_batch : 1};
    }
    trainer->places = ts_calloc((size_t)job->task_count, sizeof *trainer->places);
    TsStatus status = ts_mixture_create(&trainer->mixture, &trainer->keys->mixture, tasks, job->task_count,
                                        (uint64_t)trainer->keys->run.seed);
    ts_free(tasks);
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(job->config, "mixture", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

static TsStatus read_state(Trainer *trainer, const TsCheckpoint *checkpoint)
{
    json_t *state = (json_t *)ts_checkpoint_state(checkpoint); /* read only; jansson takes no const here */
    json_t *tasks = json_object_get(state, "tasks");
    trainer->step = json_integer_value(json_object_get(state, "step"));
    trainer->skipped_steps = json_integer_value(json_object_get(state, "skipped_steps"));
    trainer->skipped_in_row = json_integer_value(json_object_get(state, "skipped_in_row"));
    for (int i = 0; i < trainer->job->task_count; i++) {
        Course *course = &trainer->courses[i];
        json_t *kept = json_object_get(tasks, course->task->name);
        if (!kept) {
            ts_log(TS_LOG_WARNING, "%s knows nothing of the task %s: its data begin anew",
                   ts_checkpoint_path(checkpoint), course->task->name);
            continue;
        }
        course->task->place = json_integer_value(json_object_get(kept, "place"));
        trainer->task_steps[i] = json_integer_value(json_object_get(kept, "steps"));
    }
    if (trainer->step != ts_checkpoint_step(checkpoint))
        return ts_status_error(TS_CODE_CORRUPT, "%s: its state is of step %lld", ts_checkpoint_path(checkpoint),
                               (long long)trainer->step);
    TS_TRY(ts_job_check_keep(trainer->job, json_object_get(state, "kept")));
    ts_saving_unpack(trainer->saving, state);
    ts_saving_note_committed(trainer->saving, trainer->step);
    return TS_OK;
}

/* Lends what can have initial weights from elsewhere: the Learner's state, and all parameters but those that fine_tune
 * puts in. */
static TsBatch *collect_initialized(const Trainer *trainer)
{
    TsBatch *arrays = ts_batch_create(), *state = ts_learner_state(trainer->learner);
    const TsBatch *parameters = trainer->job->arrays;
    for (int i = 0; i < ts_batch_count(parameters); i++) {
        char *name = ts_format("parameters/%s", ts_batch_name(parameters, i));
        if (!ts_fine_tune_adds(ts_batch_name(parameters, i)))
            ts_batch_lend(arrays, name, ts_batch_array(parameters, i));
        ts_free(name);
    }
    for (int i = 0; i < ts_batch_count(state); i++)
        ts_batch_lend(arrays, ts_batch_name(state, i), ts_batch_array(state, i));
    return arrays;
}

/* Takes initial weights from elsewhere, if the config says so. */
static TsStatus initialize(Trainer *trainer)
{
    TsInitFrom from = {0};
    if (!trainer->keys->init_from)
        return TS_OK;
    TsBatch *arrays = collect_initialized(trainer);
    TsStatus status = ts_init_from(&from, trainer->job->group, trainer->keys->init_from, arrays);
    ts_batch_free(&arrays);
    if (status)
        return status;
    ts_saving_note_initialized(trainer->saving, from.record);
    if (ts_learner_averages(trainer->learner))
        ts_averages_begin(ts_learner_averages(trainer->learner));
    if (trainer->keys->init_from->load_step)
        trainer->step = from.step;
    return TS_OK;
}

/* Goes on from the newest checkpoint that verifies, if there is one. */
static TsStatus resume(Trainer *trainer)
{
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_resume(&checkpoint, trainer->job->group, trainer->keys->run.dir, trainer->kept,
                                (TsRestoreOptions){0}));
    if (!checkpoint)
        return initialize(trainer);
    TsStatus status = read_state(trainer, checkpoint);
    if (!status)
        status = ts_base_load(trainer->job, ts_checkpoint_state(checkpoint));
    ts_checkpoint_close(&checkpoint);
    if (status)
        return status;
    ts_log(TS_LOG_INFO, "going on after step %lld", (long long)trainer->step);
    return TS_OK;
}

static void introduce(const Trainer *trainer)
{
    const TsJob *job = trainer->job;
    TsText line = {0};
    int ranks = ts_group_size(job->group), nodes = ts_group_nodes(job->group);
    ts_text_append(&line, "tessera %s · %d rank%s on %d host%s · mesh", ts_version(), ranks, ranks == 1 ? "" : "s",
                   nodes, nodes == 1 ? "" : "s");
    const char *between = " ";
    for (int axis = 1; axis < TS_AXES; axis++)
        if (ts_mesh_size(job->mesh, (TsAxis)axis) > 1 || (axis == TS_AXIS_DATA && ranks == 1)) {
            ts_text_append(&line, "%s%s %d", between, ts_axis_name((TsAxis)axis),
                           ts_mesh_size(job->mesh, (TsAxis)axis));
            between = " x ";
        }
    double memory = (double)ts_memory_usage().live_bytes;
    ts_text_append(&line, " · %.1f M parameters · %.*f %s a rank · %d thread%s each",
                   (double)ts_parameters_elems(job->parameters) / 1e6, memory < 1 << 30 ? 0 : 1,
                   memory < 1 << 30 ? memory / (1 << 20) : memory / (1 << 30), memory < 1 << 30 ? "MiB" : "GiB",
                   job->threads, job->threads == 1 ? "" : "s");
    ts_log(TS_LOG_INFO, "%s", line.data);
    ts_text_free(&line);
}

/* Lends what a checkpoint holds: parameters, and the Learner's state. */
static void collect_kept(Trainer *trainer)
{
    TsBatch *state = ts_learner_state(trainer->learner);
    trainer->kept = ts_job_kept(trainer->job);
    for (int i = 0; i < ts_batch_count(state); i++)
        ts_batch_lend(trainer->kept, ts_batch_name(state, i), ts_batch_array(state, i));
}

/* That an evaluation gives the metric by which the best checkpoints are kept. */
static TsStatus expect_metric(const Trainer *trainer)
{
    const TsKeepConfig *keep = &trainer->keys->checkpoint.keep;
    TsText names = {0};
    bool found = keep->best == 0;
    for (int i = 0; i < trainer->job->task_count && !found; i++) {
        const char *name[TS_MAX_SCORES];
        int count = trainer->courses[i].evaluator ? ts_evaluator_names(trainer->courses[i].evaluator, name) : 0;
        for (int k = 0; k < count; k++) {
            char *path = ts_format("%s/%s", trainer->courses[i].task->name, name[k]);
            ts_text_append(&names, "%s%s", names.size_bytes ? ", " : "", path);
            found |= strcmp(path, keep->by) == 0;
            ts_free(path);
        }
    }
    TsStatus status =
        found ? TS_OK
              : ts_config_error_at(trainer->job->config, "checkpoint.keep.by", "no evaluation gives %s; there %s %s",
                                   keep->by, names.data ? "are" : "is", names.data ? names.data : "none");
    ts_text_free(&names);
    return status;
}

static TsStatus begin(Trainer *trainer, TsGroup *group, const TsConfig *config, TsTrainOptions options)
{
    TS_TRY(ts_job_open(&trainer->job, group, config, (TsJobOptions){0}));
    trainer->keys = trainer->job->keys;
    TsJob *job = trainer->job;
    TS_TRY(create_mixture(trainer));
    TsLearnerSetting setting = {.config = &trainer->keys->learner,
                                .parameters = job->parameters,
                                .arrays = job->arrays,
                                .users = (const TsParameters *const *)job->own,
                                .user_count = job->task_count,
                                .threads = job->threads};
    TsStatus compiled = ts_learner_create(&trainer->learner, setting);
    if (!compiled)
        compiled = create_courses(trainer);
    TS_TRY(ts_comm_agree(group, compiled)); /* an arena may be too large for one host alone */
    TS_TRY(ts_run_dir_open(&trainer->dir, group, trainer->keys->run.dir, config, options.force));
    introduce(trainer);
    TS_TRY(expect_metric(trainer));
    TS_TRY(ts_saving_create(&trainer->saving, group, &trainer->keys->checkpoint, trainer->keys->run.dir));
    collect_kept(trainer);
    TS_TRY(resume(trainer));
    TS_TRY(ts_run_dir_write_config(trainer->dir));
    trainer->progress = ts_progress_start(trainer->step, trainer->keys->run.steps);
    trainer->evaluated_s = trainer->said_s = trainer->progress.started_s;
    return TS_OK;
}

static void end(Trainer *trainer)
{
    for (int i = 0; trainer->courses && i < trainer->job->task_count; i++) {
        for (int k = TS_MAX_LENGTHS - 1; k >= 0; k--)
            ts_step_free(&trainer->courses[i].passes[k]);
        ts_evaluator_free(&trainer->courses[i].evaluator);
    }
    ts_free(trainer->courses);
    ts_timeline_free(&trainer->timeline);
    ts_free(trainer->task_steps);
    ts_free(trainer->places);
    ts_learner_free(&trainer->learner);
    ts_mixture_free(&trainer->mixture);
    ts_saving_free(&trainer->saving);
    ts_batch_free(&trainer->kept);
    ts_run_dir_close(&trainer->dir);
    ts_job_close(&trainer->job);
}

static TsStatus run_steps(Trainer *trainer)
{
    look_ahead(trainer);
    if (is_at_end(trainer)) {
        ts_log(TS_LOG_INFO, "nothing to do: step %lld of %lld is done", (long long)trainer->step,
               (long long)trainer->keys->run.steps);
        evaluate(trainer);
    }
    trainer->recorded_from = trainer->step + trainer->keys->trace.from_step;
    TsStatus status = TS_OK;
    while (!status && !is_at_end(trainer))
        status = run_step(trainer);
    if (!status && trainer->step < trainer->keys->run.steps)
        ts_log(TS_LOG_INFO, "data are exhausted after step %lld: mixture.exhausted says what then",
               (long long)trainer->step);
    if (!status)
        status = ts_saving_wait(trainer->saving);
    TsStatus recorded = end_recording(trainer, true);
    if (status)
        ts_status_free(&recorded); /* the first error is told */
    return status ? status : recorded;
}

TsStatus ts_train(TsGroup *group, const TsConfig *config, TsTrainOptions options)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
    struct sigaction action = {.sa_handler = on_signal}, before[3];
    stop_signal = 0;
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &action, &before[i]);

    Trainer trainer = {0};
    TsStatus status = begin(&trainer, group, config, options);
    if (!status)
        status = run_steps(&trainer);
    end(&trainer);

    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &before[i], NULL);
    return status;
}
