/* SPDX-License-Identifier: Apache-2.0
 *
 * LanguageTask: `type: language_model`: the next token, of a long text that is cut into windows, or of examples:
 *
 *     data: {text: book.txt}                                             every token of a window is learned
 *     data: {files: [w.tsv], columns: {prompt: word, text: gloss}}       `word: gloss`; the gloss and its end are
 *                                                                        learned, in a row of its own or packed
 */
#pragma once

#include "data/data_config.h"
#include "data/windows.h"
#include "model/language_model.h"
#include "task/kinds/documents.h"
#include "task/kinds/examples.h"
#include "task/task.h"

extern const TsTaskKind ts_language_task;
extern const TsConfigTable ts_language_task_table;

typedef struct TsLanguageConfig {
    TsDataConfig data;
    const char *join; /* between prompt and text */
    double smoothing, z_loss;
    const struct TsTeacherConfig *teacher; /* NULL: there is none */
} TsLanguageConfig;

/* What a task learns from a frozen model. */
typedef struct TsTeacherConfig {
    TsChoice backbone; /* of ts_backbones */
    double temperature, weight;
} TsTeacherConfig;

/* The task that learns from examples; what language_task.c does with `files`. */
struct TsLanguageExamples {
    TsExamples examples;
    const TsLanguageConfig *config;
    int prompt, text; /* columns; prompt -1: there is none */
    int32_t *join;    /* (join_count) tokens, owned */
    int64_t join_count;
    TsDocuments *documents[TS_PARTS]; /* of what is packed, by part; owned; NULL: there is none */
    TsWindows *windows[TS_PARTS];     /* of them */
};

/* Opens the data and makes the loaders. Collective; the same status on all ranks; ts_language_examples_close follows.
 */
TS_MUST_USE TsStatus ts_language_examples_open(TsLanguageExamples *own, TsTask *task, const TsTaskSetting *setting);
void ts_language_examples_close(TsLanguageExamples *own);

/* Learned rows of a stream: its windows, and a loader of them in this order. Not collective; owned by the caller. */
TsLoader *ts_language_windows_loader(const TsTaskSetting *setting, const TsWindows *windows, TsOrder order);

/* Bits a byte of what the frequencies of single tokens in the training data give. Collective. */
void ts_language_examples_baseline(const TsLanguageExamples *own, const TsTask *task, TsScores *scores,
                                   const TsLoader *data, TsGroup *group);
