/* SPDX-License-Identifier: Apache-2.0
 *
 * Cross-entropy over classes that are whole on each rank: the maxima of the logits and the sums that need them become
 * one node, which reads the logits once. Behind place: where classes are cut, the maxima are reduced over ranks before
 * anything is summed, so that a move stands between the two nodes, and they stay as they are.
 */
#include "base/memory.h"
#include "tensor/ops/rows.h"
#include "tensor/passes/passes.h"

/* The node of the maxima that node n, cross_entropy_sums, reads, if they are those of its own logits, and if its labels
 * are there as early as they are; else -1. */
static int32_t maxima_of(const TsGraph *graph, int32_t n)
{
    const int32_t *in = ts_node_in(graph, &graph->node[n]);
    int32_t maker = graph->value[in[2]].node;
    while (graph->node[maker].op == &ts_op_reshape)
        maker = graph->value[ts_node_in(graph, &graph->node[maker])[0]].node;
    bool own = graph->node[maker].op == &ts_op_max && ts_node_in(graph, &graph->node[maker])[0] == in[0];
    return own && graph->value[in[1]].node < maker ? maker : -1;
}

/* Writes what stands for both nodes. */
static void write_joined(TsRewrite *rewrite, const TsNode *maxima, const TsNode *sums)
{
    const TsGraph *from = rewrite->from;
    const int32_t *in = ts_node_in(from, sums), old[2] = {sums->first_out, maxima->first_out};
    TsTensor out[2], operand[2];
    for (int i = 0; i < 2; i++)
        operand[i] = (TsTensor){rewrite->to, rewrite->value[in[i]]};
    ts_rewrite_locate(rewrite, sums);
    ts_graph_add_to(rewrite->to, out, &ts_op_cross_entropy_rows, operand, 2, sums->attributes);
    for (int k = 0; k < 2; k++) {
        rewrite->value[old[k]] = out[k].id;
        rewrite->to->value[out[k].id].placement = from->value[old[k]].placement;
    }
}

TsGraph *ts_pass_join_maxima(TsGraph *graph)
{
    int32_t *sums_of = ts_calloc((size_t)graph->nodes + 1, sizeof *sums_of); /* of maxima: 1 + the node of the sums */
    bool *joined = ts_calloc((size_t)graph->nodes + 1, sizeof *joined);
    for (int32_t n = 0; n < graph->nodes; n++) {
        int32_t maxima = graph->node[n].op == &ts_op_cross_entropy_sums ? maxima_of(graph, n) : -1;
        if (maxima >= 0 && !sums_of[maxima]) {
            sums_of[maxima] = n + 1;
            joined[n] = true;
        }
    }
    TsRewrite rewrite = ts_rewrite_begin(graph);
    for (int32_t n = 0; n < graph->nodes; n++)
        if (sums_of[n])
            write_joined(&rewrite, &graph->node[n], &graph->node[sums_of[n] - 1]);
        else if (!joined[n])
            ts_rewrite_copy(&rewrite, &graph->node[n]);
    ts_free(sums_of);
    ts_free(joined);
    return ts_rewrite_end(&rewrite);
}
