/* SPDX-License-Identifier: Apache-2.0
 *
 * Bucket: which collectives run as one, so that small ones do not each pay for their messages.
 *
 * Two kinds may share a bucket with others of the same op, axes, dtype and direction: reductions and gathers that
 * nothing waits for (gradients and parameters that are given out), in the order in which their inputs come to be; and
 * gathers of what lies at rest, in the order in which they are needed. They are in one piece, and are the same in each
 * micro-batch. All others are buckets of one. A bucket holds at
 * most so many bytes, but for a collective that is larger by itself. Used by the schedule pass.
 */
#pragma once

#include "tensor/passes/passes.h"

typedef struct TsBucket {
    int32_t first, count; /* its nodes: member[first, first + count) */
    int32_t piece;        /* that they are in */
    double bytes;         /* a rank's, of the wholes that are reduced or gathered, where sizes divide */
    bool deferred;        /* nothing waits for it, but nodes that nothing waits for */
    bool grows;           /* takes up more than it brings, from its beginning on: begun late */
} TsBucket;

typedef struct TsBuckets {
    TsBucket *bucket; /* (buckets) owned, in the order of their first members in the trace */
    int32_t *member;  /* (members) owned */
    int32_t *of_node; /* (nodes) owned: the bucket of a collective; else -1 */
    bool *is_sink;    /* (nodes) owned: reads what is deferred, and nothing waits for it either */
    int32_t buckets, members;
} TsBuckets;

/* `order` (nodes) is that in which they run. 0 bytes: no two share one. */
TsBuckets ts_buckets_find(const TsGraph *graph, const TsPieces *pieces, const int32_t *order, TsMeshShape mesh_shape,
                          int64_t bucket_bytes);

/* Frees all but `member`, which the schedule takes over. */
void ts_buckets_free(TsBuckets *buckets);
