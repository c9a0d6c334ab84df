/* SPDX-License-Identifier: Apache-2.0
 *
 * Rolling back: after too many skipped steps in a row a run goes back to an older checkpoint, and on with data that it
 * has not read yet. Parameters, state of optimizers, counts of steps and all that is learned beside them are as they
 * were; only the places in the data, and what is known of going back, stay.
 *
 * A run that fails again before it has passed the step at which it failed last goes to an older checkpoint than last
 * time, if there is one: what it went back to may have been bad already.
 */
#include <jansson.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/run/training.h"

/* The run ends because the steps go wrong. */
static TsStatus too_many_skipped(const TsTraining *training, const char *why_not_back)
{
    const TsVerdict verdict = training->report.verdict;
    char *why = ts_verdict_text(verdict, training->job->tasks[verdict.task]->name);
    TsStatus status = ts_status_error(TS_CODE_INVALID,
                                      "%lld steps in a row were skipped, at the last %s; %s; the last checkpoint is of "
                                      "step %lld",
                                      (long long)training->skipped_in_row, why, why_not_back,
                                      (long long)ts_saving_committed_step(training->saving));
    ts_free(why);
    return status;
}

/* Fills the arrays from the newest checkpoint of steps before `before`; NULL where there is none. */
static TsStatus restore(TsTraining *training, TsCheckpoint **checkpoint, int64_t before)
{
    *checkpoint = NULL;
    return before > 0 ? ts_checkpoint_resume(checkpoint, training->job->group, training->keys->run.dir, training->kept,
                                             (TsRestoreOptions){.before = before})
                      : TS_OK;
}

/* Fills the arrays from the checkpoint to go back to; NULL where there is none. */
static TsStatus restore_older(TsTraining *training, TsCheckpoint **checkpoint)
{
    const TsRollbacks *rollbacks = &training->rollbacks;
    int64_t first_skipped = training->step - training->skipped_in_row + 1;
    *checkpoint = NULL;
    if (rollbacks->count > 0 && training->step <= rollbacks->failed_step && rollbacks->to_step < first_skipped)
        TS_TRY(restore(training, checkpoint, rollbacks->to_step));
    return *checkpoint ? TS_OK : restore(training, checkpoint, first_skipped);
}

/* Makes all as the checkpoint has it, but for what does not go back. */
static TsStatus take_state(TsTraining *training, const TsCheckpoint *checkpoint)
{
    TsJob *job = training->job;
    TsRollbacks rollbacks = {.count = training->rollbacks.count + 1,
                             .failed_step = training->step,
                             .to_step = ts_checkpoint_step(checkpoint)};
    int64_t skipped_steps = training->skipped_steps;
    int64_t *place = ts_calloc((size_t)job->task_count, sizeof *place);
    for (int i = 0; i < job->task_count; i++)
        place[i] = job->tasks[i]->place;
    TsStatus status = ts_training_unpack(training, checkpoint);
    for (int i = 0; i < job->task_count; i++)
        job->tasks[i]->place = place[i];
    ts_free(place);
    training->rollbacks = rollbacks;
    training->skipped_steps = skipped_steps;
    training->skipped_in_row = 0;
    return status;
}

/* What is on disk says so, too: the checkpoint that the run is at, with the new places, and then those after it. */
static TsStatus write_down(TsTraining *training)
{
    json_t *state = ts_training_pack(training);
    TsStatus status = ts_saving_save(training->saving, training->step, training->kept, state);
    json_decref(state);
    TS_TRY(status);
    TS_TRY(ts_saving_wait(training->saving));
    char *reason =
        ts_format("numbers went bad after it, and the run went back to step %lld", (long long)training->step);
    status = ts_checkpoint_set_aside(training->job->group, training->keys->run.dir, training->step, reason);
    ts_free(reason);
    return status;
}

TsStatus ts_training_roll_back(TsTraining *training)
{
    int64_t most = training->keys->guard.rollbacks, failed_step = training->step;
    TS_TRY(ts_saving_wait(training->saving));
    if (training->rollbacks.count >= most)
        return too_many_skipped(training,
                                most ? "the run went back as often as guard.rollbacks allows" : "guard.rollbacks is 0");
    TsCheckpoint *checkpoint = NULL;
    ts_courses_gather(training->courses, true);
    TS_TRY(restore_older(training, &checkpoint));
    if (!checkpoint)
        return too_many_skipped(training, "there is no checkpoint from before to go back to");
    TsStatus status = take_state(training, checkpoint);
    ts_checkpoint_close(&checkpoint);
    TS_TRY(status);
    ts_courses_scatter(training->courses);
    if (ts_group_rank(training->job->group) == 0)
        ts_log(TS_LOG_WARNING,
               "%lld steps in a row were skipped up to step %lld: going back to step %lld, time %lld of %lld at most; "
               "data go on from where they are",
               (long long)training->keys->learner.skip_limit, (long long)failed_step, (long long)training->step,
               (long long)training->rollbacks.count, (long long)most);
    training->progress.steps_at_start = training->step;
    training->progress.started_s = ts_progress_now();
    training->exhausted = !ts_courses_go_on(training->courses, training->step + 1);
    return write_down(training);
}
