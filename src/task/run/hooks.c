/* SPDX-License-Identifier: Apache-2.0
 *
 * Hooks: what happens after a step, in a fixed order. Whatever changes what the run does is decided by all ranks in one
 * small reduction.
 */
#include <jansson.h>
#include <math.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "task/closed_form/solve.h"
#include "task/run/replicas.h"
#include "task/run/spread.h"
#include "task/run/stop.h"
#include "task/run/training.h"

/* ---- what is due ---- */

/* What the ranks decide together after a step: any rank's wish is every rank's. */
typedef struct Decision {
    int32_t stop; /* why, as ts_stop_asked says; or 0 */
    int32_t say, evaluate, decode, spread, save;
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

bool ts_training_is_over(const TsTraining *training)
{
    return training->step >= training->keys->run.steps || training->exhausted ||
           ts_early_stop_now(&training->early_stop);
}

static Decision decide(const TsTraining *training)
{
    int stop = ts_stop_asked();
    const TsJobConfig *keys = training->keys;
    bool failing = training->skipped_in_row >= keys->learner.skip_limit;
    bool last = ts_training_is_over(training) || failing;
    TsSavingMoment moment = {.step = training->step, .last = last, .stopping = stop != 0};
    Decision mine = {.stop = stop,
                     .say = last || is_due(keys->run.log, training->step, training->said_s),
                     .evaluate = last || is_due(keys->run.evaluate, training->step, training->evaluated_s),
                     .decode = is_due(keys->run.decode_every, training->step, training->decoded_s) ||
                               (last && keys->run.decode_every.unit != TS_NEVER),
                     .spread = is_due(keys->run.histograms, training->step, training->spread_s),
                     .save = !failing && ts_saving_is_due(training->saving, moment),
                     .failed = ts_saving_failed(training->saving),
                     .lost = ts_run_dir_lost(training->dir)};
    Decision all = {0};
    ts_all_reduce(training->job->group, (TsTransfer){.out = &all,
                                                     .in = &mine,
                                                     .count_elems = sizeof mine / sizeof(int32_t),
                                                     .dtype = TS_I32,
                                                     .reduction = TS_MAX,
                                                     .label = "step/decision"});
    moment.stopping = all.stop != 0; /* of any rank */
    all.save |= !failing && moment.stopping && ts_saving_is_due(training->saving, moment);
    all.evaluate |= all.save && !all.stop && ts_saving_wants_evaluation(training->saving);
    return all;
}

/* ---- summaries ---- */

/* What the tasks' losses came to since the last time; reduced only here. */
static void collect_losses(TsTraining *training, TsReportTask *tasks, TsWeightedScalar *whole)
{
    *whole = (TsWeightedScalar){0};
    for (int i = 0; i < training->job->task_count; i++) {
        TsMetrics *metrics = ts_courses_metrics(training->courses, i);
        tasks[i] = (TsReportTask){.name = training->job->tasks[i]->name,
                                  .rate = ts_courses_rate(training->courses, i, training->step + 1),
                                  .steps = ts_courses_steps(training->courses, i)};
        if (!metrics)
            continue;
        TsWeightedScalar scalars[TS_MAX_LOSSES];
        ts_metrics_reduce(scalars, metrics, ts_mesh_group(training->job->mesh, ts_batch_axes()));
        ts_metrics_reset(metrics);
        tasks[i].loss = scalars[0];
        whole->value += scalars[0].value * scalars[0].weight;
        whole->weight += scalars[0].weight;
    }
    whole->value = whole->weight > 0 ? whole->value / whole->weight : 0;
}

/* The norms of the tasks' gradients, and the cosines between them (count, count), owned by the caller; NULL: they are
 * not known. */
static double *collect_conflicts(TsTraining *training, TsReportTask *tasks)
{
    int count = training->job->task_count;
    double *gram = ts_calloc((size_t)count * (size_t)count, sizeof *gram);
    if (!ts_courses_conflicts(training->courses, gram)) {
        ts_free(gram);
        return NULL;
    }
    for (int i = 0; i < count; i++)
        tasks[i].grad_norm = sqrt(gram[i * count + i]);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            gram[i * count + j] /= tasks[i].grad_norm * tasks[j].grad_norm; /* NaN where there is none */
    return gram;
}

/* Names a host that others wait for. Groups that run different tasks are not compared. */
static void look_at_hosts(TsTraining *training, int64_t steps)
{
    if (ts_courses_cut(training->courses))
        return;
    char *slow = ts_slow_note(&training->slow, training->hosts, training->own_s, steps);
    if (slow && ts_group_rank(training->job->group) == 0)
        ts_log(TS_LOG_WARNING, "%s", slow);
    ts_free(slow);
}

static void say(TsTraining *training)
{
    int64_t steps = training->speed.steps;
    int count = training->job->task_count;
    TsReportTask *tasks = ts_calloc((size_t)count, sizeof *tasks);
    TsReport report = {.step = training->step,
                       .tasks = tasks,
                       .task_count = count,
                       .learner = training->report.learner,
                       .weight_norm = ts_courses_weight_norm(training->courses),
                       .skipped_steps = training->skipped_steps,
                       .rollbacks = training->rollbacks.count,
                       .speed = ts_speed_take(&training->speed, training->own_s, training->job->group)};
    collect_losses(training, tasks, &report.loss);
    double *cosines = collect_conflicts(training, tasks);
    report.cosines = cosines;
    ts_progress_say(&training->progress, training->dir, &report);
    ts_summaries_report(training->summaries, &report);
    look_at_hosts(training, steps);
    ts_free(cosines);
    ts_free(tasks);
    training->said_s = ts_progress_now();
}

/* How parameters are spread, and the gradients that made them. */
static void spread(TsTraining *training)
{
    TsGroup *group = training->job->group;
    ts_courses_gather(training->courses, false);
    ts_spread_report(training->summaries, group, training->job->arrays, training->step);
    ts_spread_report(training->summaries, group, ts_learner_gradients(training->learner), training->step);
    ts_summaries_flush(training->summaries);
    training->spread_s = ts_progress_now();
}

/* What goes wrong beside the steps ends no run. */
static void warn(TsStatus status, TsGroup *group)
{
    if (status && ts_status_code(status) != TS_CODE_INTERRUPTED && ts_group_rank(group) == 0) /* the same on all */
        ts_log(TS_LOG_WARNING, "%s", ts_status_message(status));
    ts_status_free(&status);
}

/* ---- evaluation ---- */

static void note_scores(TsTraining *training, const char *task, const TsScores *scores)
{
    for (int i = 0; i < scores->count; i++) {
        char *path = ts_format("%s/%s", task, scores->score[i].name);
        ts_saving_note_metric(training->saving, training->step, path, scores->score[i].scalar.value);
        ts_early_stop_note(&training->early_stop, training->step, path, scores->score[i].scalar.value);
        ts_free(path);
    }
}

/* Says, writes and keeps what an evaluation gave; task `index`, or behind the last the average. */
static void give_scores(TsTraining *training, int index, const TsScores *scores)
{
    const char *name = index < training->job->task_count ? training->job->tasks[index]->name : TS_AVERAGE;
    ts_progress_say_evaluation(training->dir, training->step, name, scores);
    ts_summaries_scores(training->summaries, index, training->step, scores);
    note_scores(training, name, scores);
}

/* Finds the parameters of tasks that are solved and not trained, on the backbone as it is evaluated now. */
static TsStatus solve(TsTraining *training, const TsBatch *arrays)
{
    if (!ts_solve_is_needed(training->job))
        return TS_OK;
    return ts_solve(training->job, (TsSolveOptions){.arrays = arrays});
}

const TsBatch *ts_training_evaluated(const TsTraining *training)
{
    const TsEmaConfig *ema = training->keys->learner.ema;
    bool averages = ema && ema->evaluate;
    ts_courses_gather(training->courses, averages);
    if (!averages)
        return training->job->arrays;
    ts_averages_gather(ts_learner_averages(training->learner));
    return ts_averages_arrays(ts_learner_averages(training->learner));
}

TsStatus ts_training_evaluate(TsTraining *training)
{
    const TsTaskConfig *keys = training->keys->tasks.items;
    int count = training->job->task_count;
    const TsBatch *evaluated = ts_training_evaluated(training);
    TS_TRY(solve(training, evaluated));
    TsScores *scores = ts_calloc((size_t)count, sizeof *scores), average;
    double *weight = ts_calloc((size_t)count, sizeof *weight);
    bool stopped = false;
    for (int i = 0; i < count; i++) {
        if (!training->evaluators[i])
            continue;
        ts_evaluator_bind(training->evaluators[i], evaluated);
        TsStatus asked = ts_evaluator_run(training->evaluators[i], &scores[i], NULL, NULL);
        if (asked) {
            ts_status_free(&asked);
            stopped = true;
            break;
        }
        weight[i] = keys[i].evaluation_weight;
        give_scores(training, i, &scores[i]);
    }
    if (!stopped && training->averaged_count > 1) {
        ts_scores_average(&average, scores, weight, count);
        give_scores(training, count, &average);
    }
    ts_free(scores);
    ts_free(weight);
    training->evaluated_s = ts_progress_now();
    return TS_OK;
}

/* ---- checkpoints ---- */

/* The step of the last checkpoint, once a save that is under way has ended. Collective. */
static long long last_saved_step(TsTraining *training)
{
    warn(ts_saving_wait(training->saving), training->job->group);
    return (long long)ts_saving_committed_step(training->saving);
}

/* That copies of what is learned are the same, where the config wants to know. */
static TsStatus check_replicas(TsTraining *training)
{
    if (training->keys->guard.check_replicas.unit == TS_NEVER)
        return TS_OK;
    ts_courses_gather(training->courses, true);
    TsStatus status = ts_replicas_compare(training->job->group, training->hosts, training->kept);
    if (!status)
        return TS_OK;
    TsStatus told =
        ts_status_error(ts_status_code(status),
                        "after step %lld %s; its memory may be failing: leave it out, and go on from the last "
                        "checkpoint, of step %lld, where all were the same",
                        (long long)training->step, ts_status_message(status), last_saved_step(training));
    ts_status_free(&status);
    return told;
}

static TsStatus save(TsTraining *training)
{
    ts_courses_gather(training->courses, true);
    TS_TRY(check_replicas(training)); /* nothing that is wrong gets onto the disk */
    json_t *state = ts_training_pack(training);
    TsStatus status = ts_saving_save(training->saving, training->step, training->kept, state);
    json_decref(state);
    return status;
}

/* ---- ends ---- */

/* The run ends because it was asked to. */
static TsStatus stopped(TsTraining *training, int why)
{
    TS_TRY(ts_saving_wait(training->saving));
    long long saved = last_saved_step(training);
    char *reason = ts_stop_reason(why);
    TsStatus status =
        ts_status_error(TS_CODE_INTERRUPTED, "stopped by %s after step %lld; the same command goes on from %s", reason,
                        (long long)training->step,
                        saved == training->step ? "there"
                        : saved < 0             ? "the beginning"
                                                : "the last checkpoint");
    ts_free(reason);
    return status;
}

/* The run ends because the directory is another's. */
static TsStatus taken_over(TsTraining *training)
{
    return ts_status_error(TS_CODE_INTERRUPTED,
                           "%s: another run has taken the directory over; stopped after step %lld; the last checkpoint "
                           "of this run is of step %lld",
                           training->keys->run.dir, (long long)training->step, last_saved_step(training));
}

static void say_early_stop(const TsTraining *training)
{
    const TsEarlyStop *stop = &training->early_stop;
    for (int i = 0; i < stop->count; i++) {
        const TsWatchedMetric *metric = &stop->watched[i];
        ts_log(TS_LOG_INFO,
               "early stop after step %lld: %s was best at step %lld, %.6g; %lld evaluation%s since were not better",
               (long long)training->step, metric->path, (long long)metric->best_step, metric->best,
               (long long)metric->worse, metric->worse == 1 ? "" : "s");
    }
}

/* Why a run ends before run.steps, if it does. */
static void say_end(const TsTraining *training)
{
    if (ts_early_stop_now(&training->early_stop))
        say_early_stop(training);
    else if (training->exhausted && training->step < training->keys->run.steps)
        ts_log(TS_LOG_INFO, "data are exhausted after step %lld: mixture.exhausted says what then",
               (long long)training->step);
}

/* What is due, in its order. */
static TsStatus run_hooks(TsTraining *training, Decision due)
{
    if (due.lost)
        return taken_over(training);
    if (due.failed)
        return ts_saving_wait(training->saving);
    if (!due.save && is_due(training->keys->guard.check_replicas, training->step, 0))
        TS_TRY(check_replicas(training));
    if (due.spread)
        spread(training);
    if (due.say)
        say(training);
    if (training->skipped_in_row >= training->keys->learner.skip_limit)
        return ts_training_roll_back(training);
    if (due.evaluate && !due.stop)
        TS_TRY(ts_training_evaluate(training));
    if (due.decode && !due.stop)
        warn(ts_training_decode(training), training->job->group);
    if ((due.evaluate || due.decode) && !due.stop) {
        due.stop = ts_stop_agreed(training->job->group); /* meanwhile */
        TsSavingMoment moment = {.step = training->step, .stopping = true};
        due.save |= due.stop && ts_saving_is_due(training->saving, moment);
    }
    bool ends_early = ts_early_stop_now(&training->early_stop); /* known on all ranks alike, from the scores */
    TsSavingMoment end = {.step = training->step, .last = true};
    if (due.save || (ends_early && ts_saving_is_due(training->saving, end)))
        TS_TRY(save(training));
    if (!due.stop)
        say_end(training);
    return due.stop ? stopped(training, due.stop) : TS_OK;
}

TsStatus ts_training_hooks(TsTraining *training)
{
    TsStatus status = run_hooks(training, decide(training));
    ts_courses_release(training->courses);
    return status;
}
