/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuse: neighbouring nodes become one, so that what lies between them is never in memory.
 *
 * One mechanism: ops that work element by element, or row by row, are steps of a small program that runs over tiles in
 * the cache (kernels/fused.h); a matrix product may stand in front of it, and sums over rows may come out. Nodes join
 * what they read, one after the other, where everything works on the same block of the same shape, nothing that lies
 * outside comes in between, and what is made early is not thereby kept waiting. Nothing is fused across a move, nor the
 * forward pass with the backward one; what is given out is given out as before, with its placement.
 */
#include "tensor/passes/assembly.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

/* A node joins what was made at most so many nodes before: what that reads would be kept for longer. */
enum { FAR = 16 };

/* ---- what nodes are ---- */

static void find_steps(TsFuser *fuser)
{
    const TsGraph *graph = fuser->rewrite.from;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        TsFusedStep *step = &fuser->step[n];
        bool fits = node->op->fuse && node->inputs <= 3 && ts_fuser_is_real(graph->value[node->first_out].dtype);
        for (int i = 0; i < node->inputs && fits; i++)
            fits =
                ts_fuser_is_real(graph->value[ts_node_in(graph, node)[i]].dtype) || (node->op == &ts_op_drop && i == 1);
        if (!fits)
            continue;
        TsNodeView view = ts_node_view(&fuser->room, graph, node);
        node->op->fuse(step, &view);
        step->in[0] = step->in[1] = step->in[2] = step->sums = -1;
    }
}

static bool can_join(const TsFuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    return fuser->step[n].kind != TS_FUSED_NONE ||
           (ts_fuser_is_dot(graph, n) && ts_fuser_is_real(graph->value[graph->node[n].first_out].dtype));
}

static void find_readers(TsFuser *fuser)
{
    const TsGraph *graph = fuser->rewrite.from;
    int32_t *at = fuser->first_reader;
    for (int32_t i = 0; i < graph->operands; i++)
        at[graph->operand[i] + 1]++;
    for (int32_t v = 0; v < graph->values; v++)
        at[v + 1] += at[v];
    for (int32_t n = graph->nodes; n-- > 0;)
        for (int i = 0; i < graph->node[n].inputs; i++) {
            int32_t value = ts_node_in(graph, &graph->node[n])[i];
            fuser->reader[--at[value + 1]] = n;
        }
    /* at[v + 1] is now where the readers of v begin */
    memmove(at, at + 1, (size_t)graph->values * sizeof *at);
    at[graph->values] = graph->operands;
    for (int32_t b = 0; b < graph->bounds; b++) {
        if (graph->bound[b].binding.kind == TS_BIND_OUTPUT)
            fuser->given[graph->bound[b].value] = true;
        if (graph->bound[b].assigned >= 0)
            fuser->given[graph->bound[b].assigned] = true;
    }
}

/* ---- joining ---- */

static int32_t maker_root(const TsFuser *fuser, int32_t value)
{
    return fuser->root[fuser->rewrite.from->value[value].node];
}

/* Whether something that `root` reads, and is not of the cluster itself, needs the cluster. */
static bool leads_back(TsFuser *fuser, int32_t root)
{
    const TsGraph *graph = fuser->rewrite.from;
    int32_t depth = 0, search = ++fuser->searches, first = fuser->cluster[root].first;
    fuser->stack[depth++] = root;
    while (depth) {
        int32_t from = fuser->stack[--depth];
        for (int32_t n = from; n >= 0; n = fuser->next[n])
            for (int i = 0; i < graph->node[n].inputs; i++) {
                int32_t maker = maker_root(fuser, ts_node_in(graph, &graph->node[n])[i]);
                if (maker == root && from != root)
                    return true;
                if (maker == root || fuser->seen[maker] == search || fuser->cluster[maker].last < first)
                    continue;
                fuser->seen[maker] = search;
                fuser->stack[depth++] = maker;
            }
    }
    return false;
}

/* Makes one rising chain of two. */
static void merge_chains(TsFuser *fuser, int32_t a, int32_t b)
{
    int32_t root = a < b ? a : b, *link = NULL, last = root;
    int32_t members = fuser->cluster[a].members + fuser->cluster[b].members;
    while (a >= 0 || b >= 0) {
        int32_t *from = b < 0 || (a >= 0 && a < b) ? &a : &b;
        last = *from;
        if (link)
            *link = last;
        link = &fuser->next[last];
        fuser->root[last] = root;
        *from = fuser->next[last];
    }
    fuser->cluster[root] = (TsCluster){.first = root, .last = last, .members = members};
}

/* Undoes merge_chains: `mine` of (count) are the members of the second one. */
static void split_chains(TsFuser *fuser, int32_t root, const int32_t *second, int count)
{
    int32_t chain[TS_CLUSTER_MEMBERS], first_of[2] = {-1, -1}, last_of[2] = {-1, -1};
    int members = 0;
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        chain[members++] = n;
    for (int i = 0; i < members; i++) {
        int side = 0;
        for (int k = 0; k < count; k++)
            side |= second[k] == chain[i];
        if (first_of[side] < 0) {
            first_of[side] = chain[i];
            fuser->cluster[chain[i]] = (TsCluster){.first = chain[i]};
        } else {
            fuser->next[last_of[side]] = chain[i];
        }
        last_of[side] = chain[i];
        fuser->next[chain[i]] = -1;
        fuser->root[chain[i]] = first_of[side];
        fuser->cluster[first_of[side]].last = chain[i];
        fuser->cluster[first_of[side]].members++;
    }
}

