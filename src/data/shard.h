/* SPDX-License-Identifier: Apache-2.0
 *
 * Shard: a file of prepared examples, read through memory: each example is a row of cells.
 *
 * All numbers are little-endian and fixed-width:
 *
 *   header   "TSSHARD1", u32 version 1, u32 fields, i64 examples, i64 bytes of the file, u32 CRC-32C of what follows
 * the header, u32 CRC-32C of the header before it fields   of each: name in 32 bytes with zeros behind it, i64 bytes of
 * an element, i64 where its index begins, i64 where its elements begin index    of each field: (examples + 1) i64:
 * where each cell begins among its elements elements of each field, aligned to 8 bytes
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { TS_SHARD_NAME_BYTES = 32, TS_SHARD_FIELDS = 16 };

/* What a field of a shard holds. */
typedef struct TsShardField {
    const char *name; /* borrowed */
    int64_t elem_bytes;
} TsShardField;

typedef struct TsShardWriter TsShardWriter;

/* Collects examples in memory. Owned by the caller: ts_shard_writer_free. Not collective. */
TsShardWriter *ts_shard_writer_create(const TsShardField *fields, int field_count);

/* Adds the cell of one field to the example that is being written: elements (count_elems). Each field once. */
void ts_shard_writer_add(TsShardWriter *writer, int field, const void *elements, int64_t count_elems);

/* Adds tokens, narrowed to the field's elements: of ts_shard_token_bytes. */
void ts_shard_writer_add_tokens(TsShardWriter *writer, int field, const int32_t *tokens, int64_t count);

/* The example is whole. */
void ts_shard_writer_end_example(TsShardWriter *writer);

/* Forgets the example that is being written. */
void ts_shard_writer_drop_example(TsShardWriter *writer);

int64_t ts_shard_writer_examples(const TsShardWriter *writer);

/* Writes the file. */
TS_MUST_USE TsStatus ts_shard_writer_finish(TsShardWriter *writer, const char *path);

void ts_shard_writer_free(TsShardWriter **writer);

typedef struct TsShard TsShard;

/* Maps a shard and checks it, its checksums included. Owned by the caller: ts_shard_close. Not collective. */
TS_MUST_USE TsStatus ts_shard_open(TsShard **shard, const char *path);
void ts_shard_close(TsShard **shard);

int64_t ts_shard_examples(const TsShard *shard);

/* The number of the field of that name, or -1, and the bytes of its elements. */
int ts_shard_field(const TsShard *shard, const char *name);
int64_t ts_shard_elem_bytes(const TsShard *shard, int field);

/* How many bytes a token of a vocabulary of so many takes: 1, 2 or 4. */
int64_t ts_shard_token_bytes(int64_t vocab);

/* Copies `count` tokens from the `first` of a cell on, whose elements have so many bytes. */
void ts_shard_copy_tokens(int32_t *tokens, const void *cell, int64_t elem_bytes, int64_t first, int64_t count);

/* The cell of an example: borrowed until the shard is closed. Safe from any thread. */
const void *ts_shard_cell(const TsShard *shard, int field, int64_t example, int64_t *count_elems);
