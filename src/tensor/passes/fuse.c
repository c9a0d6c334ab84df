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
#include "tensor/passes/passes.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/ops/fused.h"
#include "tensor/ops/rows.h"

/* A node joins what was made at most so many nodes before: what that reads would be kept for longer. */
enum { FAR = 16, MOST_MEMBERS = TS_FUSED_STEPS + 1 };

/* Nodes that become one; of the first of them. */
typedef struct Cluster {
    int32_t first, last; /* nodes; the others are chained in between */
    int32_t members;
} Cluster;

typedef struct Fuser {
    TsRewrite rewrite;
    TsNodeRoom room;
    TsFusedStep *step;     /* (nodes): what each is as a step; kind TS_FUSED_NONE if none */
    Cluster *cluster;      /* (nodes): of those that are their own root */
    int32_t *root;         /* (nodes): the first of its cluster */
    int32_t *next;         /* (nodes): the next of its cluster, rising; -1: the last */
    int32_t *first_reader; /* (values + 1): into reader */
    int32_t *reader;       /* (operands): nodes */
    bool *given;           /* (values): given out or assigned */
    int32_t *seen;         /* (nodes): the search that met this root last */
    int32_t *stack;        /* (nodes) */
    bool *written;         /* (nodes): roots that stand in the new graph */
    int32_t searches;
} Fuser;

/* A cluster as a node. */
typedef struct Assembly {
    const TsOp *op;
    TsFusedAttributes attributes;
    int32_t in[TS_FUSED_INPUTS], out[TS_FUSED_OUTPUTS]; /* values of the old graph */
    TsPlacement placement;                              /* of the block that all work on */
    int inputs, outputs;
    bool f64, begun;
} Assembly;

static bool is_dot(const TsGraph *graph, int32_t n)
{
    return graph->node[n].op == &ts_op_dot;
}

/* ---- what nodes are ---- */

static bool is_real(TsDtype dtype)
{
    return dtype == TS_F32 || dtype == TS_BF16 || dtype == TS_F64;
}

static void find_steps(Fuser *fuser)
{
    const TsGraph *graph = fuser->rewrite.from;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        TsFusedStep *step = &fuser->step[n];
        bool fits = node->op->fuse && node->inputs <= 3 && is_real(graph->value[node->first_out].dtype);
        for (int i = 0; i < node->inputs && fits; i++)
            fits = is_real(graph->value[ts_node_in(graph, node)[i]].dtype) || (node->op == &ts_op_drop && i == 1);
        if (!fits)
            continue;
        TsNodeView view = ts_node_view(&fuser->room, graph, node);
        node->op->fuse(step, &view);
        step->in[0] = step->in[1] = step->in[2] = step->sums = -1;
    }
}

static bool can_join(const Fuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    return fuser->step[n].kind != TS_FUSED_NONE ||
           (is_dot(graph, n) && is_real(graph->value[graph->node[n].first_out].dtype));
}

static void find_readers(Fuser *fuser)
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

/* ---- clusters as nodes ---- */

/* The value whose block a node works on. */
static int32_t worked_on(const Fuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    const TsNode *node = &graph->node[n];
    return fuser->step[n].kind == TS_FUSED_COLUMN_SUM ? *ts_node_in(graph, node) : node->first_out;
}

/* Whether all that a node works on is like what the others work on. */
static bool fits_in(Assembly *assembly, const Fuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    const TsNode *node = &graph->node[n];
    const TsValue *value = &graph->value[worked_on(fuser, n)];
    bool f64 = value->dtype == TS_F64;
    for (int i = 0; i < node->inputs; i++) {
        TsDtype dtype = graph->value[ts_node_in(graph, node)[i]].dtype;
        if (is_real(dtype) && (dtype == TS_F64) != f64)
            return false;
    }
    if (!assembly->begun) {
        assembly->begun = true;
        assembly->f64 = f64;
        assembly->placement = value->placement;
        assembly->attributes.shape = ts_shape_of(value->shape.dims, value->shape.size);
        return true;
    }
    return f64 == assembly->f64 && ts_shape_equal(value->shape, assembly->attributes.shape) &&
           ts_placement_equal(value->placement, assembly->placement);
}

