/* SPDX-License-Identifier: Apache-2.0
 *
 * Collectives on raw buffers: every rank of a Group calls the same one with the same transfer.
 *
 * Counts are elements, int64_t; blocks may be uneven and may be empty. A begin/end pair runs while the caller computes:
 * ts_request_poll between pieces of work drives it. Which implementation serves a call is chosen from one table
 * (comm/algorithm.h) by size and by how the group lies on nodes, the same on all ranks; a transfer can name one.
 * Beginning never waits for other ranks. Whoever waits, in any collective, moves all open requests of the process on:
 * ranks may end theirs in different orders, with other collectives between. All ranks begin the collectives of a group
 * in the same order, from one thread at a time; other groups may be in use by other threads meanwhile.
 * MPI failures abort the job. Debug builds check that all ranks call the same collective with the same counts.
 */
#pragma once

#include "base/dtype.h"
#include "comm/group.h"

/* Of floating-point numbers, all give NaN where one rank has NaN. */
typedef enum TsReduction { TS_SUM, TS_MAX, TS_MIN } TsReduction;

typedef enum TsAlgorithm {
    TS_ALGORITHM_AUTO = 0,
    TS_ALGORITHM_LIBRARY,      /* the MPI library's own */
    TS_ALGORITHM_TREE,         /* a fixed binary tree over ranks 0..size-1: the same bits wherever the ranks lie */
    TS_ALGORITHM_RING,         /* point-to-point messages between neighbours, summed in ring order */
    TS_ALGORITHM_SHARED,       /* windows of memory shared by the ranks of one node */
    TS_ALGORITHM_HIERARCHICAL, /* SHARED within nodes, RING between them, one stream a local rank */
    TS_ALGORITHMS
} TsAlgorithm;

/* What a collective moves. `out`, `in` and `first_elem` are borrowed until the collective has ended; where both buffers
 * are full size, they may be the same one (in place). Neighbours read and write buffers where they lie if these are in
 * large blocks of ts_alloc (comm/neighbour.h) or come from ts_shared_alloc (comm/shared.h); other memory is copied. */
typedef struct TsTransfer {
    void *out;
    const void *in;
    int64_t count_elems;       /* all-reduce, broadcast: of the whole buffer */
    const int64_t *first_elem; /* reduce-scatter, all-gather: (size + 1) where each rank's block begins in the whole */
    TsDtype dtype;
    TsReduction reduction;
    TsAlgorithm algorithm; /* TS_ALGORITHM_AUTO but in tests and benches */
    const char *label;     /* borrowed for the life of the process: what the watchdog and the accounting call it */
} TsTransfer;

/* A collective under way; owned by the caller until ts_request_end. */
typedef struct TsRequest TsRequest;

/* out[0, count) = the reduction over ranks of in[0, count). bf16 is summed in f32. */
void ts_all_reduce(TsGroup *group, TsTransfer transfer);
TsRequest *ts_all_reduce_begin(TsGroup *group, TsTransfer transfer);

/* `in` is the whole; out[0, …) = the reduction over ranks of in[first_elem[rank], first_elem[rank + 1]). */
void ts_reduce_scatter(TsGroup *group, TsTransfer transfer);
TsRequest *ts_reduce_scatter_begin(TsGroup *group, TsTransfer transfer);

/* `in` is this rank's block; out[first_elem[r], first_elem[r + 1]) = that of rank r. In place: `in` points to this
 * rank's block inside `out`. */
void ts_all_gather(TsGroup *group, TsTransfer transfer);
TsRequest *ts_all_gather_begin(TsGroup *group, TsTransfer transfer);

/* Sends in[send_first[r], send_first[r + 1]) to each rank r, and receives into out[receive_first[s], …) from each s.
 * All but the label borrowed until the exchange has ended. Every rank sends what the other one receives. */
typedef struct TsExchange {
    void *out;
    const void *in;
    const int64_t *send_first, *receive_first; /* (size + 1) each, in elements */
    TsDtype dtype;
    TsAlgorithm algorithm;
    const char *label;
} TsExchange;
void ts_all_to_all(TsGroup *group, TsExchange exchange);
TsRequest *ts_all_to_all_begin(TsGroup *group, TsExchange exchange);

/* out of every rank = in of `root` (only root's `in` is read). */
void ts_broadcast(TsGroup *group, TsTransfer transfer, int root);

/* Returns on no rank before all have called it. */
void ts_barrier(TsGroup *group, const char *label);

/* Point to point. Messages between one pair with one label keep their order; both ends name the same count. */
void ts_send(TsGroup *group, TsTransfer transfer, int to);      /* reads in[0, count) */
void ts_receive(TsGroup *group, TsTransfer transfer, int from); /* writes out[0, count) */
TsRequest *ts_send_begin(TsGroup *group, TsTransfer transfer, int to);
TsRequest *ts_receive_begin(TsGroup *group, TsTransfer transfer, int from);

/* Moves the request on without waiting; true once it has ended (ts_request_end is still due). */
bool ts_request_poll(TsRequest *request);

/* Waits for the end, and frees the request: *request becomes NULL; NULL is fine. */
void ts_request_end(TsRequest **request);
