/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a Move, for the files that run moves one by one and several as one.
 */
#pragma once

#include "tensor/redistribute.h"

/* A part of a local block. On a mesh that is only described no lists by rank are kept: plans are for many ranks. */
typedef struct Box {
    int64_t first[TS_MAX_DIMS], size[TS_MAX_DIMS];
} Box;

struct TsMove {
    TsMoveKind kind;
    TsDtype dtype;
    TsReduction reduction;
    TsAlgorithm algorithm;
    TsGroup *group;    /* borrowed; NULL where the mesh is only described */
    const char *label; /* borrowed */
    TsShape in, out;   /* local */
    int rank, size;    /* in the group */
    Box *box;         /* (size): what goes to each rank, in `in`; of a gather, what comes from each, in `out`; of a cut,
                         one, in `in` */
    Box *receive_box; /* (size): of an all_to_all, what comes from each, in `out` */
    int64_t *first;   /* (size + 1): where each rank's box begins on the wire, in elements */
    int64_t *receive_first;
    int64_t wire_elems, receive_elems; /* of all boxes */
    int64_t own_first, own_elems;      /* this rank's of what `first` counts */
    bool in_order, receive_in_order;   /* the boxes stand in memory as on the wire: no copies */
    bool keeps;                        /* of a mask: this rank keeps the value */
};
