/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/timeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/collectives.h"

enum {
    CLOCK_ROUNDS = 9, /* of comparing clocks: the median is taken */
    MAX_LANES = 16,   /* of communication that is drawn side by side */
    NAME_BYTES = 48,  /* of an event's name */
};

/* An event as it is kept: texts are copied into one block, and found by where they begin. */
typedef struct Event {
    TsTimelineEvent event;
    char name[NAME_BYTES];
    size_t path; /* in timeline->paths */
} Event;

struct TsTimeline {
    TsGroup *group; /* borrowed */
    double zero_s;  /* this host's time at time 0 */
    Event *event;
    int64_t events, capacity;
    TsText paths; /* each with its NUL */
};

double ts_timeline_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- one clock ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* This host's time at the moment in which rank 0's clock says what it says now: ranks leave barriers together, up to
 * the delay of a message. */
static double agree_on_zero(TsGroup *group)
{
    double mine[CLOCK_ROUNDS], roots[CLOCK_ROUNDS] = {0}, shift[CLOCK_ROUNDS];
    for (int i = 0; i < CLOCK_ROUNDS; i++) {
        ts_barrier(group, "timeline");
        mine[i] = ts_timeline_now();
    }
    TsTransfer transfer = {.out = roots, .in = mine, .count_elems = CLOCK_ROUNDS, .dtype = TS_F64, .label = "timeline"};
    ts_broadcast(group, transfer, 0);
    for (int i = 0; i < CLOCK_ROUNDS; i++)
        shift[i] = mine[i] - (ts_group_rank(group) == 0 ? mine[i] : roots[i]);
    qsort(shift, CLOCK_ROUNDS, sizeof *shift, by_size);
    double root = ts_group_rank(group) == 0 ? mine[CLOCK_ROUNDS - 1] : roots[CLOCK_ROUNDS - 1];
    return root + shift[CLOCK_ROUNDS / 2];
}

TsTimeline *ts_timeline_start(TsGroup *group)
{
    TsTimeline *timeline = ts_calloc(1, sizeof *timeline);
    timeline->group = group;
    timeline->zero_s = agree_on_zero(group);
    return timeline;
}

void ts_timeline_free(TsTimeline **timeline)
{
    if (*timeline) {
        ts_free((*timeline)->event);
        ts_text_free(&(*timeline)->paths);
        ts_free(*timeline);
    }
    *timeline = NULL;
}

void ts_timeline_add(TsTimeline *timeline, TsTimelineEvent event)
{
    if (timeline->events == timeline->capacity) {
        timeline->capacity = timeline->capacity ? 2 * timeline->capacity : 4096;
        timeline->event = ts_realloc(timeline->event, (size_t)timeline->capacity * sizeof *timeline->event);
    }
    Event *kept = &timeline->event[timeline->events++]; /* its category is a constant of the program */
    *kept = (Event){.event = event, .path = timeline->paths.size_bytes};
    snprintf(kept->name, sizeof kept->name, "%s", event.name);
    const char *path = event.path ? event.path : "";
    ts_text_append_bytes(&timeline->paths, path, strlen(path) + 1);
}

double ts_timeline_seconds(const TsTimeline *timeline, const char *category, const char *name)
{
    double seconds = 0;
    for (int64_t i = 0; i < timeline->events; i++)
        if (strcmp(timeline->event[i].name, name) == 0 && strcmp(timeline->event[i].event.category, category) == 0)
            seconds += timeline->event[i].event.end_s - timeline->event[i].event.begin_s;
    return seconds;
}

/* ---- as text ---- */

static void append_quoted(TsText *text, const char *words)
{
    ts_text_append(text, "\"");
    for (; *words; words++) {
        unsigned char letter = (unsigned char)*words;
        if (letter == '"' || letter == '\\')
            ts_text_append(text, "\\%c", letter);
        else if (letter < 0x20)
            ts_text_append(text, "\\u%04x", letter);
        else
            ts_text_append_bytes(text, words, 1);
    }
    ts_text_append(text, "\"");
}

static void append_meta(TsText *text, const char *what, int rank, int thread, const char *name, int index)
{
    ts_text_append(text, "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"%s_name\",\"args\":{\"name\":", rank, thread,
                   what);
    append_quoted(text, name);
    ts_text_append(
        text, "}},\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"%s_sort_index\",\"args\":{\"sort_index\":%d}},\n",
        rank, thread, what, index);
}

static void append_event(TsText *text, const TsTimeline *timeline, const Event *kept, int rank, int thread)
{
    const TsTimelineEvent *event = &kept->event;
    const char *path = timeline->paths.data + kept->path;
    ts_text_append(text, "{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"cat\":\"%s\",\"name\":", rank,
                   thread, (event->begin_s - timeline->zero_s) * 1e6, (event->end_s - event->begin_s) * 1e6,
                   event->category);
    append_quoted(text, kept->name);
    ts_text_append(text, ",\"args\":{");
    const char *between = "";
    if (*path) {
        ts_text_append(text, "\"layer\":");
        append_quoted(text, path);
        between = ",";
    }
    if (event->backward) {
        ts_text_append(text, "%s\"pass\":\"backward\"", between);
        between = ",";
    }
    if (event->axes)
        ts_text_append(text, "%s\"axes\":\"%s\",\"sent_bytes\":%.0f", between, ts_axes_text(event->axes).text,
                       event->sent_bytes);
    ts_text_append(text, "}},\n");
}

