/* SPDX-License-Identifier: Apache-2.0
 *
 * DataConfig: the keys of `data:` of a task that learns from examples.
 *
 *     data:
 *       files: [train.tsv.gz]
 *       columns: {text: gloss, label: lexname}
 *       split: {type: fraction, validation: 0.1}
 *       tokenizer: {type: bytes, specials: true}
 *       length: 128
 *       batch: 32
 */
#pragma once

#include "base/config.h"
#include "data/records.h"

typedef enum TsBadRows { TS_BAD_ROWS_ERROR, TS_BAD_ROWS_SKIP } TsBadRows;
typedef enum TsPack {
    TS_PACK_NONE,   /* a row has an example */
    TS_PACK_JOINED, /* examples stand one behind another, and are cut into rows */
    TS_PACK_APART   /* likewise, and see nothing of one another */
} TsPack;
typedef enum TsEncoding { TS_ENCODING_UTF8, TS_ENCODING_ANY } TsEncoding;

typedef struct TsDataConfig {
    const char *text;          /* of language_model: a file that is learned in windows; NULL: files of examples */
    double validation;         /* of text: the part at its end */
    TsList files;              /* of paths */
    int format;                /* TsFormat */
    TsList header;             /* of names */
    TsMap columns;             /* role -> name of a column */
    const char *labels, *mask; /* of FASTA: paths, or NULL */
    TsChoice split;            /* of ts_splits */
    TsChoice tokenizer;        /* of ts_tokenizers */
    const char *separator;
    int64_t pair_ends; /* end tokens between the texts of a pair */
    TsBadRows bad_rows;
    TsEncoding encoding;
    const char *prepared; /* directory; NULL: beside the run */
    int64_t length;       /* TS_AUTO: the context of the backbone */
    TsList lengths;       /* shorter ones that batches may have */
    int64_t batch;
    TsPack pack;  /* of language_model: examples in rows */
    int64_t sort; /* batches that are sorted by length together */
} TsDataConfig;

extern const TsConfigTable ts_data_table;

/* How examples are dealt out. */
typedef struct TsSplitFraction {
    double validation, test;
    int64_t seed;
} TsSplitFraction;

typedef struct TsSplitColumn {
    const char *column;
    TsList train, validation, test; /* of words that stand in it */
    const char *validation_column;  /* NULL: none */
} TsSplitColumn;

typedef struct TsSplitFiles {
    TsList validation, test; /* of paths */
} TsSplitFiles;

typedef struct TsSplitFolds {
    int64_t folds;
    int64_t fold; /* TS_AUTO: each in its turn (task/run/folds.h); where only one is looked at, the first */
    int64_t seed;
} TsSplitFolds;

typedef enum TsSplitKind { TS_SPLIT_FRACTION, TS_SPLIT_COLUMN, TS_SPLIT_FILES, TS_SPLIT_FOLDS } TsSplitKind;

extern const TsVariants ts_splits; /* in the order of TsSplitKind */

/* The name of the column that stands for a role: as `columns` has it, else the role itself. Borrowed. */
const char *ts_data_column(const TsDataConfig *config, const char *role);

/* Whether `columns` names the role. */
bool ts_data_has_role(const TsDataConfig *config, const char *role);
