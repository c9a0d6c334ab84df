/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/trainer.h"

#include "base/log.h"
#include "base/memory.h"
#include "task/run/run_record.h"
#include "task/run/stop.h"
#include "task/run/training.h"

static TsStatus end_recording(TsTraining *training, bool at_end)
{
    if (!ts_recording_ends(&training->recording, training->step, at_end))
        return TS_OK;
    TsStatus status = ts_recording_write(&training->recording, training->step);
    ts_courses_record(training->courses, &training->recording);
    return status;
}

/* A step that changes nothing is said as it happens. */
static void say_skipped(const TsTraining *training)
{
    TsVerdict verdict = training->report.verdict;
    char *why = ts_verdict_text(verdict, training->job->tasks[verdict.task]->name);
    ts_log(TS_LOG_WARNING, "step %lld is skipped: %s; %lld in a row, %lld in all", (long long)training->step + 1, why,
           (long long)training->skipped_in_row, (long long)training->skipped_steps);
    ts_free(why);
}

/* Counts a step that has ended. */
static void count_step(TsTraining *training)
{
    bool skipped = training->report.verdict.doubt != TS_BELIEVED;
    training->skipped_steps += skipped;
    training->skipped_in_row = skipped ? training->skipped_in_row + 1 : 0;
    if (skipped && ts_group_rank(training->job->group) == 0)
        say_skipped(training);
    training->step++;
    ts_speed_add(&training->speed, training->report.tokens, training->report.flops);
    training->exhausted = !ts_courses_go_on(training->courses, training->step + 1);
}

/* The life of a step. */
static TsStatus run_step(TsTraining *training)
{
    TsRecording *recording = &training->recording;
    if (ts_recording_begins(recording, training->step + 1))
        ts_courses_record(training->courses, recording);
    ts_recording_mark(recording, NULL);

    /* The tasks that the mixture says: read, forward, backward; clip, skip, update, average. */
    TS_TRY(ts_courses_step(training->courses, &training->report, training->step + 1));
    count_step(training);
    TsStatus status = ts_training_hooks(training); /* summaries, evaluation, checkpoint, ends */
    ts_recording_mark(recording, "hooks");
    return status ? status : end_recording(training, false);
}

static TsStatus run_steps(TsTraining *training)
{
    TsStatus status = TS_OK;
    training->exhausted = !ts_courses_go_on(training->courses, training->step + 1);
    if (ts_training_is_over(training)) {
        ts_log(TS_LOG_INFO, "nothing to do: step %lld of %lld is done", (long long)training->step,
               (long long)training->keys->run.steps);
        status = ts_training_evaluate(training);
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
    TsTraining training = {.job = NULL};
    ts_stop_watch();
    TsStatus status = ts_training_begin(&training, group, config, options);
    if (!status) {
        ts_stop_before_end(training.keys->run.stop_before_s);
        status = run_steps(&training);
    }
    if (training.is_recorded && ts_group_rank(group) == 0 && !ts_run_dir_lost(training.dir))
        ts_run_record_end(training.keys->run.dir, status ? ts_status_message(status) : "done");
    ts_training_end(&training);
    if (!status) /* else ranks end with a code, and mpirun sends SIGTERM to those that end a little later */
        ts_stop_ignore();
    return status;
}
