/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/again.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/redistribute.h"

/* ---- blocks ---- */

/* The length of a path up to the end of its first numbered part; 0: there is none. */
static size_t block_length(const char *path)
{
    for (const char *at = path; *at;) {
        size_t length = strcspn(at, "/"), digits = 0;
        while (digits < length && at[length - 1 - digits] >= '0' && at[length - 1 - digits] <= '9')
            digits++;
        if (digits && digits < length && at[length - 1 - digits] == '_')
            return (size_t)(at - path) + length;
        at += length + (at[length] == '/');
    }
    return 0;
}

typedef struct BlockName {
    const char *path;
    size_t length;
    int32_t index;
} BlockName;

static int by_name(const void *left, const void *right)
{
    const BlockName *a = left, *b = right;
    int order = strncmp(a->path, b->path, a->length < b->length ? a->length : b->length);
    if (!order)
        order = (a->length > b->length) - (a->length < b->length);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static void find_blocks(TsAgain *found)
{
    const TsGraph *graph = found->graph;
    BlockName *name = ts_alloc(((size_t)graph->paths + 1) * sizeof *name);
    int32_t count = 0;
    for (int32_t p = 0; p < graph->paths; p++) {
        size_t length = block_length(graph->path[p].text);
        found->block[p] = TS_AGAIN_OUTSIDE;
        if (length)
            name[count++] = (BlockName){graph->path[p].text, length, p};
    }
    qsort(name, (size_t)count, sizeof *name, by_name);
    for (int32_t i = 0, first = 0; i < count; i++) {
        if (name[i].length != name[first].length || strncmp(name[i].path, name[first].path, name[i].length))
            first = i;
        found->block[name[i].index] = name[first].index;
    }
    found->has_blocks = count > 0;
    ts_free(name);
}

int32_t ts_again_block(const TsAgain *found, int32_t n)
{
    return found->block[found->graph->node[n].path];
}

/* ---- what may be computed again ---- */

/* A gather of a parameter for the forward pass: the backward pass has one of its own. */
static bool is_forward_gather(const TsAgain *found, const TsNode *node)
{
    return node->op == &ts_move_op[TS_MOVE_ALL_GATHER] && !node->backward && found->at_rest[node->first_out];
}

static bool may_be_made_again(const TsAgain *found, const TsNode *node)
{
    return !node->backward && node->inputs > 0 && !(node->op->flags & (TS_OP_EFFECT | TS_OP_VIEW)) &&
           !ts_op_is_collective(node->op) && !found->at_rest[node->first_out];
}

static void find_at_rest(TsAgain *found)
{
    const TsGraph *graph = found->graph;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool at_rest = node->op == &ts_bound_op &&
                       graph->bound[((const TsBoundAttributes *)node->attributes)->bound].binding.kind != TS_BIND_INPUT;
        if (node->inputs == 1)
            at_rest = found->at_rest[*ts_node_in(graph, node)];
        for (int k = 0; k < node->outputs; k++)
            found->at_rest[node->first_out + k] = at_rest;
    }
}

int32_t ts_again_shown(const TsGraph *graph, int32_t value)
{
    const TsNode *node = &graph->node[graph->value[value].node];
    while (node->op->flags & TS_OP_VIEW) {
        value = *ts_node_in(graph, node);
        node = &graph->node[graph->value[value].node];
    }
    return value;
}

static void find_candidates(TsAgain *found)
{
    const TsGraph *graph = found->graph;
    for (int32_t n = 0; n < graph->nodes; n++)
        found->candidate[n] = may_be_made_again(found, &graph->node[n]);
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++) {
            int32_t value = ts_again_shown(graph, ts_node_in(graph, node)[i]), maker = graph->value[value].node;
            if (node->backward)
                found->needed[value] = true;
            else if (!(node->op->flags & TS_OP_VIEW) && ts_again_block(found, maker) != ts_again_block(found, n))
                found->candidate[maker] &=
                    ts_again_block(found, n) == TS_AGAIN_OUTSIDE && ts_again_block(found, maker) == TS_AGAIN_OUTSIDE;
        }
    }
    for (int32_t b = 0; b < graph->bounds; b++) { /* what is there at the end anyway */
        const TsBound *bound = &graph->bound[b];
        if (bound->binding.kind == TS_BIND_OUTPUT)
            found->candidate[graph->value[ts_again_shown(graph, bound->value)].node] = false;
        if (bound->assigned >= 0)
            found->candidate[graph->value[ts_again_shown(graph, bound->assigned)].node] = false;
    }
}