/* The number of a value in the program, as an input if no step gives it; -1: no room. `number` is by member. */
static int number_of(Assembly *assembly, const Fuser *fuser, int32_t root, const int8_t *number, int32_t value)
{
    const TsGraph *graph = fuser->rewrite.from;
    int32_t maker = graph->value[value].node, at = 0;
    if (fuser->root[maker] == root) {
        for (int32_t n = root; n != maker; n = fuser->next[n])
            at++;
        return number[at];
    }
    for (int i = assembly->op == ts_op_dot_fused ? 2 : 0; i < assembly->inputs; i++)
        if (assembly->in[i] == value)
            return i;
    if (assembly->inputs == TS_FUSED_INPUTS)
        return -1;
    assembly->in[assembly->inputs] = value;
    return assembly->inputs++;
}

/* Numbers all inputs of the steps first, because those of the steps come after. */
static bool number_inputs(Assembly *assembly, const Fuser *fuser, int32_t root, int8_t *number)
{
    const TsGraph *graph = fuser->rewrite.from;
    assembly->op = ts_op_fused;
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        if (is_dot(graph, n)) {
            const int32_t *in = ts_node_in(graph, &graph->node[n]);
            if (assembly->op == ts_op_dot_fused || fuser->root[graph->value[in[0]].node] == root ||
                fuser->root[graph->value[in[1]].node] == root)
                return false;
            assembly->op = ts_op_dot_fused;
            assembly->in[0] = in[0];
            assembly->in[1] = in[1];
            assembly->inputs = 2;
            memcpy(&assembly->attributes.dot, graph->node[n].attributes, sizeof assembly->attributes.dot);
        }
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        for (int i = 0; i < graph->node[n].inputs && !is_dot(graph, n); i++) {
            int32_t value = ts_node_in(graph, &graph->node[n])[i];
            if (fuser->root[graph->value[value].node] != root && number_of(assembly, fuser, root, number, value) < 0)
                return false;
        }
    return true;
}

/* Whether each element of the block has a value of its own: it is not one that is repeated along the last dim. */
static bool is_whole(const Assembly *assembly, const Fuser *fuser, int value)
{
    const TsFused *program = &assembly->attributes.program;
    if (value < program->inputs)
        return (value == 0 && assembly->op == ts_op_dot_fused) ||
               ts_shape_equal(fuser->rewrite.from->value[assembly->in[value]].shape, assembly->attributes.shape);
    const TsFusedStep *step = &program->step[value - program->inputs];
    if (step->kind == TS_FUSED_REPEAT)
        return false;
    if (step->kind == TS_FUSED_UNARY || step->kind == TS_FUSED_CAST)
        return is_whole(assembly, fuser, step->in[0]);
    return step->kind != TS_FUSED_BINARY || is_whole(assembly, fuser, step->in[0]) ||
           is_whole(assembly, fuser, step->in[1]);
}

/* Rows are the same for all steps that need them whole, and lie in rows of the product. */
static bool needs_rows(Assembly *assembly, const Fuser *fuser, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    TsFused *program = &assembly->attributes.program;
    int dims = fuser->step[n].kind == TS_FUSED_COLUMN_SUM ? fuser->step[n].kernel : 1;
    if (assembly->op == ts_op_dot_fused) {
        TsShape b = graph->value[assembly->in[1]].shape;
        if (dims > b.dims - assembly->attributes.dot.contract)
            return false;
    }
    if (program->row_dims && program->row_dims != dims)
        return false;
    program->row_dims = (int8_t)dims;
    return true;
}

