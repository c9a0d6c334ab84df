/* SPDX-License-Identifier: Apache-2.0
 *
 * Timeline: what a rank did when, for the eye: the actions of Programs, and spans of the host around them.
 *
 * A rank records into memory of its own; writing brings all ranks together in one file of the Chrome trace format,
 * which Perfetto (ui.perfetto.dev) and chrome://tracing open: a process for each rank, with a thread for what it
 * computed and waited for, and one for what was under way between ranks. A Program without a timeline records nothing.
 */
#pragma once

#include "comm/mesh.h"

typedef enum TsLane {
    TS_LANE_COMPUTE,       /* one thing at a time; a span of the host lies around others */
    TS_LANE_COMMUNICATION, /* collectives from begin to end: several may be under way */
    TS_LANES
} TsLane;

/* Times are those of ts_timeline_now. */
typedef struct TsTimelineEvent {
    double begin_s, end_s;
    const char *name;     /* "dot"; copied, as is the path */
    const char *category; /* "kernel", "begin", "wait", "collective", "host"; borrowed for the life of the timeline */
    const char *path;     /* the layer; NULL or empty: none */
    double sent_bytes;    /* of collectives: by this rank; else 0 */
    TsAxisSet axes;       /* of collectives */
    TsLane lane;
    bool backward;
} TsTimelineEvent;

typedef struct TsTimeline TsTimeline;

/* The seconds of a clock of this host. Not collective. */
double ts_timeline_now(void);

/* Begins: from now on is time 0, on all ranks. `group` is borrowed until the timeline is freed. Collective on group.
 * Owned by the caller. */
TsTimeline *ts_timeline_start(TsGroup *group);

/* Sets *timeline to NULL; NULL is fine. Not collective. */
void ts_timeline_free(TsTimeline **timeline);

/* Not collective. */
void ts_timeline_add(TsTimeline *timeline, TsTimelineEvent event);

/* Seconds of this rank's events of that category and name. Not collective. */
double ts_timeline_seconds(const TsTimeline *timeline, const char *category, const char *name);

/* Writes the events of all ranks to `path`, by rank 0 of the group. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_timeline_write(TsTimeline *timeline, const char *path);
