/* SPDX-License-Identifier: Apache-2.0
 *
 * Choice: how a node is cut, while the place pass writes its graph.
 *
 * The op's rule gives its dims labels, and for each mesh axis one label (or none) is chosen to be cut by it, such that
 * the fewest bytes move. Not all bytes weigh the same. Along `model` and `expert` parameters are computed with as they
 * are cut, and activations move (along `expert`, which cuts the batch, from one dim to another; they are not made
 * whole). Along the other axes it is activations that stay: the batch is cut by `data` so that no work is done twice,
 * while a parameter that is cut by it is so to save memory, and is what moves.
 */
#pragma once

#include "tensor/passes/versions.h"
#include "tensor/passes/wishes.h"

enum { TS_MAX_LABELS = 32 };

/* What is the same for all nodes; borrowed. */
typedef struct TsChoiceSetting {
    const TsGraph *from, *to; /* the graph as it was, and the one in the making */
    TsMeshShape mesh_shape;
    TsSums sums;
    TsVersions *versions;
    TsWish *wishes; /* of the values of `from` */
} TsChoiceSetting;

typedef struct TsChoice {
    const TsChoiceSetting *setting;
    const TsNode *node; /* of `from` */
    const TsNodeView *view;
    const int32_t *in;   /* (inputs) values of `to` */
    TsPlaceRule rule;    /* with room for the labels of the inputs, all zero; the op's row fills it in */
    int8_t cut[TS_AXES]; /* the label that each axis cuts; 0: none; -1: a sum stays one */
    uint8_t order[TS_MAX_LABELS][TS_AXES]; /* the axes that cut a label, major first */
} TsChoice;

/* Fills in rule, cut and order. */
void ts_choice_make(TsChoice *choice);

/* Where input i must lie for that, and where output k then lies. */
TsPlacement ts_choice_input(const TsChoice *choice, int i);
TsPlacement ts_choice_output(const TsChoice *choice, int k);
