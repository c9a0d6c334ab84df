/* SPDX-License-Identifier: Apache-2.0
 *
 * Prepare: files of examples become shards, by all ranks together.
 *
 * Plain files are cut into ranges of bytes, each of which becomes a shard of the records that begin in it; a gzipped
 * file is a shard. What a range needs to know of those before it, the number of its first line and whether it begins
 * inside quotes, comes from a first look at all ranges. Used by the dataset alone.
 */
#pragma once

#include "data/dataset.h"

/* What the prepared data are made of, as one line of JSON; rank 0's view of the files, on every rank. A change of it
 * means to prepare anew. Owned by the caller: ts_free. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_prepare_key(char **key, const TsDatasetSetting *setting);

/* The columns that are taken: specs (TS_MAX_SPECS + TS_SPLIT_SPECS), their number. */
int ts_prepare_columns(TsColumnSpec *specs, const TsDatasetSetting *setting);

/* Makes `directory` and what is in it. Collective; the same status on all ranks. */
TS_MUST_USE TsStatus ts_prepare(const TsDatasetSetting *setting, const char *key, const char *directory);

/* Names of a shard's further fields: of a cell of tokens how many bytes its text had; where each example is from. */
#define TS_FIELD_ORIGIN       "@origin"
#define TS_FIELD_BYTES_SUFFIX "@bytes"
#define TS_ROLE_SPLIT         "@split"
#define TS_ROLE_VALIDATION    "@validation"
