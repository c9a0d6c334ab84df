/* SPDX-License-Identifier: Apache-2.0
 *
 * The config.json of pre-trained families as options of our transformer, and back. The inside of family.h. Names of
 * options are those of Hugging Face's transformers.
 */
#pragma once

#include "base/status.h"
#include "model/transformer.h"

typedef enum TsFamilyKind {
    TS_FAMILY_GPT2,
    TS_FAMILY_LLAMA,
    TS_FAMILY_BERT,
    TS_FAMILY_ROBERTA,
    TS_FAMILY_ESM,
    TS_FAMILIES
} TsFamilyKind;

/* RoBERTa counts positions from the number of its padding token plus 1: the rows before are not used. */
enum { TS_FAMILY_SKIPPED_ROWS = 2 };

/* Reads DIR/config.json. Fails on an architecture that is not known (those that are, are listed) and on options that
 * change the computation in a way this program does not do, each named. Not collective. */
TS_MUST_USE TsStatus ts_family_config_read(TsFamilyKind *kind, TsTransformer *options, const char *dir);

/* The text of a config.json that, read again, gives these options; NULL where the family has none. Owned by the
 * caller. */
char *ts_family_config_write(TsFamilyKind kind, const TsTransformer *options);
