/* SPDX-License-Identifier: Apache-2.0
 *
 * Examples: what tasks that learn from examples share: a dataset, its parts, and loaders whose rows the kind collates.
 */
#pragma once

#include "data/dataset.h"
#include "data/split.h"
#include "task/task.h"

typedef struct TsExamples TsExamples;

/* Of one part of the data: what a loader's rows come from. */
typedef struct TsExamplesPart {
    const TsExamples *examples;
    TsSplit split;
} TsExamplesPart;

/* Where a row comes from. */
typedef struct TsDraw {
    int64_t example; /* of the dataset; -1: none, the row weighs nothing */
    int64_t number;  /* how many were drawn before */
    bool shuffled;   /* it is for training: `number` grows from epoch to epoch */
} TsDraw;

struct TsExamples {
    const TsTaskSetting *setting; /* borrowed while configuring */
    const TsDataConfig *config;
    TsDataConfig other;     /* what `config` is where other files are predicted */
    TsTokenizer *tokenizer; /* owned */
    TsDataset *dataset;     /* owned; NULL without data */
    TsExamplesPart part[TS_PARTS];
    int pair;       /* the column of second texts; -1: there is none */
    bool two_types; /* the backbone tells the tokens of those from the first's */
    int64_t length; /* of the longest row, tokens */
    uint64_t seed;  /* of what is random in rows */

    /* Given by the kind before ts_examples_load. */
    const TsRowColumn *columns;
    int column_count;
    const void *own; /* the kind's */
    void (*collate)(const TsExamples *examples, void *const *row, int64_t length, TsDraw draw);
    int64_t (*tokens)(const TsExamples *examples, int64_t example); /* of a row, uncut */
};

/* Makes the tokenizer, and with data the dataset and its parts; checks the length against the backbone. Collective; the
 * same status on all ranks. ts_examples_close follows also where it fails. */
TS_MUST_USE TsStatus ts_examples_open(TsExamples *examples, const TsTaskSetting *setting, const TsDataConfig *config,
                                      const TsColumnSpec *specs, int spec_count);

/* Makes the loaders of the task from what the kind has given. Not collective. */
void ts_examples_load(TsExamples *examples, TsTask *task);

void ts_examples_close(TsExamples *examples);

/* Writes the tokens of a column as [BEGIN] text [END] (those that the tokenizer has) into row, cut to `length`, and
 * PAD behind; seen (length) says where tokens are; returns how many. An example of -1 gives a row of padding. */
int64_t ts_examples_put_text(const TsExamples *examples, int column, int32_t *tokens, bool *seen, int64_t length,
                             int64_t example);

/* The same with the second text behind: [BEGIN] text [END] pair [END]; types (length) are 1 of the pair and its end,
 * where the backbone has so many, else 0. What is too long is cut, the longer text first. Where there is no pair, the
 * row of the text alone. */
int64_t ts_examples_put_pair(const TsExamples *examples, int column, int32_t *tokens, int32_t *types, bool *seen,
                             int64_t length, int64_t example);

/* How many tokens such a row has, uncut. */
int64_t ts_examples_text_tokens(const TsExamples *examples, int column, int64_t example);

/* How many special tokens stand before the text. */
int64_t ts_examples_before(const TsExamples *examples);

/* A token of a special kind for where a kind cannot do without: an error that says how to get one. */
TS_MUST_USE TsStatus ts_examples_need_special(const TsExamples *examples, TsSpecial special);

/* Puts a status about an example's cell into words with file and line. Calls `check` for this rank's share of all
 * examples; the first error of any rank is that of all. Collective. */
TS_MUST_USE TsStatus ts_examples_check(const TsExamples *examples,
                                       TsStatus (*check)(const TsExamples *examples, int64_t example));

/* This rank's share [*begin, *end) of n things. */
void ts_examples_share(const TsGroup *group, int64_t n, int64_t *begin, int64_t *end);

/* The smallest batch that predictions can be traced from: tokens and seen (1, 1). Owned by the caller. */
TsBatch *ts_examples_sample(const TsMesh *mesh);

/* Whether the examples are others than the config's, without labels. */
bool ts_examples_are_other(const TsTaskSetting *setting);

/* The split that a loader's rows come from. */
const TsSplit *ts_examples_split(const TsExamples *examples, const TsTask *task, const TsLoader *loader);
