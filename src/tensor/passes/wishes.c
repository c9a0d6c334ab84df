/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/wishes.h"

#include <string.h>

#include "base/memory.h"

/* Notes that `value` should be cut as `placement` is. The first wish holds. */
static void wish_placement(TsWish *wish, TsPlacement placement)
{
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0; k < TS_AXES && placement.axis[d][k]; k++)
            if (!wish->dim[placement.axis[d][k]])
                wish->dim[placement.axis[d][k]] = (uint8_t)(d + 1);
}

/* Gives the wish for a label to every input that has it. */
static void wish_label(TsWish *wishes, const TsPlaceRule *rule, const int32_t *in, const TsNodeView *view, int axis,
                       int label)
{
    if (label <= 0 || (rule->uncut >> label & 1))
        return;
    for (int i = 0; i < view->inputs; i++)
        for (int d = 0; d < view->in_shape[i].dims; d++)
            if (rule->in_label[i][d] == label && !wishes[in[i]].dim[axis])
                wishes[in[i]].dim[axis] = (uint8_t)(d + 1);
}

static void look_at_node(TsWish *wishes, const TsGraph *graph, const TsNode *node, TsPlaceRule *rule,
                         const TsNodeView *view, TsMeshShape mesh_shape)
{
    const int32_t *in = ts_node_in(graph, node);
    if (node->op == &ts_constrain_op)
        wish_placement(&wishes[in[0]],
                       ts_placement_simplify(((const TsConstrainAttributes *)node->attributes)->placement, mesh_shape));
    for (int i = 0; i < node->inputs; i++) { /* what lies at rest stays where it is */
        const TsNode *source = &graph->node[graph->value[in[i]].node];
        if (source->op != &ts_bound_op ||
            graph->bound[((const TsBoundAttributes *)source->attributes)->bound].binding.kind == TS_BIND_INPUT)
            continue;
        TsPlacement placement = ts_placement_simplify(graph->value[in[i]].placement, mesh_shape);
        for (int d = 0; d < view->in_shape[i].dims; d++)
            for (int k = 0; k < TS_AXES && placement.axis[d][k]; k++)
                wish_label(wishes, rule, in, view, placement.axis[d][k], rule->in_label[i][d]);
    }
    bool of_first = rule->linearity == TS_LINEAR_FIRST;
    if (node->inputs != 1 && rule->linearity != TS_LINEAR_JOINT && !of_first)
        return;
    TsNodeView linear = *view; /* the operands that are wished alike */
    linear.inputs = of_first ? 1 : view->inputs;
    for (int k = 0; k < node->outputs; k++) /* what is wished of the result is wished of the operands */
        for (int axis = 1; axis < TS_AXES; axis++) {
            int dim = wishes[node->first_out + k].dim[axis];
            if (dim)
                wish_label(wishes, rule, in, &linear, axis, rule->out_label[k][dim - 1]);
        }
}

TsWish *ts_wishes_find(const TsGraph *graph, TsMeshShape mesh_shape)
{
    TsWish *wishes = ts_calloc((size_t)graph->values + 1, sizeof *wishes);
    TsNodeRoom room = {.capacity = 0};
    int8_t(*in_label)[TS_MAX_DIMS] = NULL;
    int capacity = 0;
    for (int32_t b = 0; b < graph->bounds; b++) {
        const TsBound *bound = &graph->bound[b];
        int32_t given = bound->binding.kind == TS_BIND_OUTPUT ? bound->value : bound->assigned;
        if (given >= 0)
            wish_placement(&wishes[given], ts_placement_simplify(bound->binding.placement, mesh_shape));
    }
    for (int32_t n = graph->nodes; n-- > 0;) {
        const TsNode *node = &graph->node[n];
        if (!node->op->place || !node->inputs)
            continue;
        if (node->inputs > capacity) {
            capacity = 2 * node->inputs;
            in_label = ts_realloc(in_label, (size_t)capacity * sizeof *in_label);
        }
        memset(in_label, 0, (size_t)node->inputs * sizeof *in_label);
        TsPlaceRule rule = {.in_label = in_label};
        TsNodeView view = ts_node_view(&room, graph, node);
        node->op->place(&rule, &view);
        look_at_node(wishes, graph, node, &rule, &view, mesh_shape);
    }
    ts_free(in_label);
    ts_node_room_free(&room);
    return wishes;
}
