/* SPDX-License-Identifier: Apache-2.0 */
#include "task/trainer.h"

#include <signal.h>

#include "base/log.h"
#include "task/run_record.h"
#include "task/training.h"

/* ---- signals ---- */

static volatile sig_atomic_t stop_signal;
static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
enum { SIGNALS = sizeof signals / sizeof *signals };

static void on_signal(int signal)
{
    stop_signal = signal;
}

static void catch_signals(struct sigaction *before)
{
    struct sigaction action = {.sa_handler = on_signal};
    stop_signal = 0;
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, &before[i]);
}

static void release_signals(const struct sigaction *before)
{
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
}

/* ---- steps ---- */

/* Programs record what they do from now on, into the timeline or no more. */
static void record_programs(TsTraining *training)
{
    for (int i = 0; i < training->job->task_count; i++)
        for (int k = 0; k < TS_MAX_LENGTHS && training->courses[i].passes[k]; k++)
            ts_step_record(training->courses[i].passes[k], training->recording.timeline);
    ts_learner_record(training->learner, training->recording.timeline);
}

static TsStatus end_recording(TsTraining *training, bool at_end)
{
    if (!ts_recording_ends(&training->recording, training->step, at_end))
        return TS_OK;
    TsStatus status = ts_recording_write(&training->recording, training->step);
    record_programs(training);
    return status;
}

/* Finds the task of the step after the last one. The same on every rank. */
static void look_ahead(TsTraining *training)
{
    for (int i = 0; i < training->job->task_count; i++)
        training->places[i] = training->courses[i].task->place;
    training->next_task = ts_mixture_task(training->mixture, training->step + 1, training->places);
}

/* Counts a step that has ended. */
static void count_step(TsTraining *training, const TsCourse *course, int length)
{
    bool skipped = training->report.factor == 0;
    training->skipped_steps += skipped;
    training->skipped_in_row = skipped ? training->skipped_in_row + 1 : 0;
    training->step++;
    ts_speed_add(&training->speed, course->task->tokens_a_batch, course->flops[length]);
    look_ahead(training);
}

/* The life of a step. */
static TsStatus run_step(TsTraining *training)
{
    int64_t step = training->step + 1, run_steps = training->keys->run.steps;
    int number = training->next_task; /* what the mixture says: the same on every rank */
    TsCourse *course = &training->courses[number];
    double loss_scale = ts_mixture_loss_scale(training->mixture, number, step, training->places);
    TsRecording *recording = &training->recording;
    if (ts_recording_begins(recording, step))
        record_programs(training);
    ts_recording_mark(recording, NULL);

    int length = ts_loader_next(course->task->train, &course->task->place); /* each rank reads its own rows */
    ts_recording_mark(recording, "read a batch");
    ts_step_run(course->passes[length], step, loss_scale); /* forward, backward; losses add up on each rank */
    ts_recording_mark(recording, "forward and backward");
    training->task_steps[number]++;
    training->report = ts_learner_step(training->learner, number, training->task_steps, step, run_steps);
    ts_recording_mark(recording, "learn"); /* clip, skip, update, average: on the shards that this rank owns */

    count_step(training, course, length);
    TsStatus status = ts_training_hooks(training, stop_signal); /* summaries, evaluation, checkpoint, ends */
    ts_recording_mark(recording, "hooks");
    return status ? status : end_recording(training, false);
}

static TsStatus run_steps(TsTraining *training)
{
    TsStatus status = TS_OK;
    look_ahead(training);
    if (ts_training_is_over(training)) {
        ts_log(TS_LOG_INFO, "nothing to do: step %lld of %lld is done", (long long)training->step,
               (long long)training->keys->run.steps);
        ts_training_evaluate(training);
    }
    while (!status && !ts_training_is_over(training))
        status = run_step(training);
    if (!status)
        status = ts_saving_wait(training->saving);
    TsStatus recorded = end_recording(training, true);
    if (status)
        ts_status_free(&recorded); /* the first error is told */
    return status ? status : recorded;
}

TsStatus ts_train(TsGroup *group, const TsConfig *config, TsTrainOptions options)
{
    struct sigaction before[SIGNALS];
    TsTraining training = {.job = NULL};
    catch_signals(before);
    TsStatus status = ts_training_begin(&training, group, config, options);
    if (!status)
        status = run_steps(&training);
    if (training.is_recorded && ts_group_rank(group) == 0 && !ts_run_dir_lost(training.dir))
        ts_run_record_end(training.keys->run.dir, status ? ts_status_message(status) : "done");
    ts_training_end(&training);
    release_signals(before);
    return status;
}
