/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/order.h"

#include <string.h>

#include "base/memory.h"
#include "tensor/redistribute.h"

/* An edge that the trace does not have: `before` runs ahead of `after`. Chained by `after`. */
typedef struct Edge {
    int32_t before, next;
} Edge;

typedef struct Order {
    const TsGraph *graph;
    const int32_t *piece; /* (nodes) */
    int32_t *node;        /* (count): what was ordered so far */
    int32_t count;
    Edge *edge;          /* (edges) */
    int32_t *first_edge; /* (nodes): the edges to a node; -1: none */
    int32_t edges, edge_capacity;
    int32_t *first_sum, *next_sum; /* (nodes): the sums over micro-batches of what a node makes, chained; -1: the end */
    uint8_t *state;                /* (nodes): 0 not met, 1 being ordered, 2 done */
} Order;

static void add_edge(Order *order, int32_t before, int32_t after)
{
    if (order->edges == order->edge_capacity) {
        order->edge_capacity = order->edge_capacity ? 2 * order->edge_capacity : 64;
        order->edge = ts_realloc(order->edge, (size_t)order->edge_capacity * sizeof *order->edge);
    }
    order->edge[order->edges] = (Edge){.before = before, .next = order->first_edge[after]};
    order->first_edge[after] = order->edges++;
}

/* Whether `to` needs `from`, directly or not, also by the edges so far. `seen` is room for a flag a node. */
static bool depends_on(const Order *order, int32_t to, int32_t from, bool *seen)
{
    const TsGraph *graph = order->graph;
    memset(seen, 0, (size_t)graph->nodes * sizeof *seen);
    seen[from] = true;
    for (bool changed = true; changed && !seen[to];) { /* edges may lead back: once more round, then */
        changed = false;
        for (int32_t n = 0; n < graph->nodes; n++) {
            const TsNode *node = &graph->node[n];
            bool before = seen[n];
            for (int i = 0; i < node->inputs && !seen[n]; i++)
                seen[n] = seen[graph->value[ts_node_in(graph, node)[i]].node];
            for (int32_t e = order->first_edge[n]; e >= 0 && !seen[n]; e = order->edge[e].next)
                seen[n] = seen[order->edge[e].before];
            changed |= seen[n] != before && order->edges;
        }
    }
    return seen[to];
}

/* Readers of a target that the trace has behind the maker of its new value, and which do not need that value. */
static void add_reader_edges(Order *order)
{
    const TsGraph *graph = order->graph;
    bool *seen = ts_alloc((size_t)graph->nodes + 1);
    int32_t *maker = ts_alloc(((size_t)graph->values + 1) * sizeof *maker); /* who overwrites what a value shows */
    memset(maker, 0xff, (size_t)graph->values * sizeof *maker);
    for (int32_t b = 0; b < graph->bounds; b++)
        if (graph->bound[b].assigned >= 0)
            maker[graph->bound[b].value] = graph->value[graph->bound[b].assigned].node;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        const int32_t *in = ts_node_in(graph, node);
        if (node->op->flags & TS_OP_VIEW)
            maker[node->first_out] = maker[in[0]];
        for (int i = 0; i < node->inputs && ts_node_takes_a_step(node); i++)
            if (maker[in[i]] >= 0 && maker[in[i]] < n && order->piece[n] <= order->piece[maker[in[i]]] &&
                !depends_on(order, n, maker[in[i]], seen))
                add_edge(order, n, maker[in[i]]);
    }
    ts_free(seen);
    ts_free(maker);
}

/* Whether both are of one parameter: what is gathered, and the gradient that is scattered. */
static bool of_one_parameter(const TsGraph *graph, const TsNode *gather, const TsNode *scatter)
{
    return gather->path == scatter->path && gather->backward && ts_op_is_move(scatter->op) &&
           scatter->op == &ts_move_op[TS_MOVE_REDUCE_SCATTER] &&
           ts_shape_equal(graph->value[gather->first_out].shape, graph->value[scatter->first_out].shape);
}

