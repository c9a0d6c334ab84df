/* SPDX-License-Identifier: Apache-2.0
 *
 * Saving: when a run saves a checkpoint, by the rules of its config, and which metrics go into it.
 *
 * Called by the trainer, which asks after each step whether one is due; what is in a checkpoint is the trainer's.
 */
#pragma once

#include <jansson.h>

#include "ckpt/checkpoint.h"
#include "task/config.h"
#include "task/run/run_dir.h"

typedef struct TsSaving TsSaving;

/* Of a run in `dir`; `keys` is borrowed for its life. Collective on group; the same status on all ranks. Owned by the
 * caller. */
TS_MUST_USE TsStatus ts_saving_create(TsSaving **saving, TsGroup *group, const TsCheckpointConfig *keys,
                                      const TsRunDir *dir);

/* Waits for a save that is under way. Collective. Sets *saving to NULL; NULL is fine. */
void ts_saving_free(TsSaving **saving);

/* ---- when ---- */

typedef struct TsSavingMoment {
    int64_t step;
    bool last;     /* of the run */
    bool stopping; /* a signal asked for the end */
} TsSavingMoment;

/* Whether this rank thinks that a checkpoint is due; by the clock, ranks may think differently. Not collective. */
bool ts_saving_is_due(const TsSaving *saving, TsSavingMoment moment);

/* Whether one that is due wants the metrics of its own step: the best are kept by them. Not collective. */
bool ts_saving_wants_evaluation(const TsSaving *saving);

/* Whether the save in the background has failed, as far as this rank knows. Not collective. */
bool ts_saving_failed(const TsSaving *saving);

/* ---- what ---- */

/* The result of an evaluation after `step`; what is not finite counts as none. Not collective. */
void ts_saving_note_metric(TsSaving *saving, int64_t step, const char *path, double value);

/* Where the first weights came from; takes ownership. Not collective. */
void ts_saving_note_initialized(TsSaving *saving, json_t *record);

/* Adds what is known of metrics and of the first weights to the state of a checkpoint; and reads it back. Not
 * collective. */
void ts_saving_pack(const TsSaving *saving, json_t *state);
void ts_saving_unpack(TsSaving *saving, const json_t *state);

/* ---- saving ---- */

/* Begins to save; an error may be that of the save before. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_saving_save(TsSaving *saving, int64_t step, const TsBatch *arrays, const json_t *state);

/* Waits for the save under way. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_saving_wait(TsSaving *saving);

/* The step of the newest checkpoint known to be committed; -1: none. ts_saving_note_committed tells of one that was
 * there before. Not collective. */
int64_t ts_saving_committed_step(const TsSaving *saving);
void ts_saving_note_committed(TsSaving *saving, int64_t step);
