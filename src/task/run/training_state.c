/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a run stands, beside its arrays, to and from the state of a checkpoint.
 */
#include <jansson.h>

#include "task/run/training.h"

static json_t *pack_rollbacks(const TsRollbacks *rollbacks)
{
    return json_pack("{s:I, s:I, s:I}", "count", (json_int_t)rollbacks->count, "failed_step",
                     (json_int_t)rollbacks->failed_step, "to_step", (json_int_t)rollbacks->to_step);
}

json_t *ts_training_pack(const TsTraining *training)
{
    json_t *state = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "seed", (json_int_t)training->keys->run.seed, "step",
                              (json_int_t)training->step, "skipped_steps", (json_int_t)training->skipped_steps,
                              "skipped_in_row", (json_int_t)training->skipped_in_row, "rollbacks",
                              pack_rollbacks(&training->rollbacks), "kept", ts_job_keep(training->job));
    ts_courses_pack(training->courses, state);
    ts_saving_pack(training->saving, state);
    ts_early_stop_pack(&training->early_stop, state);
    return state;
}

static TsRollbacks unpack_rollbacks(const json_t *kept)
{
    return (TsRollbacks){.count = json_integer_value(json_object_get(kept, "count")),
                         .failed_step = json_integer_value(json_object_get(kept, "failed_step")),
                         .to_step = json_integer_value(json_object_get(kept, "to_step"))};
}

TsStatus ts_training_unpack(TsTraining *training, const TsCheckpoint *checkpoint)
{
    json_t *state = (json_t *)ts_checkpoint_state(checkpoint); /* read only; jansson takes no const here */
    training->step = json_integer_value(json_object_get(state, "step"));
    training->skipped_steps = json_integer_value(json_object_get(state, "skipped_steps"));
    training->skipped_in_row = json_integer_value(json_object_get(state, "skipped_in_row"));
    training->rollbacks = unpack_rollbacks(json_object_get(state, "rollbacks"));
    ts_courses_unpack(training->courses, state, ts_checkpoint_path(checkpoint));
    if (training->step != ts_checkpoint_step(checkpoint))
        return ts_status_error(TS_CODE_CORRUPT, "%s: its state is of step %lld", ts_checkpoint_path(checkpoint),
                               (long long)training->step);
    TS_TRY(ts_job_check_keep(training->job, json_object_get(state, "kept")));
    ts_saving_unpack(training->saving, state);
    ts_early_stop_free(&training->early_stop);
    ts_early_stop_unpack(&training->early_stop, state);
    ts_saving_note_committed(training->saving, training->step);
    return TS_OK;
}
