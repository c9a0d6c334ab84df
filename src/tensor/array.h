/* SPDX-License-Identifier: Apache-2.0
 *
 * Array: a Tensor with its values: global shape, dtype, Placement, and the block of it that this rank holds.
 *
 * What outlives a run of a Program is an Array: parameters, optimizer state, caches, batches. A TsTensor (graph.h) is
 * the same thing while a computation is traced, when it has no values.
 */
#pragma once

#include "tensor/placement.h"

typedef struct TsArray {
    TsShape shape; /* global */
    TsDtype dtype;
    TsPlacement placement;
    const TsMesh *mesh; /* borrowed; NULL counts as one rank */
    TsBlockRange block; /* what `data` holds; row-major, no gaps; of micro-batches, all of them one behind another */
    void *data;         /* owned; NULL only where the array was created without values */
    bool shared;        /* `data` came from ts_shared_alloc */
    int micros;         /* at least 1: how many micro-batches it holds */
} TsArray;

typedef struct TsArrayOptions {
    bool shared; /* in memory shared by the ranks of a node (comm/shared.h): then collective on the mesh */
    int micros;  /* where the placement cuts a dim by `micro`: so many micro-batches, each with a slot in `data`; 0: one
                  */
} TsArrayOptions;

/* A zeroed array, owned by the caller. Not collective but where options.shared. Without memory for it the job aborts,
 * where base/memory.h's reserve has none either. */
TsArray *ts_array_create(const TsMesh *mesh, TsDtype dtype, TsShape shape, TsPlacement placement,
                         TsArrayOptions options);

/* The same for what may be large: without memory an error, and *array is NULL. Ranks may not find the same: agree. */
TS_MUST_USE TsStatus ts_array_try_create(TsArray **array, const TsMesh *mesh, TsDtype dtype, TsShape shape,
                                         TsPlacement placement, TsArrayOptions options);

/* Sets *array to NULL; NULL is fine. Collective where it is shared. */
void ts_array_free(TsArray **array);

/* Gives its values back, so that it is only described; and makes room for them again, zeroed. Of one that is not
 * shared. What was bound to it must be bound anew. Not collective. */
void ts_array_drop_values(TsArray *array);
void ts_array_take_values(TsArray *array);

/* What the array holds of micro-batch `micro`, and where. */
TsBlockRange ts_array_block(const TsArray *array, int micro);
void *ts_array_data(const TsArray *array, int micro);

/* Elements and bytes of the local block. */
int64_t ts_array_local_elems(const TsArray *array);
size_t ts_array_local_bytes(const TsArray *array);
