/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch: Arrays by name, in the order they were put in; the NestedMap of Pax. What passes between data, model, ckpt and
 * task: a batch of examples, the parameters of a model, what a checkpoint holds. Names may be paths with slashes.
 */
#pragma once

#include "tensor/array.h"

typedef struct TsBatch TsBatch;

TsBatch *ts_batch_create(void);

/* Frees the batch and the arrays that it owns. Sets *batch to NULL; NULL is fine. */
void ts_batch_free(TsBatch **batch);

/* Puts an array in; the batch owns it from now on (`put`), or borrows it (`lend`). A name twice is a bug. */
void ts_batch_put(TsBatch *batch, const char *name, TsArray *array);
void ts_batch_lend(TsBatch *batch, const char *name, TsArray *array);

/* Takes the array of that name out, which must be there; one that the batch owns is freed: collective where it is
 * shared. Those behind it move up. */
void ts_batch_drop(TsBatch *batch, const char *name);

/* The array of that name, borrowed; NULL if there is none. */
TsArray *ts_batch_find(const TsBatch *batch, const char *name);

int ts_batch_count(const TsBatch *batch);
const char *ts_batch_name(const TsBatch *batch, int index);
TsArray *ts_batch_array(const TsBatch *batch, int index);
