/* SPDX-License-Identifier: Apache-2.0
 *
 * Again: which nodes of the forward pass may be computed once more for the backward pass, and the graph in which some
 * are: a copy of each, right before what reads it. For rematerialize.c, which chooses.
 *
 * A block is what has one numbered layer in its path ("backbone/layer_03"). What one block takes from another is always
 * kept, so that nothing is computed again more than once. Messages are not sent again: what a collective brought is
 * kept, but for parameters, which are gathered for the backward pass anyway.
 */
#pragma once

#include "tensor/passes/passes.h"

enum { TS_AGAIN_OUTSIDE = -1 }; /* of all blocks */

typedef struct TsAgain {
    const TsGraph *graph; /* borrowed */
    int32_t *block;       /* (paths): TS_AGAIN_OUTSIDE, or the number of the first path that has the same block */
    bool *candidate;      /* (nodes): of the forward pass, and may be computed again */
    bool *needed;         /* (values): the backward pass reads it, or a view of it */
    bool *at_rest;        /* (values): of parameters and states alone */
    bool has_blocks;
} TsAgain;

/* Freed by ts_again_free. */
TsAgain ts_again_find(const TsGraph *graph);
void ts_again_free(TsAgain *found);

/* The block of node n. */
int32_t ts_again_block(const TsAgain *found, int32_t n);

/* The value that a view shows. */
int32_t ts_again_shown(const TsGraph *graph, int32_t value);

/* The graph in which the nodes of `again` (nodes) are computed once more for the backward pass; owned by the caller.
 * found->graph stays as it is. */
TsGraph *ts_again_write(const TsAgain *found, const bool *again);
