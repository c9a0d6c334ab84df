/* SPDX-License-Identifier: Apache-2.0
 *
 * The gradient of a table that is read twice, as by an embedding whose weights are also those of the logits: the rows
 * that were taken add theirs to what is there, in place, instead of to a table of zeros that is then added.
 *
 * Behind place this holds where both parts are summed over ranks together. Ahead of it, it makes the first part, whose
 * sum is to be cut among the ranks, be scattered when it is there, so that it is not kept whole until the second comes:
 * the rows of all ranks are added to what is left. For that they are gathered, so it is done where they are fewer than
 * those of the table.
 */
#include "base/memory.h"
#include "tensor/ops/rows.h"
#include "tensor/passes/passes.h"
#include "tensor/passes/wishes.h"

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

/* The path of a node with "/rows" behind it: what is gathered bears a label of its own. */
static int32_t path_of_rows(TsRewrite *rewrite, const TsNode *node)
{
    char *path = ts_format("%s/rows", rewrite->from->path[node->path].text);
    int32_t index = ts_graph_intern_path(rewrite->to, path);
    ts_free(path);
    return index;
}

/* Writes what stands for node n and the gradient that is its input i. */
static void write_joined(TsRewrite *rewrite, int32_t n, int i, bool gathers)
{
    const TsGraph *from = rewrite->from;
    const TsNode *sum = &from->node[n];
    const int32_t *in = ts_node_in(from, sum), *of = ts_node_in(from, &from->node[from->value[in[i]].node]);
    const TsTensor operand[] = {{rewrite->to, rewrite->value[in[1 - i]]},
                                {rewrite->to, rewrite->value[of[0]]},
                                {rewrite->to, rewrite->value[of[1]]}};
    TsTensor out;
    ts_rewrite_locate(rewrite, sum);
    if (gathers)
        rewrite->to->current_path = path_of_rows(rewrite, sum);
    ts_graph_add_to(rewrite->to, &out, &ts_op_d_take_added, operand, 3, NULL);
    rewrite->value[sum->first_out] = out.id;
    rewrite->to->value[out.id].placement = from->value[sum->first_out].placement;
}

/* Whether the sum that node n makes is wished to be cut by rows among ranks that share the batch, and its input i comes
 * from fewer rows than there are. */
static bool scatters_rows(const TsGraph *graph, int32_t n, int i, const TsWish *wishes, TsMeshShape mesh_shape)
{
    const TsNode *sum = &graph->node[n];
    const TsNode *rows = &graph->node[graph->value[ts_node_in(graph, sum)[i]].node];
    const TsValue *ids = &graph->value[ts_node_in(graph, rows)[1]], *table = &graph->value[sum->first_out];
    bool cut = false;
    for (int axis = 1; axis < TS_AXES; axis++)
        cut |= (axis == TS_AXIS_DATA || axis == TS_AXIS_EXPERT) && mesh_shape.size[axis] > 1 &&
               wishes[sum->first_out].dim[axis] == 1;
    return cut && ts_shape_elems(ids->shape) <= table->shape.size[0];
}

/* With `wishes`, only what scatters_rows. */
static TsGraph *join(TsGraph *graph, const TsWish *wishes, TsMeshShape mesh_shape)
{
    int32_t *readers = count_readers(graph);
    int *input = ts_alloc(((size_t)graph->nodes + 1) * sizeof *input); /* of each sum: the one that joins it, or -1 */
    bool *joined = ts_calloc((size_t)graph->nodes + 1, sizeof *joined);
    for (int32_t n = 0; n < graph->nodes; n++) {
        input[n] = added_table(graph, n, readers);
        if (input[n] >= 0 && wishes && !scatters_rows(graph, n, input[n], wishes, mesh_shape))
            input[n] = -1;
        if (input[n] >= 0)
            joined[graph->value[ts_node_in(graph, &graph->node[n])[input[n]]].node] = true;
    }
    TsRewrite rewrite = ts_rewrite_begin(graph);
    for (int32_t n = 0; n < graph->nodes; n++)
        if (input[n] >= 0)
            write_joined(&rewrite, n, input[n], wishes);
        else if (!joined[n])
            ts_rewrite_copy(&rewrite, &graph->node[n]);
    ts_free(readers);
    ts_free(input);
    ts_free(joined);
    return ts_rewrite_end(&rewrite);
}

TsGraph *ts_pass_join_tables(TsGraph *graph)
{
    return join(graph, NULL, (TsMeshShape){{0}});
}

TsGraph *ts_pass_scatter_tables(TsGraph *graph, TsMeshShape mesh_shape)
{
    if (mesh_shape.size[TS_AXIS_MICRO] > 1)
        return graph;
    TsWish *wishes = ts_wishes_find(graph, mesh_shape);
    graph = join(graph, wishes, mesh_shape);
    ts_free(wishes);
    return graph;
}
