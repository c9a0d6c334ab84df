/* SPDX-License-Identifier: Apache-2.0
 *
 * Course: one task in training: its passes on the ranks that run it, its losses, and how far it is. Private to Courses.
 */
#pragma once

#include "task/job.h"
#include "task/run/recording.h"
#include "task/step.h"

typedef struct TsCourse {
    TsTask *task;
    TsParameters *parameters;       /* of its passes: the job's, or owned, on the mesh of its group */
    TsLoader *loader;               /* likewise; NULL: it does not run here */
    TsStep *passes[TS_MAX_LENGTHS]; /* one a length of batches; none where it does not run here */
    double flops[TS_MAX_LENGTHS];   /* of each, on all ranks that run it together */
    bool own_mesh;                  /* `parameters` and `loader` are owned */
    TsMetrics *metrics;             /* NULL: it does not learn */
    int64_t steps;                  /* by itself */
    double seconds;                 /* of its passes here since somebody looked last, and how many they were */
    int64_t batches;
    double said_s; /* what one of them is said to cost instead; 0: nothing is said */
} TsCourse;

/* What passes are made from; all borrowed for their life. */
typedef struct TsCourseSetting {
    const TsJob *job;
    int index;          /* of the task */
    const TsMesh *mesh; /* of the group that runs it; NULL: that of the job */
    TsStepGradients gradients;
    const TsBatch *arrays; /* parameters by path */
    const TsBatch *into;   /* arrays "gradient/PATH" */
    const TsBatch *own;    /* likewise, of what is added to where it lies; NULL: none */
    TsTimeline *timeline;
} TsCourseSetting;

/* Makes the passes. Not collective. ts_course_close follows also where it fails. */
TS_MUST_USE TsStatus ts_course_open(TsCourse *course, TsCourseSetting setting);

/* On ranks that do not run it: only what its losses add up in. */
void ts_course_watch(TsCourse *course, TsCourseSetting setting);

/* Frees the passes; losses, steps and the place in the data stay. */
void ts_course_close(TsCourse *course);

/* Reads the next batch; its place moves on every rank. Which of the passes runs on it; -1: none here. */
int ts_course_read(TsCourse *course);

/* Frees all. */
void ts_course_free(TsCourse *course);
