/* SPDX-License-Identifier: Apache-2.0
 *
 * What a graph costs, by the cost rows of its ops: as on one rank.
 */
#include "tensor/passes/passes.h"

#include "tensor/ops/common.h"

TsCost ts_node_cost(const TsNodeView *node)
{
    TsCost cost = node->op->cost ? node->op->cost(node) : (TsCost){.flops = 0};
    if (cost.bytes == 0)
        cost.bytes = ts_op_bytes(node);
    return cost;
}

TsCost ts_graph_cost(const TsGraph *graph)
{
    TsNodeRoom room = {.capacity = 0};
    TsCost total = {.flops = 0};
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        if ((node->op->flags & TS_OP_VIEW) || node->op == &ts_bound_op || node->op == &ts_constant_op)
            continue;
        TsNodeView view = ts_node_view(&room, graph, node);
        TsCost cost = ts_node_cost(&view);
        total.flops += cost.flops;
        total.bytes += cost.bytes;
    }
    ts_node_room_free(&room);
    return total;
}
