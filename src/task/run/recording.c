/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/recording.h"

#include "base/log.h"

TsRecording ts_recording_start(const TsTraceConfig *config, TsGroup *group, int64_t step)
{
    return (TsRecording){.config = config, .group = group, .from_step = step + config->from_step};
}

bool ts_recording_begins(TsRecording *recording, int64_t step)
{
    bool begins = recording->config->file && step == recording->from_step;
    if (begins)
        recording->timeline = ts_timeline_start(recording->group);
    return begins;
}

void ts_recording_mark(TsRecording *recording, const char *name)
{
    if (!recording->timeline)
        return;
    double now_s = ts_timeline_now();
    if (name)
        ts_timeline_add(recording->timeline, (TsTimelineEvent){.begin_s = recording->marked_s,
                                                               .end_s = now_s,
                                                               .name = name,
                                                               .category = "host",
                                                               .lane = TS_LANE_COMPUTE});
    recording->marked_s = now_s;
}

bool ts_recording_ends(const TsRecording *recording, int64_t step, bool at_end)
{
    return recording->timeline && (at_end || step >= recording->from_step + recording->config->steps - 1);
}

TsStatus ts_recording_write(TsRecording *recording, int64_t step)
{
    TsStatus status = ts_timeline_write(recording->timeline, recording->config->file);
    if (!status)
        ts_log(TS_LOG_INFO, "a timeline of steps %lld to %lld is in %s", (long long)recording->from_step,
               (long long)step, recording->config->file);
    ts_timeline_free(&recording->timeline);
    return status;
}
