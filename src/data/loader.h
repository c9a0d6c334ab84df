/* SPDX-License-Identifier: Apache-2.0
 *
 * Loader: batches of windows as Arrays, of which each rank fills its own rows only.
 *
 *   tokens   (B, T) i32   at `placement`
 *   labels   (B, T) i32   at `placement`; TS_LABEL_IGNORED where there is nothing to predict
 *   weights  (B)    f32   dim 0 as in `placement`; 1, and 0 for rows beyond the last example
 *
 * The Arrays are made once and filled again for each batch. The place in the data is the caller's: one integer, to be
 * kept in a checkpoint.
 */
#pragma once

#include "data/cursor.h"
#include "data/windows.h"
#include "tensor/batch.h"

typedef struct TsLoader TsLoader;

typedef struct TsLoaderOptions {
    int64_t rows;          /* B, of the global batch, at least 1 */
    TsPlacement placement; /* of (B, T); all zero: on every rank whole */
    TsOrder order;
    uint64_t seed; /* of TS_ORDER_SHUFFLED: from the run's seed and the task's name */
} TsLoaderOptions;

/* Windows and mesh are borrowed for the life of the loader. Not collective. Same on all ranks: windows, options. Owned
 * by the caller: ts_loader_free. */
TsLoader *ts_loader_create(const TsWindows *windows, const TsMesh *mesh, TsLoaderOptions options);

/* Sets *loader to NULL; NULL is fine. */
void ts_loader_free(TsLoader **loader);

/* The batch that the loader fills; borrowed for the life of the loader, its Arrays always the same. */
TsBatch *ts_loader_batch(const TsLoader *loader);

/* Fills the batch with the B examples from *place on, and moves *place by B. Row r of the global batch is the example
 * at *place + r, whatever the mesh. Not collective. Same on all ranks: *place. */
void ts_loader_next(TsLoader *loader, int64_t *place);

/* How many batches hold every example once: an evaluation calls ts_loader_next so often, from place 0 on. */
int64_t ts_loader_batches(const TsLoader *loader);