/* Adds node n as the next step. */
static bool add_step(Assembly *assembly, const Fuser *fuser, int32_t root, int8_t *number, int at, int32_t n)
{
    const TsGraph *graph = fuser->rewrite.from;
    const TsNode *node = &graph->node[n];
    TsFused *program = &assembly->attributes.program;
    if (program->steps == TS_FUSED_STEPS)
        return false;
    TsFusedStep *step = &program->step[program->steps++];
    *step = fuser->step[n];
    step->dtype = (int8_t)graph->value[node->first_out].dtype;
    for (int i = 0; i < node->inputs; i++) {
        const TsValue *in = &graph->value[ts_node_in(graph, node)[i]];
        if (fuser->root[in->node] == root && (in->output > 0 || fuser->step[in->node].kind == TS_FUSED_COLUMN_SUM))
            return false; /* sums are there when all is done */
        step->in[i] = (int8_t)number_of(assembly, fuser, root, number, ts_node_in(graph, node)[i]);
    }
    number[at] = (int8_t)(program->inputs + program->steps - 1);
    bool whole = step->kind != TS_FUSED_UNARY && step->kind != TS_FUSED_BINARY && step->kind != TS_FUSED_CAST &&
                 step->kind != TS_FUSED_REPEAT;
    if (!whole)
        return true;
    if (!is_whole(assembly, fuser, step->in[0]) ||
        (step->kind == TS_FUSED_D_NORMALIZE && !is_whole(assembly, fuser, step->in[1])))
        return false;
    if (step->kind == TS_FUSED_DROP)
        return true;
    int sums = step->kind == TS_FUSED_COLUMN_SUM ? 1 : step->kind == TS_FUSED_D_NORMALIZE ? node->outputs - 1 : 0;
    if (sums) {
        if (program->sums + sums > TS_FUSED_SUMS)
            return false;
        step->sums = program->sums;
        for (int k = 0; k < sums; k++) {
            TsShape shape = graph->value[node->first_out + node->outputs - sums + k].shape;
            assembly->attributes.sum_shape[program->sums++] = ts_shape_of(shape.dims, shape.size);
        }
    }
    return needs_rows(assembly, fuser, n);
}

static bool is_needed_outside(const Fuser *fuser, int32_t root, int32_t value)
{
    if (fuser->given[value])
        return true;
    for (int32_t r = fuser->first_reader[value]; r < fuser->first_reader[value + 1]; r++)
        if (fuser->root[fuser->reader[r]] != root)
            return true;
    return false;
}

/* What others need of the members. */
static bool add_outputs(Assembly *assembly, const Fuser *fuser, int32_t root, const int8_t *number)
{
    const TsGraph *graph = fuser->rewrite.from;
    TsFused *program = &assembly->attributes.program;
    int at = 0;
    for (int32_t n = root; n >= 0; n = fuser->next[n], at++) {
        const TsNode *node = &graph->node[n];
        for (int k = 0; k < node->outputs; k++) {
            if (!is_needed_outside(fuser, root, node->first_out + k))
                continue;
            if (program->outputs == TS_FUSED_OUTPUTS)
                return false;
            int value = number[at];
            bool is_sum = fuser->step[n].kind == TS_FUSED_COLUMN_SUM || k > 0;
            if (is_sum)
                value = -1 - (program->step[value - program->inputs].sums + (k > 0 ? k - 1 : 0));
            program->output[program->outputs] = (int8_t)value;
            program->out_dtype[program->outputs] = (int8_t)graph->value[node->first_out + k].dtype;
            assembly->out[program->outputs++] = node->first_out + k;
        }
    }
    assembly->outputs = program->outputs;
    return true;
}

/* The product is made where output 0 lies. */
static bool put_product_first(Assembly *assembly, const Fuser *fuser)
{
    TsFused *program = &assembly->attributes.program;
    TsDtype dtype = fuser->rewrite.from->value[assembly->in[0]].dtype;
    for (int k = 0; k < program->outputs; k++)
        if (program->output[k] >= 0 && program->out_dtype[k] == (int8_t)dtype) {
            int8_t output = program->output[k], out_dtype = program->out_dtype[k];
            int32_t out = assembly->out[k];
            program->output[k] = program->output[0];
            program->out_dtype[k] = program->out_dtype[0];
            assembly->out[k] = assembly->out[0];
            program->output[0] = output;
            program->out_dtype[0] = out_dtype;
            assembly->out[0] = out;
            return true;
        }
    return false;
}