TsAgain ts_again_find(const TsGraph *graph)
{
    size_t nodes = (size_t)graph->nodes + 1, values = (size_t)graph->values + 1;
    TsAgain found = {.graph = graph,
                     .block = ts_alloc(((size_t)graph->paths + 1) * sizeof *found.block),
                     .candidate = ts_calloc(nodes, sizeof *found.candidate),
                     .needed = ts_calloc(values, sizeof *found.needed),
                     .at_rest = ts_calloc(values, sizeof *found.at_rest)};
    find_blocks(&found);
    find_at_rest(&found);
    find_candidates(&found);
    return found;
}

void ts_again_free(TsAgain *found)
{
    ts_free(found->block);
    ts_free(found->candidate);
    ts_free(found->needed);
    ts_free(found->at_rest);
}

/* ---- the new graph ---- */

typedef struct Writer {
    const TsAgain *found;
    const bool *again; /* (nodes) */
    TsRewrite rewrite;
    int32_t *copy; /* (values): what was computed again, in the new graph; -1: not yet */
} Writer;

/* Adds a copy of `node` for the backward pass; `in` are values of the new graph. */
static void add_copy(Writer *writer, const TsNode *node, const int32_t *in)
{
    TsGraph *to = writer->rewrite.to;
    TsTensor few[16], *operand = node->inputs > 16 ? ts_alloc((size_t)node->inputs * sizeof *operand) : few;
    TsTensor out[TS_MAX_OUTPUTS];
    TsMoveStep step;
    const void *attributes = node->attributes;
    bool gathers = is_forward_gather(writer->found, node);
    if (gathers) { /* the one that the backward pass has, where it has one */
        memcpy(&step, node->attributes, sizeof step);
        step.round = 1;
        attributes = &step;
    }
    for (int i = 0; i < node->inputs; i++)
        operand[i] = (TsTensor){to, in[i]};
    to->current_path = node->path;
    to->backward = true;
    to->again = !gathers;
    ts_graph_add_to(to, out, node->op, operand, node->inputs, attributes);
    for (int k = 0; k < node->outputs; k++) {
        writer->copy[node->first_out + k] = out[k].id;
        to->value[out[k].id].placement = writer->rewrite.from->value[node->first_out + k].placement;
    }
    if (operand != few)
        ts_free(operand);
}

/* The value of the new graph that the backward pass reads for `value`. */
static int32_t read_again(Writer *writer, int32_t value)
{
    const TsGraph *from = writer->rewrite.from;
    const TsNode *node = &from->node[from->value[value].node];
    if (writer->copy[value] >= 0)
        return writer->copy[value];
    bool view = node->op->flags & TS_OP_VIEW;
    if (!writer->again[from->value[value].node] && !view && !is_forward_gather(writer->found, node))
        return writer->rewrite.value[value];
    int32_t few[16], *in = node->inputs > 16 ? ts_alloc((size_t)node->inputs * sizeof *in) : few;
    bool changed = !view;
    for (int i = 0; i < node->inputs; i++) {
        int32_t operand = ts_node_in(from, node)[i];
        in[i] = read_again(writer, operand);
        changed |= in[i] != writer->rewrite.value[operand];
    }
    if (changed)
        add_copy(writer, node, in);
    else
        writer->copy[value] = writer->rewrite.value[value];
    if (in != few)
        ts_free(in);
    return writer->copy[value];
}

static bool leads_to_again(const Writer *writer, int32_t value)
{
    const TsGraph *from = writer->rewrite.from;
    return writer->again[from->value[ts_again_shown(from, value)].node];
}

static void copy_backward(Writer *writer, const TsNode *node)
{
    TsRewrite *rewrite = &writer->rewrite;
    int32_t few[16], *in = node->inputs > 16 ? ts_alloc((size_t)node->inputs * sizeof *in) : few;
    for (int i = 0; i < node->inputs; i++) {
        int32_t value = ts_node_in(rewrite->from, node)[i];
        in[i] = leads_to_again(writer, value) ? read_again(writer, value) : rewrite->value[value];
    }
    ts_rewrite_add(rewrite, node, in);
    for (int k = 0; k < node->outputs; k++)
        rewrite->to->value[rewrite->value[node->first_out + k]].placement =
            rewrite->from->value[node->first_out + k].placement;
    if (in != few)
        ts_free(in);
}

TsGraph *ts_again_write(const TsAgain *found, const bool *again)
{
    const TsGraph *graph = found->graph;
    Writer writer = {.found = found,
                     .again = again,
                     .rewrite = ts_rewrite_begin(graph),
                     .copy = ts_alloc(((size_t)graph->values + 1) * sizeof *writer.copy)};
    memset(writer.copy, 0xff, (size_t)graph->values * sizeof *writer.copy);
    for (int32_t n = 0; n < graph->nodes; n++)
        if (graph->node[n].backward && graph->node[n].inputs)
            copy_backward(&writer, &graph->node[n]);
        else
            ts_rewrite_copy(&writer.rewrite, &graph->node[n]);
    ts_free(writer.copy);
    return ts_pass_prune(ts_rewrite_finish(&writer.rewrite));
}
