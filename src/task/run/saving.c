/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/saving.h"

#include <math.h>

#include "base/memory.h"
#include "task/run/progress.h"

struct TsSaving {
    const TsCheckpointConfig *keys;
    TsCheckpointSaver *saver;
    double saved_s; /* when the last save began, or the run */
    int64_t noted_step;
    json_t *metrics; /* of the newest evaluation, that after evaluated_step; owned */
    int64_t evaluated_step;
    json_t *initialized; /* where the first weights came from; NULL: from nowhere. Owned */
};

static TsKeepPolicy keep_policy(const TsKeepConfig *keys)
{
    return (TsKeepPolicy){.latest = keys->latest,
                          .every_steps = keys->every.unit == TS_STEPS ? (int64_t)keys->every.count : 0,
                          .every_s = keys->every.unit == TS_SECONDS ? keys->every.count : keys->every_time,
                          .steps = keys->steps.items,
                          .step_count = keys->steps.count,
                          .best = keys->best,
                          .by = keys->by,
                          .higher = keys->better == TS_BETTER_HIGHER};
}

TsStatus ts_saving_create(TsSaving **saving, TsGroup *group, const TsCheckpointConfig *keys, const TsRunDir *dir)
{
    TsSaving *made = ts_calloc(1, sizeof *made);
    *made = (TsSaving){
        .keys = keys, .saved_s = ts_progress_now(), .noted_step = -1, .metrics = json_object(), .evaluated_step = -1};
    char *hash = ts_run_dir_config_hash(dir);
    TsCheckpointSaverOptions options = {.keep = keep_policy(&keys->keep),
                                        .skip_verify = !keys->verify,
                                        .asynchronous = keys->asynchronous,
                                        .ranks_per_file = (int)keys->files,
                                        .config_hash = hash};
    TsStatus status = ts_checkpoint_saver_create(&made->saver, group, ts_run_dir_path(dir), options);
    ts_free(hash);
    if (status)
        ts_saving_free(&made);
    *saving = made;
    return status;
}

void ts_saving_free(TsSaving **saving)
{
    if (!*saving)
        return;
    ts_checkpoint_saver_free(&(*saving)->saver);
    json_decref((*saving)->metrics);
    json_decref((*saving)->initialized); /* NULL is fine */
    ts_free(*saving);
    *saving = NULL;
}

bool ts_saving_is_due(const TsSaving *saving, TsSavingMoment moment)
{
    const TsCheckpointConfig *keys = saving->keys;
    double since_s = ts_progress_now() - saving->saved_s;
    const int64_t *steps = keys->steps.items;
    bool due = (moment.last && keys->last) || (moment.stopping && keys->on_stop) ||
               (keys->every.unit == TS_STEPS && moment.step % (int64_t)keys->every.count == 0) ||
               (keys->every.unit == TS_SECONDS && since_s >= keys->every.count) ||
               (keys->every_time > 0 && since_s >= keys->every_time);
    for (int64_t i = 0; i < keys->steps.count && !due; i++)
        due = steps[i] == moment.step;
    return due;
}

bool ts_saving_wants_evaluation(const TsSaving *saving)
{
    return saving->keys->keep.best > 0;
}

bool ts_saving_failed(const TsSaving *saving)
{
    return ts_checkpoint_saver_failed(saving->saver);
}

void ts_saving_note_metric(TsSaving *saving, int64_t step, const char *path, double value)
{
    if (step != saving->evaluated_step)
        json_object_clear(saving->metrics);
    saving->evaluated_step = step;
    if (isfinite(value))
        json_object_set_new(saving->metrics, path, json_real(value));
}

void ts_saving_note_initialized(TsSaving *saving, json_t *record)
{
    json_decref(saving->initialized);
    saving->initialized = record;
}

void ts_saving_pack(const TsSaving *saving, json_t *state)
{
    if (saving->initialized)
        json_object_set(state, "initialized", saving->initialized);
    if (saving->evaluated_step < 0)
        return;
    json_object_set(state, "metrics", saving->metrics);
    json_object_set_new(state, "evaluated_step", json_integer(saving->evaluated_step));
}

void ts_saving_unpack(TsSaving *saving, const json_t *state)
{
    json_t *metrics = json_object_get(state, "metrics"), *initialized = json_object_get(state, "initialized");
    if (json_is_object(initialized))
        ts_saving_note_initialized(saving, json_deep_copy(initialized));
    if (!json_is_object(metrics))
        return;
    json_decref(saving->metrics);
    saving->metrics = json_deep_copy(metrics);
    saving->evaluated_step = json_integer_value(json_object_get(state, "evaluated_step"));
}

TsStatus ts_saving_save(TsSaving *saving, int64_t step, const TsBatch *arrays, const json_t *state)
{
    TsStatus status = ts_checkpoint_save(saving->saver, step, arrays, state);
    saving->saved_s = ts_progress_now();
    return status;
}

TsStatus ts_saving_wait(TsSaving *saving)
{
    return ts_checkpoint_saver_wait(saving->saver);
}

int64_t ts_saving_committed_step(const TsSaving *saving)
{
    int64_t step = ts_checkpoint_saver_step(saving->saver);
    return step >= 0 ? step : saving->noted_step;
}

void ts_saving_note_committed(TsSaving *saving, int64_t step)
{
    saving->noted_step = step;
}
