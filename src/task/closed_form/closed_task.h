/* SPDX-License-Identifier: Apache-2.0
 *
 * ClosedTask: what the kinds share whose solution is computed and not trained: features of examples by the backbone, a
 * solver over those of the training data, and the parameters that it finds.
 *
 * `tessera probe` solves; so does training, before each evaluation, with the backbone as it is then. Evaluation,
 * predictions and checkpoints see a task like any other.
 */
#pragma once

#include "task/closed_form/closed_model.h"
#include "task/closed_form/embeddings.h"
#include "task/closed_form/features.h"
#include "task/kinds/labelled_task.h"

/* The keys that all kinds have, in their structs' first members. */
typedef struct TsClosedConfig {
    TsDataConfig data;
    int features; /* TsClosedFeatures */
} TsClosedConfig;

extern const char *const ts_closed_features_words[];

/* Their keys, for a struct S that has them as `closed`. */
#define TS_CLOSED_KEYS(S, text)                                                                                        \
    {.name = "data",                                                                                                   \
     .kind = TS_KIND_STRUCT,                                                                                           \
     .offset = offsetof(S, closed.data),                                                                               \
     .table = &ts_data_table,                                                                                          \
     .help = (text)},                                                                                                  \
    {                                                                                                                  \
        .name = "features", .kind = TS_KIND_ENUM, .offset = offsetof(S, closed.features),                              \
        .words = ts_closed_features_words, .fallback = "mean",                                                         \
        .help = "the mean of a text's hidden states, the first one, or all side by side"                               \
    }

/* The first member of what task->own points at. */
typedef struct TsClosedTask {
    TsLabelledTask labelled; /* the first */
    TsClosedModel model;
    const TsClosedConfig *config;
} TsClosedTask;

/* Configures a task whose `own` is set to a TsClosedTask of zeros; its model's head, outputs and neighbours are given.
 * Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_closed_configure(TsTask *task, const TsTaskSetting *setting, TsLabelledOptions options);

/* Where labels are classes that nothing is learned from: what TsLabelledOptions has of them. Labels are i32, -1 where
 * there are none. */
TsLabelledOptions ts_closed_unlabelled(void);

/* TsTaskKind.data and TsTaskKind.keep of these kinds; their release is ts_labelled_release. */
const TsDataConfig *ts_closed_data(const void *keys);
json_t *ts_closed_keep(const TsTask *task);

/* TsTaskKind.give_out: predictions as they are, "values". */
void ts_closed_give_values(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns);

/* ---- for solvers ---- */

/* This rank's rows of the training data, checked. Owned by the caller. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_closed_features(TsFeatures **features, const TsTask *task, const TsSolving *solving);

/* The same without the columns that are the same in all examples; kept (owned by the caller): the numbers of the rest.
 */
TS_MUST_USE TsStatus ts_closed_varying(TsFeatures **features, int64_t **kept, const TsTask *task,
                                       const TsSolving *solving);

/* The example of the dataset that row `row` of the training data is. */
int64_t ts_closed_example(const TsTask *task, int64_t row);

/* The parameter "tasks/NAME/solution/WHAT". */
TsArray *ts_closed_array(const TsTask *task, const TsSolving *solving, const char *what);

/* Sets what lies here of rows [first, first + count) of a matrix (or of a vector, which is one row) from values (count,
 * columns); where `first` is 0 all else becomes 0. Not collective. */
typedef struct TsPut {
    TsArray *array;
    const double *values;
    int64_t first, count, columns;
    const int64_t *rows; /* which rows of the array these are; NULL: those of the same numbers */
} TsPut;
void ts_closed_put(TsPut put);

/* Sets the parameters "kernel" and "bias" of a linear head: kernel (columns, outputs of the model), its rows those of
 * numbers `kept` (columns) and all others 0; bias (outputs). Not collective. */
void ts_closed_put_linear(const TsTask *task, const TsSolving *solving, const double *kernel, int64_t columns,
                          const int64_t *kept, const double *bias);

/* The numbers of a row of "values", (outputs of the model). A new list. */
json_t *ts_closed_numbers(const TsTask *task, const TsBatch *given, int64_t row);

/* A list of numbers into the report. */
void ts_closed_report(const TsSolving *solving, const char *name, const double *values, int64_t count);
