/* SPDX-License-Identifier: Apache-2.0
 *
 * Recording: the timeline of those steps of a run that `trace:` names: what its Programs did, and the host between
 * them.
 */
#pragma once

#include "comm/group.h"
#include "task/config.h"
#include "tensor/timeline.h"

typedef struct TsRecording {
    const TsTraceConfig *config; /* borrowed */
    TsGroup *group;              /* borrowed */
    TsTimeline *timeline;        /* of the steps that are recorded; NULL before and after them */
    int64_t from_step;
    double marked_s; /* where the span ended that was recorded last */
} TsRecording;

/* Of a run that goes on after `step`. */
TsRecording ts_recording_start(const TsTraceConfig *config, TsGroup *group, int64_t step);

/* Whether it begins with this step: then Programs are to record into recording->timeline. Collective on the group. */
bool ts_recording_begins(TsRecording *recording, int64_t step);

/* What the host did since the last mark; a NULL name: it does not matter. Not collective. */
void ts_recording_mark(TsRecording *recording, const char *name);

/* Whether it ends after this step, or, with at_end, with the run: then Programs are to record no more, and it is to be
 * written. Not collective. */
bool ts_recording_ends(const TsRecording *recording, int64_t step, bool at_end);

/* Writes what was recorded up to `step`. Collective on the group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_recording_write(TsRecording *recording, int64_t step);