static int by_begin(const void *a, const void *b)
{
    const Event *const *x = a, *const *y = b;
    double first = (*x)->event.begin_s, second = (*y)->event.begin_s;
    return (first > second) - (first < second);
}

/* Collectives by when they begin, each on the first thread of which the last one is over: what overlaps on one thread
 * is not drawn. */
static void append_communication(TsText *text, const TsTimeline *timeline, int rank)
{
    const Event **sorted = ts_alloc(((size_t)timeline->events + 1) * sizeof *sorted);
    double free_s[MAX_LANES] = {0};
    int64_t count = 0;
    int used = 1;
    for (int64_t i = 0; i < timeline->events; i++)
        if (timeline->event[i].event.lane == TS_LANE_COMMUNICATION)
            sorted[count++] = &timeline->event[i];
    qsort(sorted, (size_t)count, sizeof *sorted, by_begin);
    for (int64_t i = 0; i < count; i++) {
        int lane = 0;
        while (lane < MAX_LANES - 1 && free_s[lane] > sorted[i]->event.begin_s)
            lane++;
        free_s[lane] = sorted[i]->event.end_s;
        used = lane >= used ? lane + 1 : used;
        append_event(text, timeline, sorted[i], rank, TS_LANE_COMMUNICATION + lane);
    }
    for (int lane = 0; lane < used; lane++) {
        char name[32];
        snprintf(name, sizeof name, lane ? "communication %d" : "communication", lane + 1);
        append_meta(text, "thread", rank, TS_LANE_COMMUNICATION + lane, name, TS_LANE_COMMUNICATION + lane);
    }
    ts_free(sorted);
}

/* This rank's lines of the file, each with a comma at its end. */
static TsText rank_text(const TsTimeline *timeline)
{
    TsText text = {0};
    char name[128];
    int rank = ts_group_rank(timeline->group);
    snprintf(name, sizeof name, "rank %d on %s", rank, ts_log_host());
    append_meta(&text, "process", rank, 0, name, rank);
    append_meta(&text, "thread", rank, TS_LANE_COMPUTE, "compute", TS_LANE_COMPUTE);
    for (int64_t i = 0; i < timeline->events; i++)
        if (timeline->event[i].event.lane == TS_LANE_COMPUTE)
            append_event(&text, timeline, &timeline->event[i], rank, TS_LANE_COMPUTE);
    append_communication(&text, timeline, rank);
    return text;
}

/* ---- into one file ---- */

/* What rank 0 writes: its own lines, then those of one rank after the other. `file` may be NULL after an error. */
static void collect(TsTimeline *timeline, TsText *own, FILE *file)
{
    TsGroup *group = timeline->group;
    int ranks = ts_group_size(group);
    if (file) {
        fprintf(file, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
        fwrite(own->data, 1, ranks == 1 ? own->size_bytes - 2 : own->size_bytes, file); /* no comma at the end */
    }
    for (int rank = 1; rank < ranks; rank++) {
        int64_t bytes = 0;
        TsTransfer transfer = {.out = &bytes, .count_elems = 1, .dtype = TS_I64, .label = "timeline"};
        ts_receive(group, transfer, rank);
        int64_t words = (bytes + 3) / 4;
        char *text = ts_alloc((size_t)words * 4 + 1);
        transfer = (TsTransfer){.out = text, .count_elems = words, .dtype = TS_I32, .label = "timeline"};
        ts_receive(group, transfer, rank);
        if (file)
            fwrite(text, 1, (size_t)(rank == ranks - 1 ? bytes - 2 : bytes), file);
        ts_free(text);
    }
    if (file)
        fprintf(file, "\n]}\n");
}

static void hand_over(TsTimeline *timeline, TsText *own)
{
    int64_t bytes = (int64_t)own->size_bytes, words = (bytes + 3) / 4;
    ts_text_append_bytes(own, "\0\0\0", 3); /* whole words are sent */
    TsTransfer transfer = {.in = &bytes, .count_elems = 1, .dtype = TS_I64, .label = "timeline"};
    ts_send(timeline->group, transfer, 0);
    transfer = (TsTransfer){.in = own->data, .count_elems = words, .dtype = TS_I32, .label = "timeline"};
    ts_send(timeline->group, transfer, 0);
}

TsStatus ts_timeline_write(TsTimeline *timeline, const char *path)
{
    bool root = ts_group_rank(timeline->group) == 0;
    TsText own = rank_text(timeline);
    TsStatus status = TS_OK;
    if (!root) {
        hand_over(timeline, &own);
    } else {
        char *temporary = ts_format("%s.tmp", path);
        FILE *file = fopen(temporary, "w");
        int code = file ? 0 : errno;
        collect(timeline, &own, file);
        if (file && (ferror(file) | fclose(file)))
            code = errno ? errno : EIO;
        if (code)
            status = ts_status_error(TS_CODE_IO, "trace: %s cannot be written: %s", temporary, strerror(code));
        else
            status = ts_file_rename(temporary, path);
        ts_free(temporary);
    }
    ts_text_free(&own);
    return ts_comm_agree(timeline->group, status);
}
