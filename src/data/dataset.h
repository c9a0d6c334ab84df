/* SPDX-License-Identifier: Apache-2.0
 *
 * Dataset: the examples of files, prepared once into shards, and then read from memory by number.
 *
 * Opening it prepares it where that was not done, or where a file, the columns or the tokenizer changed: all ranks
 * share the work. Example numbers follow the files, in their order, whatever the number of ranks that prepared them.
 * Rows that cannot be read are an error with file and line, or are left out and counted.
 *
 *   PREPARED/KEY/manifest.json      what it was made of, and how many examples each shard has
 *   PREPARED/KEY/shard_00000.bin    examples (data/shard.h)
 */
#pragma once

#include "comm/group.h"
#include "data/data_config.h"
#include "data/tokenizer.h"

typedef enum TsCellKind {
    TS_CELL_TEXT,    /* as it stands */
    TS_CELL_TOKENS,  /* through the tokenizer */
    TS_CELL_NUMBERS, /* finite ones, with `separator` between them */
} TsCellKind;

/* A column that a task needs. */
typedef struct TsColumnSpec {
    const char *role; /* borrowed */
    TsCellKind kind;
    bool optional;     /* taken where `columns` names it */
    bool may_be_empty; /* a cell of text with nothing in it is an example's too */
} TsColumnSpec;

enum { TS_MAX_SPECS = 6, TS_SPLIT_SPECS = 2 }; /* those that split: adds */

typedef struct TsDatasetSetting {
    TsGroup *group;
    const TsDataConfig *config;   /* borrowed */
    const TsTokenizer *tokenizer; /* borrowed */
    const TsColumnSpec *specs;    /* (spec_count) */
    int spec_count;
    const char *prepared_dir; /* config->prepared goes before it */
} TsDatasetSetting;

typedef struct TsDataset TsDataset;

/* Collective on the group; the same status on all ranks. Same on all ranks: everything. Owned by the caller:
 * ts_dataset_close. */
TS_MUST_USE TsStatus ts_dataset_open(TsDataset **dataset, TsDatasetSetting setting);

/* Sets *dataset to NULL; NULL is fine. */
void ts_dataset_close(TsDataset **dataset);

int64_t ts_dataset_count(const TsDataset *dataset);
int64_t ts_dataset_skipped(const TsDataset *dataset); /* rows that were left out */

/* The number of a role's column, or -1 where it was not taken. */
int ts_dataset_column(const TsDataset *dataset, const char *role);

/* Cells, borrowed until the dataset is closed. Safe from any thread; not collective. */
TsField ts_dataset_text(const TsDataset *dataset, int column, int64_t example); /* not zero-terminated */
const double *ts_dataset_numbers(const TsDataset *dataset, int column, int64_t example, int64_t *count);

/* Copies tokens [0, capacity) and returns how many the cell has; tokens may be NULL with capacity 0. */
int64_t ts_dataset_tokens(const TsDataset *dataset, int column, int64_t example, int32_t *tokens, int64_t capacity);

/* The same of the tokens from the `first` on. */
int64_t ts_dataset_tokens_from(const TsDataset *dataset, int column, int64_t example, int32_t *tokens, int64_t first,
                               int64_t capacity);

/* How many bytes the text of a cell of tokens has. */
int64_t ts_dataset_text_bytes(const TsDataset *dataset, int column, int64_t example);

/* Which of the files an example comes from, counted through files, then split.validation, then split.test; and its
 * line.
 */
int ts_dataset_file(const TsDataset *dataset, int64_t example);

/* An error about an example: "FILE:LINE: ...". */
TS_MUST_USE TsStatus ts_dataset_error(const TsDataset *dataset, int64_t example, const char *format, ...)
    TS_PRINTF(3, 4);

/* The paths of all files of a config, in that order; the list (owned: ts_free) borrows them. */
const char **ts_data_files(const TsDataConfig *config, int *count);