/* Writes a cluster down as a node; false where it cannot be one. */
static bool assemble(Assembly *assembly, const Fuser *fuser, int32_t root)
{
    const TsGraph *graph = fuser->rewrite.from;
    int8_t number[MOST_MEMBERS];
    int at = 0;
    memset(assembly, 0, sizeof *assembly); /* padding of the attributes too */
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        if (!fits_in(assembly, fuser, n))
            return false;
    if (!number_inputs(assembly, fuser, root, number))
        return false;
    TsFused *program = &assembly->attributes.program;
    program->inputs = (int8_t)assembly->inputs;
    for (int32_t n = root; n >= 0; n = fuser->next[n], at++)
        if (is_dot(graph, n))
            number[at] = 0;
        else if (!add_step(assembly, fuser, root, number, at, n))
            return false;
    if (!add_outputs(assembly, fuser, root, number) || !program->outputs)
        return false;
    assembly->op += program->outputs - 1;
    return assembly->op < ts_op_dot_fused || assembly->op >= ts_op_dot_fused + TS_MAX_OUTPUTS ||
           put_product_first(assembly, fuser);
}

/* ---- joining ---- */

static int32_t maker_root(const Fuser *fuser, int32_t value)
{
    return fuser->root[fuser->rewrite.from->value[value].node];
}

/* Whether something that `root` reads, and is not of the cluster itself, needs the cluster. */
static bool leads_back(Fuser *fuser, int32_t root)
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
static void merge_chains(Fuser *fuser, int32_t a, int32_t b)
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
    fuser->cluster[root] = (Cluster){.first = root, .last = last, .members = members};
}

/* Undoes merge_chains: `mine` of (count) are the members of the second one. */
static void split_chains(Fuser *fuser, int32_t root, const int32_t *second, int count)
{
    int32_t chain[MOST_MEMBERS], first_of[2] = {-1, -1}, last_of[2] = {-1, -1};
    int members = 0;
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        chain[members++] = n;
    for (int i = 0; i < members; i++) {
        int side = 0;
        for (int k = 0; k < count; k++)
            side |= second[k] == chain[i];
        if (first_of[side] < 0) {
            first_of[side] = chain[i];
            fuser->cluster[chain[i]] = (Cluster){.first = chain[i]};
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
static void try_to_join(Fuser *fuser, int32_t n, int32_t maker)
{
    const TsGraph *graph = fuser->rewrite.from;
    int32_t a = fuser->root[n], b = fuser->root[maker], members[MOST_MEMBERS];
    int count = 0;
    if (a == b || !can_join(fuser, maker) || graph->node[n].backward != graph->node[maker].backward ||
        n - fuser->cluster[b].last > FAR || fuser->cluster[a].members + fuser->cluster[b].members > MOST_MEMBERS)
        return;
    for (int32_t m = b; m >= 0; m = fuser->next[m])
        members[count++] = m;
    merge_chains(fuser, a, b);
    int32_t root = a < b ? a : b;
    Assembly assembly;
    if (!assemble(&assembly, fuser, root) || leads_back(fuser, root))
        split_chains(fuser, root, members, count);
}

static void join_all(Fuser *fuser)
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

static void write_fused(Fuser *fuser, int32_t root, const Assembly *assembly)
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
static void write(Fuser *fuser, int32_t root)
{
    const TsGraph *graph = fuser->rewrite.from;
    if (fuser->written[root])
        return;
    fuser->written[root] = true;
    for (int32_t n = root; n >= 0; n = fuser->next[n])
        for (int i = 0; i < graph->node[n].inputs; i++)
            write(fuser, maker_root(fuser, ts_node_in(graph, &graph->node[n])[i]));
    Assembly assembly;
    if (fuser->next[root] < 0) {
        ts_rewrite_copy(&fuser->rewrite, &graph->node[root]);
    } else {
        bool fits = assemble(&assembly, fuser, root);
        TS_CHECK(fits, "%d fused nodes that cannot be one", fuser->cluster[root].members);
        write_fused(fuser, root, &assembly);
    }
}

static Fuser create(TsGraph *graph)
{
    size_t nodes = (size_t)graph->nodes + 1, values = (size_t)graph->values + 2;
    Fuser fuser = {.rewrite = ts_rewrite_begin(graph),
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
        fuser.cluster[n] = (Cluster){.first = n, .last = n, .members = 1};
    }
    return fuser;
}

TsGraph *ts_pass_fuse(TsGraph *graph)
{
    Fuser fuser = create(graph);
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
