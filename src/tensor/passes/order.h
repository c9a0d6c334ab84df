/* SPDX-License-Identifier: Apache-2.0
 *
 * Order: in which nodes run. That of the trace, but for
 *
 *     readers of what is assigned    before the node that makes the new value, which may then be written in place
 *     sums over micro-batches        as soon as there is a term to add: it is given up then
 *     readers of gathered parameters, where memory counts, before the parameter's whole gradient is made
 *
 * Used by the schedule pass.
 */
#pragma once

#include "tensor/passes/passes.h"

/* Views, bindings and constants do not. */
static inline bool ts_node_takes_a_step(const TsNode *node)
{
    return !(node->op->flags & TS_OP_VIEW) && node->op != &ts_bound_op && node->op != &ts_constant_op;
}

/* The nodes (graph->nodes), piece after piece; owned by the caller. */
int32_t *ts_order_nodes(const TsGraph *graph, const TsPieces *pieces, TsScheduleOptions options);
