/* SPDX-License-Identifier: Apache-2.0
 *
 * LabelledTask: what the kinds share that learn labels of examples: text through the trunk and an adapter of the task's
 * own, an objective, and what was found out about the labels of the training data.
 *
 * That, the names of classes with how often each occurs or the mean and deviation of numbers, is kept in checkpoints:
 * whoever evaluates or predicts with one takes it from there, whatever data it is given. Of other data the labels may
 * be missing: then only predictions can be made.
 */
#pragma once

#include "model/headed_model.h"
#include "task/kinds/class_names.h"
#include "task/kinds/examples.h"
#include "task/kinds/labels.h"

/* What a kind says of itself. Borrowed for the life of the task. */
typedef struct TsLabelledOptions {
    const TsDataConfig *data;
    TsAdapterLevel level;
    TsHeadedModel model; /* adapter, objective and what belongs to it; the rest is filled in */
    TsObserved observed;
    const char *role; /* of the column of labels */
    TsLabelForm form;
    TsList classes, ignored; /* of names; what is not given is found in the training data */

    /* Writes a row, tokens and seen apart, which are written. `label` is -1 where there are no labels. */
    void (*collate)(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw);

    /* Checks the labels of an example. */
    TsStatus (*check)(const TsExamples *examples, int64_t example);

    /* Of numbers: fills in model.outputs and `measured` from the training data. Collective. */
    TsStatus (*measure)(TsTask *task);

    /* Fills in columns[TS_LABELLED_LABELS]. */
    TsRowColumn (*label_column)(const TsTask *task);
    bool optional;  /* labels are taken where data.columns names them, and nothing is learned from them */
    bool of_tokens; /* a label a token: a row has no weight of its own */
} TsLabelledOptions;

enum {
    TS_LABELLED_TOKENS,
    TS_LABELLED_SEEN,
    TS_LABELLED_LABELS,
    TS_LABELLED_WEIGHTS,
    TS_LABELLED_TYPES, /* of pairs */
    TS_LABELLED_COLUMNS
};

/* The first member of what task->own points at. */
typedef struct TsLabelledTask {
    TsExamples examples;
    TsHeadedModel model;
    TsLabelledOptions options;
    TsClassNames *classes; /* owned; NULL of numbers */
    double *measured;      /* (measured_count) of classes how often each occurs in the training data; owned */
    int64_t measured_count;
    double measured_sum; /* of all of it: of classes the labels of the training data */
    int text, label;     /* columns of the dataset; label -1: it has none */
    TsRowColumn columns[TS_LABELLED_COLUMNS];
} TsLabelledTask;

/* Configures a task whose `own` is set to a TsLabelledTask of zeros. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_labelled_configure(TsTask *task, const TsTaskSetting *setting, TsLabelledOptions options);

/* TsTaskKind.release, and TsTaskKind.keep. */
void ts_labelled_release(TsTask *task);
json_t *ts_labelled_keep(const TsTask *task);

/* The labels of an example. */
TsLabels ts_labelled_labels(const TsLabelledTask *labelled, int64_t example);

/* Whether a label is one of `ignored`. */
bool ts_labelled_ignores(const TsLabelledTask *labelled, TsField label);

/* The number of a label's class, or -1. */
int32_t ts_labelled_class(const TsLabelledTask *labelled, TsField label);

/* An error about a label that is none of the classes; `where` goes behind it: "of token 3", or "". */
TS_MUST_USE TsStatus ts_labelled_unknown(const TsLabelledTask *labelled, int64_t example, TsField label,
                                         const char *where);

/* TsTaskKind.baseline of classes: adds majority/accuracy, what the commonest class of the training data reaches. */
void ts_labelled_majority(const TsTask *task, TsScores *scores, const TsLoader *data, TsGroup *group);

/* TsTaskKind.give_out of classes: "probabilities". */
void ts_labelled_give_probabilities(TsScope scope, const TsTask *task, TsTensor predictions, const TsColumns *columns);