/* What reads a parameter that was gathered runs ahead of the node that makes its whole gradient, where that needs none
 * of it: then the one is given up before the other is there. */
static void add_gather_edges(Order *order)
{
    const TsGraph *graph = order->graph;
    bool *seen = ts_alloc((size_t)graph->nodes + 1);
    for (int32_t s = 0; s < graph->nodes; s++)
        for (int32_t g = 0; g < graph->nodes; g++) {
            const TsNode *gather = &graph->node[g], *scatter = &graph->node[s];
            if (gather->op != &ts_move_op[TS_MOVE_ALL_GATHER] || !of_one_parameter(graph, gather, scatter))
                continue;
            int32_t maker = graph->value[*ts_node_in(graph, scatter)].node;
            for (int32_t n = 0; n < graph->nodes; n++) {
                bool reads = false;
                for (int i = 0; i < graph->node[n].inputs; i++)
                    reads |= ts_node_in(graph, &graph->node[n])[i] == gather->first_out;
                if (reads && n != maker && order->piece[n] == order->piece[maker] && !depends_on(order, n, maker, seen))
                    add_edge(order, n, maker);
            }
        }
    ts_free(seen);
}

/* Sums over micro-batches, by what makes their terms: a term is added as soon as it is there, and given up. */
static void find_sums(Order *order)
{
    const TsGraph *graph = order->graph;
    for (int32_t n = graph->nodes; n-- > 0;)
        if (ts_op_gathers_time(graph->node[n].op)) {
            int32_t maker = graph->value[*ts_node_in(graph, &graph->node[n])].node;
            order->next_sum[n] = order->first_sum[maker];
            order->first_sum[maker] = n;
        }
}

/* Depth first: a node after everything that it needs, otherwise in the order of the trace. */
static void visit(Order *order, int32_t n)
{
    const TsGraph *graph = order->graph;
    if (order->state[n])
        return;
    order->state[n] = 1;
    const TsNode *node = &graph->node[n];
    for (int i = 0; i < node->inputs; i++)
        visit(order, graph->value[ts_node_in(graph, node)[i]].node);
    for (int32_t e = order->first_edge[n]; e >= 0; e = order->edge[e].next)
        visit(order, order->edge[e].before);
    order->state[n] = 2;
    order->node[order->count++] = n;
    for (int32_t sum = order->first_sum[n]; sum >= 0; sum = order->next_sum[sum])
        if (order->piece[sum] == order->piece[n])
            visit(order, sum);
}

int32_t *ts_order_nodes(const TsGraph *graph, const TsPieces *pieces, TsScheduleOptions options)
{
    size_t nodes = (size_t)graph->nodes + 1;
    Order order = {.graph = graph,
                   .piece = pieces->of_node,
                   .node = ts_alloc(nodes * sizeof *order.node),
                   .first_edge = ts_alloc(nodes * sizeof *order.first_edge),
                   .first_sum = ts_alloc(nodes * sizeof *order.first_sum),
                   .next_sum = ts_alloc(nodes * sizeof *order.next_sum),
                   .state = ts_calloc(nodes, sizeof *order.state)};
    memset(order.first_edge, 0xff, nodes * sizeof *order.first_edge);
    memset(order.first_sum, 0xff, nodes * sizeof *order.first_sum);
    if (!options.plain) {
        find_sums(&order);
        add_reader_edges(&order);
    }
    if (!options.plain && options.frugal)
        add_gather_edges(&order);
    for (int32_t p = 0; p < pieces->pieces; p++)
        for (int32_t n = 0; n < graph->nodes; n++)
            if (pieces->of_node[n] == p)
                visit(&order, n);
    ts_free(order.edge);
    ts_free(order.first_edge);
    ts_free(order.first_sum);
    ts_free(order.next_sum);
    ts_free(order.state);
    return order.node;
}