/* Joins the clusters of a node and of what it reads, if they can be one. */
static void try_to_join(TsFuser *fuser, int32_t n, int32_t maker)
{
    const TsGraph *graph = fuser->rewrite.from;
    int32_t a = fuser->root[n], b = fuser->root[maker], members[TS_CLUSTER_MEMBERS];
    int count = 0;
    if (a == b || !can_join(fuser, maker) || graph->node[n].backward != graph->node[maker].backward ||
        n - fuser->cluster[b].last > FAR || fuser->cluster[a].members + fuser->cluster[b].members > TS_CLUSTER_MEMBERS)
        return;
    for (int32_t m = b; m >= 0; m = fuser->next[m])
        members[count++] = m;
    merge_chains(fuser, a, b);
    int32_t root = a < b ? a : b;
    TsAssembly assembly;
    if (!ts_assemble(&assembly, fuser, root) || leads_back(fuser, root))
        split_chains(fuser, root, members, count);
}

static void join_all(TsFuser *fuser)
{
    const TsGraph *graph = fuser->rewrite.from;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        if (fuser->step[n].kind == TS_FUSED_NONE)
            continue;
        for (int32_t bound = n; bound > 0;) { /* the latest first */
            int32_t latest = -1;
            for (int i = 0; i < node->inputs; i++) {
                int32_t maker = graph->value[ts_node_in(graph, node)[i]].node;
                latest = maker < bound && maker > latest ? maker : latest;
            }
            bound = latest;
            if (latest >= 0)
                try_to_join(fuser, n, latest);
        }
    }
}

/* ---- the new graph ---- */

static void write_fused(TsFuser *fuser, int32_t root, const TsAssembly *assembly)
{
    TsRewrite *rewrite = &fuser->rewrite;
    TsTensor in[TS_FUSED_INPUTS], out[TS_MAX_OUTPUTS];
    for (int i = 0; i < assembly->inputs; i++)
        in[i] = (TsTensor){rewrite->to, rewrite->value[assembly->in[i]]};
    ts_rewrite_locate(rewrite, &rewrite->from->node[root]);
    ts_graph_add_to(rewrite->to, out, assembly->op, in, assembly->inputs, &assembly->attributes);
    for (int k = 0; k < assembly->outputs; k++) {
        rewrite->value[assembly->out[k]] = out[k].id;
        rewrite->to->value[out[k].id].placement = rewrite->from->value[assembly->out[k]].placement;
    }
}

/* Writes a cluster after everything that it needs. */
static void write(TsFuser *fuser, int32_t root)
{
    const TsGraph *graph = fuser->rewrite.from;
    if (fuser->written[root])
        return;
    fuser->written[root] = true;
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        for (int i = 0; i < graph->node[n].inputs; i++)
            write(fuser, maker_root(fuser, ts_node_in(graph, &graph->node[n])[i]));
    TsAssembly assembly;
    if (fuser->next[root] < 0) {
        ts_rewrite_copy(&fuser->rewrite, &graph->node[root]);
    } else {
        bool fits = ts_assemble(&assembly, fuser, root);
        TS_CHECK(fits, "%d fused nodes that cannot be one", fuser->cluster[root].members);
        write_fused(fuser, root, &assembly);
    }
}

static TsFuser create(TsGraph *graph)
{
    size_t nodes = (size_t)graph->nodes + 1, values = (size_t)graph->values + 2;
    TsFuser fuser = {.rewrite = ts_rewrite_begin(graph),
                     .step = ts_calloc(nodes, sizeof *fuser.step),
                     .cluster = ts_alloc(nodes * sizeof *fuser.cluster),
                     .root = ts_alloc(nodes * sizeof *fuser.root),
                     .next = ts_alloc(nodes * sizeof *fuser.next),
                     .first_reader = ts_calloc(values, sizeof *fuser.first_reader),
                     .reader = ts_alloc(((size_t)graph->operands + 1) * sizeof *fuser.reader),
                     .given = ts_calloc(values, sizeof *fuser.given),
                     .seen = ts_calloc(nodes, sizeof *fuser.seen),
                     .stack = ts_alloc(nodes * sizeof *fuser.stack),
                     .written = ts_calloc(nodes, sizeof *fuser.written)};
    for (int32_t n = 0; n < graph->nodes; n++) {
        fuser.root[n] = n;
        fuser.next[n] = -1;
        fuser.cluster[n] = (TsCluster){.first = n, .last = n, .members = 1};
    }
    return fuser;
}

TsGraph *ts_pass_fuse(TsGraph *graph)
{
    TsFuser fuser = create(graph);
    find_steps(&fuser);
    find_readers(&fuser);
    join_all(&fuser);
    for (int32_t n = 0; n < graph->nodes; n++)
        if (fuser.cluster[fuser.root[n]].last == n)
            write(&fuser, fuser.root[n]);
    ts_node_room_free(&fuser.room);
    ts_free(fuser.step);
    ts_free(fuser.cluster);
    ts_free(fuser.root);
    ts_free(fuser.next);
    ts_free(fuser.first_reader);
    ts_free(fuser.reader);
    ts_free(fuser.given);
    ts_free(fuser.seen);
    ts_free(fuser.stack);
    ts_free(fuser.written);
    return ts_rewrite_end(&fuser.rewrite);
}
