/* SPDX-License-Identifier: Apache-2.0
 *
 * The files beside weights that exchange (exchange.h) reads and writes: the config.yaml of a run, of which only what
 * describes its model is read, and the files of a tokenizer.
 */
#pragma once

#include "base/config.h"
#include "model/fine_tune.h"
#include "model/transformer.h"

/* What describes the model of a run; all zero where nothing was read. */
typedef struct TsModelKeys {
    TsTransformer backbone;
    TsFineTuneConfig fine_tune;
    const char *init_from; /* NULL: from nowhere */
    char *tokenizer;       /* a directory, or a tokenizer.json, that a task of it uses; NULL: none. Owned */
    TsPool *pool;          /* what the others point into */
    TsConfig *config;
} TsModelKeys;

/* Reads RUN_DIR/config.yaml, of which keys that do not describe the model are left aside. Not collective. Owned by the
 * caller: ts_model_keys_free, also after an error. */
TS_MUST_USE TsStatus ts_model_keys_read(TsModelKeys *keys, const char *run_dir);

void ts_model_keys_free(TsModelKeys *keys);

/* Writes OUT_DIR/config.yaml, which describes such a backbone in the words that a person would write. `dir` is where
 * the model came from; has_tokenizer: its files are in OUT_DIR/tokenizer. Not collective. */
TS_MUST_USE TsStatus ts_model_files_write_config(const TsTransformer *backbone, const char *dir, const char *out_dir,
                                                 bool has_tokenizer);

/* Whether the directory has files of a tokenizer. */
bool ts_model_files_has_tokenizer(const char *dir);

/* Copies the files of a tokenizer, of a directory or one tokenizer.json, into `out_dir`, which must be there. Not
 * collective. */
TS_MUST_USE TsStatus ts_model_files_copy_tokenizer(const char *from, const char *out_dir);
