/* SPDX-License-Identifier: Apache-2.0
 *
 * What passes that write a new Graph have in common, and the simplest of them: prune.
 */
#include "tensor/passes/passes.h"

#include <string.h>

#include "base/memory.h"

TsRewrite ts_rewrite_begin(const TsGraph *from)
{
    TsRewrite rewrite = {
        .from = from, .to = ts_graph_create(), .value = ts_alloc((size_t)from->values * sizeof *rewrite.value)};
    memset(rewrite.value, 0xff, (size_t)from->values * sizeof *rewrite.value);
    TsGraph *to = rewrite.to;
    for (int32_t i = 0; i < from->paths; i++) /* the same indices: each is new but the empty one */
        ts_graph_intern_path(to, from->path[i].text);
    to->bound = ts_alloc((size_t)(from->bounds + 1) * sizeof *to->bound);
    to->bounds = to->bound_capacity = from->bounds;
    for (int32_t i = 0; i < from->bounds; i++) {
        to->bound[i] = from->bound[i];
        to->bound[i].binding.name = ts_strdup(from->bound[i].binding.name);
        ts_names_add(&to->bound_names, to->bound[i].binding.name, i);
        to->bound[i].value = to->bound[i].assigned = -1;
    }
    return rewrite;
}

void ts_rewrite_locate(TsRewrite *rewrite, const TsNode *node)
{
    rewrite->to->current_path = node->path;
    rewrite->to->backward = node->backward;
    rewrite->to->again = node->again;
}

void ts_rewrite_add(TsRewrite *rewrite, const TsNode *node, const int32_t *in)
{
    enum { FEW = 16 };
    TsTensor few[FEW], out[TS_MAX_OUTPUTS], *operand = few;
    if (node->inputs > FEW)
        operand = ts_alloc((size_t)node->inputs * sizeof *operand);
    for (int i = 0; i < node->inputs; i++)
        operand[i] = (TsTensor){rewrite->to, in[i]};
    ts_rewrite_locate(rewrite, node);
    ts_graph_add_to(rewrite->to, out, node->op, operand, node->inputs, node->attributes);
    for (int k = 0; k < node->outputs; k++)
        rewrite->value[node->first_out + k] = out[k].id;
    if (operand != few)
        ts_free(operand);
}

void ts_rewrite_copy(TsRewrite *rewrite, const TsNode *node)
{
    enum { FEW = 16 };
    int32_t few[FEW], *in = few;
    if (node->inputs > FEW)
        in = ts_alloc((size_t)node->inputs * sizeof *in);
    for (int i = 0; i < node->inputs; i++)
        in[i] = rewrite->value[ts_node_in(rewrite->from, node)[i]];
    ts_rewrite_add(rewrite, node, in);
    for (int k = 0; k < node->outputs; k++)
        rewrite->to->value[rewrite->value[node->first_out + k]].placement =
            rewrite->from->value[node->first_out + k].placement;
    if (node->op == &ts_bound_op)
        rewrite->to->bound[((const TsBoundAttributes *)node->attributes)->bound].value =
            rewrite->value[node->first_out];
    if (in != few)
        ts_free(in);
}

void ts_rewrite_abandon(TsRewrite *rewrite)
{
    ts_free(rewrite->value);
    ts_graph_free(&rewrite->to);
    *rewrite = (TsRewrite){.to = NULL};
}

TsGraph *ts_rewrite_finish(TsRewrite *rewrite)
{
    const TsGraph *from = rewrite->from;
    TsGraph *to = rewrite->to;
    for (int32_t i = 0; i < from->bounds; i++) {
        if (to->bound[i].value < 0)
            to->bound[i].value = rewrite->value[from->bound[i].value];
        if (to->bound[i].assigned < 0 && from->bound[i].assigned >= 0)
            to->bound[i].assigned = rewrite->value[from->bound[i].assigned];
    }
    ts_free(rewrite->value);
    *rewrite = (TsRewrite){.to = NULL};
    return to;
}

TsGraph *ts_rewrite_end(TsRewrite *rewrite)
{
    TsGraph *from = (TsGraph *)rewrite->from, *to = ts_rewrite_finish(rewrite);
    ts_graph_free(&from);
    return to;
}

/* Which nodes something outside needs. */
static bool *find_needed(const TsGraph *graph)
{
    bool *needed = ts_calloc((size_t)graph->nodes, sizeof *needed);
    for (int32_t i = 0; i < graph->bounds; i++) {
        needed[graph->value[graph->bound[i].value].node] = true;
        if (graph->bound[i].assigned >= 0)
            needed[graph->value[graph->bound[i].assigned].node] = true;
    }
    for (int32_t n = graph->nodes; n-- > 0;) {
        const TsNode *node = &graph->node[n];
        if (!(needed[n] |= (node->op->flags & TS_OP_EFFECT) != 0))
            continue;
        for (int i = 0; i < node->inputs; i++)
            needed[graph->value[ts_node_in(graph, node)[i]].node] = true;
    }
    return needed;
}

TsGraph *ts_pass_prune(TsGraph *graph)
{
    bool *needed = find_needed(graph);
    TsRewrite rewrite = ts_rewrite_begin(graph);
    for (int32_t n = 0; n < graph->nodes; n++)
        if (needed[n])
            ts_rewrite_copy(&rewrite, &graph->node[n]);
    ts_free(needed);
    return ts_rewrite_end(&rewrite);
}
