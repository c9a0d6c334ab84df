/* SPDX-License-Identifier: Apache-2.0
 *
 * What a Learner is, for its own files: learner.c makes and runs it, learner_trace.c says what its Programs compute.
 */
#pragma once

#include "task/learner/groups.h"
#include "task/learner/learner.h"
#include "task/learner/unfreeze.h"

struct TsLearner {
    TsLearnerSetting setting; /* without `users` */
    const TsMesh *mesh;
    TsGroups groups;
    TsUnfreezing unfreezing;
    bool *uses;           /* (rows, users) */
    bool *rows;           /* (rows) which it updates, of those that learn */
    bool *used;           /* (rows) by those who learn together */
    bool *active;         /* (users) who learn together, as compiled; NULL: nothing is */
    int *family;          /* (rows): the first row with the same users and beginning: they share their count of steps */
    TsProgram **programs; /* (users), or the one of those who learn together */
    TsProgram *measure;   /* gives "squares"; NULL but where it follows */
    TsProgram *weigh;     /* gives "weights", the norm of the parameters; NULL until it is asked for */
    TsBatch *gradients;   /* inputs "gradient/PATH" */
    TsBatch *state;       /* "optimizer/WHAT/PATH", "average/PATH" */
    TsBatch *scalars;     /* inputs "rate/GROUP", "step/FAMILY", "gate/ENTRY", "others", "limit", and "factor" where it
                             follows;     outputs "norm", "factor", "squares", "weights" */
    TsAverages *averages; /* NULL: none */
};

/* The name of a scalar in Programs: "rate/0". */
typedef struct TsScalarName {
    char text[32];
} TsScalarName;
TsScalarName ts_learner_scalar(const char *what, int number);

/* Whether the row is the Learner's. */
bool ts_learner_has(const TsLearner *learner, int row);

/* Whether the program of that number updates the row. */
bool ts_learner_updates(const TsLearner *learner, int row, int program);

/* The update of what one user binds, or those who learn together do. */
void ts_learner_trace(TsGraph *graph, const TsLearner *learner, int program);

/* Of a Learner that follows: "squares", the sum of squares of the gradients of that update. */
void ts_learner_trace_measure(TsGraph *graph, const TsLearner *learner, int program);

/* "weights", the norm of the parameters. */
void ts_learner_trace_weights(TsGraph *graph, const TsLearner *learner);
