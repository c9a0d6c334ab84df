/* SPDX-License-Identifier: Apache-2.0
 *
 * Embeddings: the features of all examples of a part of a task's data, in a file, a row an example: computed once by
 * all ranks, each its own rows, and then read by whoever needs some of them. No rank holds them all.
 *
 *   RUN/embeddings/TASK-PART-KEY.npy    as numpy.load reads it: (n, D), f32 or f64, little-endian
 *
 * KEY is a checksum of the weights, the tokens of the examples and the configuration of the backbone; a file that is
 * there under its name is whole.
 */
#pragma once

#include "task/job.h"

typedef struct TsEmbeddings TsEmbeddings;

typedef struct TsEmbeddingsSetting {
    const TsJob *job;
    const TsTask *task;    /* whose predictions come with an output "embedding" */
    TsLoader *data;        /* in order */
    const char *part;      /* "train" */
    const TsBatch *arrays; /* parameters by path */
    bool keeps;            /* the file stays, and is taken again where it is there */
} TsEmbeddingsSetting;

/* Opens the file, after computing it where it is not there. Collective on the job's group; the same status on all
 * ranks. Owned by the caller. */
TS_MUST_USE TsStatus ts_embeddings_open(TsEmbeddings **embeddings, TsEmbeddingsSetting setting);

/* Sets *embeddings to NULL; NULL is fine. A file that is not kept is removed. Collective. */
void ts_embeddings_close(TsEmbeddings **embeddings);

int64_t ts_embeddings_count(const TsEmbeddings *embeddings);
int64_t ts_embeddings_columns(const TsEmbeddings *embeddings);
TsDtype ts_embeddings_dtype(const TsEmbeddings *embeddings);
const char *ts_embeddings_path(const TsEmbeddings *embeddings);
bool ts_embeddings_found(const TsEmbeddings *embeddings); /* they were there already */

/* rows (count, D) of the file's dtype, from row `first` on. Safe from any thread; not collective. */
TS_MUST_USE TsStatus ts_embeddings_read(const TsEmbeddings *embeddings, void *rows, int64_t first, int64_t count);
