/* SPDX-License-Identifier: Apache-2.0
 *
 * The gradient of a table that is read twice, as by an embedding whose weights are also those of the logits: the rows
 * that were taken add theirs to what is there, in place, instead of to a table of zeros that is then added. Behind
 * place: where the parts are summed over ranks one by one, a move stands between, and they stay as they are.
 */
#include "base/memory.h"
#include "tensor/ops/rows.h"
#include "tensor/passes/passes.h"

/* How many read each value, or give it out. */
static int32_t *count_readers(const TsGraph *graph)
{
    int32_t *readers = ts_calloc((size_t)graph->values + 1, sizeof *readers);
    for (int32_t i = 0; i < graph->operands; i++)
        readers[graph->operand[i]]++;
    for (int32_t b = 0; b < graph->bounds; b++) {
        int32_t given =
            graph->bound[b].binding.kind == TS_BIND_OUTPUT ? graph->bound[b].value : graph->bound[b].assigned;
        if (given >= 0)
            readers[given]++;
    }
    return readers;
}

/* Which input of node n, an addition, is the gradient of a table that nothing else needs; -1: none. */
static int added_table(const TsGraph *graph, int32_t n, const int32_t *readers)
{
    const TsNode *node = &graph->node[n];
    const int32_t *in = ts_node_in(graph, node);
    for (int i = 1; i >= 0 && node->op == &ts_op_add; i--) {
        const TsNode *maker = &graph->node[graph->value[in[i]].node];
        if (maker->op == &ts_op_d_take && readers[in[i]] == 1 && in[0] != in[1] &&
            ts_shape_equal(graph->value[in[0]].shape, graph->value[in[1]].shape) &&
            ts_placement_equal(graph->value[in[0]].placement, graph->value[in[1]].placement))
            return i;
    }
    return -1;
}

/* Writes what stands for node n and the gradient that is its input i. */
static void write_joined(TsRewrite *rewrite, int32_t n, int i)
{
    const TsGraph *from = rewrite->from;
    const TsNode *sum = &from->node[n];
    const int32_t *in = ts_node_in(from, sum), *of = ts_node_in(from, &from->node[from->value[in[i]].node]);
    const TsTensor operand[] = {{rewrite->to, rewrite->value[in[1 - i]]},
                                {rewrite->to, rewrite->value[of[0]]},
                                {rewrite->to, rewrite->value[of[1]]}};
    TsTensor out;
    ts_rewrite_locate(rewrite, sum);
    ts_graph_add_to(rewrite->to, &out, &ts_op_d_take_added, operand, 3, NULL);
    rewrite->value[sum->first_out] = out.id;
    rewrite->to->value[out.id].placement = from->value[sum->first_out].placement;
}

TsGraph *ts_pass_join_tables(TsGraph *graph)
{
    int32_t *readers = count_readers(graph);
    bool *joined = ts_calloc((size_t)graph->nodes + 1, sizeof *joined);
    for (int32_t n = 0; n < graph->nodes; n++) {
        int i = added_table(graph, n, readers);
        if (i >= 0)
            joined[graph->value[ts_node_in(graph, &graph->node[n])[i]].node] = true;
    }
    TsRewrite rewrite = ts_rewrite_begin(graph);
    for (int32_t n = 0; n < graph->nodes; n++) {
        int i = joined[n] ? -1 : added_table(graph, n, readers);
        if (i >= 0)
            write_joined(&rewrite, n, i);
        else if (!joined[n])
            ts_rewrite_copy(&rewrite, &graph->node[n]);
    }
    ts_free(readers);
    ts_free(joined);
    return ts_rewrite_end(&rewrite);
}
