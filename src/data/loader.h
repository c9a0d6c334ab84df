/* SPDX-License-Identifier: Apache-2.0
 *
 * Loader: batches of examples as Arrays, of which each rank fills its own rows only.
 *
 * What the columns of a batch are, and how a row of them comes from an example, says a TsRows. Batches come in a few
 * lengths T at most, so that the Programs that run on them are compiled once each: a batch takes the shortest that
 * holds its longest example. The Arrays are made once and filled again for each batch. The place in the data is the
 * caller's: one integer, to be kept in a checkpoint. The next batch is read by a thread while the caller computes.
 */
#pragma once

#include <stdbool.h>

#include "data/cursor.h"
#include "tensor/batch.h"

/* A column of a batch. */
typedef struct TsRowColumn {
    const char *name; /* borrowed */
    TsDtype dtype;
    int64_t width; /* elements of a row: (B, width); 0: one, (B); TS_ROW_LENGTH: as many as the batch is long, (B, T) */
} TsRowColumn;

enum { TS_ROW_LENGTH = -1 };

/* Where rows come from. Borrowed by the loader, with all that it points to. */
typedef struct TsRows {
    int64_t count; /* examples */
    const TsRowColumn *columns;
    int column_count;
    const void *self;

    /* Writes one row of each column, row[c] of its width, `length` being T. An example of -1 is a row beyond the last:
     * it must weigh nothing. `draw` is the number of times that examples were drawn before: random masks are a function
     * of it. Called by any thread. */
    void (*fill)(const void *self, void *const *row, int64_t length, int64_t example, int64_t draw);

    /* How many tokens the example has; NULL: all have the same. Called by any thread. */
    int64_t (*length)(const void *self, int64_t example);
} TsRows;

enum { TS_MAX_LENGTHS = 8 };

typedef struct TsLoaderOptions {
    int64_t rows;          /* B, of the global batch, at least 1 */
    TsPlacement placement; /* of (B, T); all zero: on every rank whole */
    TsOrder order;
    uint64_t seed;                   /* of TS_ORDER_SHUFFLED: from the run's seed and the task's name */
    int64_t lengths[TS_MAX_LENGTHS]; /* that T may be, rising; what is longer than the last is cut by `fill` */
    int length_count;                /* at least 1 */
    int micros;                      /* where the placement cuts a batch into micro-batches: so many; 0: one */
    int64_t sort_batches; /* TS_ORDER_SHUFFLED: so many batches are sorted by length together, and then dealt out in a
                             random order; 0 or 1: as the permutation has them */
} TsLoaderOptions;

typedef struct TsLoader TsLoader;

/* Rows and mesh are borrowed for the life of the loader. Not collective. Same on all ranks: rows, options. Owned by the
 * caller: ts_loader_free. */
TsLoader *ts_loader_create(TsRows rows, const TsMesh *mesh, TsLoaderOptions options);

/* The same batches of the same rows on another mesh. Not collective. Owned by the caller; rows are borrowed as before.
 */
TsLoader *ts_loader_on(const TsLoader *loader, const TsMesh *mesh);

/* Sets *loader to NULL; NULL is fine. */
void ts_loader_free(TsLoader **loader);

/* How many lengths its batches have, and the batch of the k-th: borrowed for the life of the loader, its Arrays always
 * the same. */
int ts_loader_lengths(const TsLoader *loader);
TsBatch *ts_loader_batch(const TsLoader *loader, int length_index);

/* Fills a batch with the B examples from *place on, moves *place by B, and says which batch it is: the same on all
 * ranks. Row r of the global batch is the example at *place + r, or where batches are sorted the r-th of this batch,
 * whatever the mesh. Not collective. Same on all ranks: *place, a multiple of B where batches are sorted. */
int ts_loader_next(TsLoader *loader, int64_t *place);

/* How many batches hold every example once: an evaluation calls ts_loader_next so often, from place 0 on. */
int64_t ts_loader_batches(const TsLoader *loader);

/* How many examples there are. */
int64_t ts_loader_count(const TsLoader *loader);

/* B. */
int64_t ts_loader_rows(const TsLoader *loader);

/* The rows that this rank holds of a batch, one micro-batch behind another, and the example that each of the last batch
 * was, -1 for none: (rows), borrowed until the next one. */
int64_t ts_loader_local_rows(const TsLoader *loader);
const int64_t *ts_loader_examples(const TsLoader *loader);
