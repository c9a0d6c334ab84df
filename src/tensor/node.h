/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a Graph: tables of nodes, values and bindings, for the passes. Layers and tasks use graph.h.
 *
 * Nodes stand in an order in which every input comes before its reader. Values are the outputs of nodes; a value is its
 * index. Attributes live as long as the Graph and do not move. A pass reads one Graph and writes a new one, or fills a
 * table of its own; it never changes a node.
 */
#pragma once

#include "base/names.h"
#include "tensor/op.h"
#include "tensor/program.h"

typedef struct TsNode {
    const TsOp *op;
    const void *attributes; /* borrowed from the Graph */
    int32_t path;           /* index into graph->path */
    int32_t first_in;       /* inputs are graph->operand[first_in .. first_in + inputs) */
    int32_t first_out;      /* outputs are the values [first_out, first_out + outputs) */
    int16_t inputs, outputs;
    bool backward; /* added by ts_gradients */
    bool again;    /* computes once more what another node does: never taken for the same */
} TsNode;

typedef struct TsValue {
    TsShape shape;         /* global */
    TsPlacement placement; /* set by the place pass; before that, only that of bound values */
    TsDtype dtype;
    int32_t node;
    int16_t output; /* which of the node's */
} TsValue;

/* What lives outside and is bound by name. */
typedef struct TsBound {
    TsBinding binding;  /* its name is owned by the Graph */
    int32_t value;      /* the value that stands for it; of an output: what it is given */
    int32_t assigned;   /* the value that ts_assign gives it; -1: none */
    TsAxisSet gathered; /* of a parameter: axes over which it is gathered before use */
} TsBound;

typedef struct TsPath {
    char *text; /* owned */
} TsPath;

struct TsGraph {
    TsNode *node;
    TsValue *value;
    int32_t *operand;
    TsBound *bound;
    TsPath *path;
    int32_t nodes, values, operands, bounds, paths;
    int32_t node_capacity, value_capacity, operand_capacity, bound_capacity, path_capacity;
    TsNames bound_names, path_names; /* of what is bound, by index; of paths */
    int32_t *bucket;                 /* (buckets) of the hash table of nodes; -1: empty */
    int32_t buckets;
    struct Chunk *chunk; /* the blocks that attributes lie in, newest first */
    int32_t current_path;
    bool backward, again; /* what nodes are marked with from now on */
    TsStatus error[4];
    int errors; /* all that were found, also those not kept */
};

static inline const int32_t *ts_node_in(const TsGraph *graph, const TsNode *node)
{
    return graph->operand + node->first_in;
}

/* Adds a node as ts_graph_add does, for ops without inputs too. `out` has room for op->outputs. */
void ts_graph_add_to(TsGraph *graph, TsTensor *out, const TsOp *op, const TsTensor *in, int inputs,
                     const void *attributes);

/* What ts_gradients does, but without an error where no path leads: the tensor of an error then. For rules. */
void ts_graph_differentiate(TsTensor *gradient, TsTensor loss, const TsTensor *of, int count);

/* Interns a path; the same text gives the same index. */
int32_t ts_graph_intern_path(TsGraph *graph, const char *path);

/* Adds a binding and the node that stands for it; the name must be new. */
int32_t ts_graph_add_bound(TsGraph *graph, TsBinding binding);

/* The index of the binding of that name, or -1. */
int32_t ts_graph_find_bound(const TsGraph *graph, const char *name);

/* The view of a node that op rows take. The arrays lie in `room`. */
typedef struct TsNodeRoom {
    TsShape *shape; /* (inputs + outputs), owned */
    TsDtype *dtype;
    int capacity;
} TsNodeRoom;
TsNodeView ts_node_view(TsNodeRoom *room, const TsGraph *graph, const TsNode *node);
void ts_node_room_free(TsNodeRoom *room);

/* Rows of nodes that the Graph itself makes; builtin.c. */
extern const TsOp ts_bound_op;     /* what is bound to an input, parameter or state: attributes TsBoundAttributes */
extern const TsOp ts_constant_op;  /* every element one value: attributes TsConstantAttributes */
extern const TsOp ts_constrain_op; /* a placement that is asked for: attributes TsConstrainAttributes */
extern const TsOp ts_stop_gradient_op;
extern const TsOp ts_copy_op; /* a copy of its own; put in by passes */

/* ops/expand.c: dims repeated; attributes TsExpandAttributes. The place pass makes it where it is wanted. */
extern const TsOp ts_expand_op;

typedef struct TsExpandAttributes {
    TsShape shape;         /* of the output */
    TsPlacement placement; /* where a reader wants it; set by the place pass */
} TsExpandAttributes;

/* Whether dim `dim` of an output of shape `out` repeats what lies in `x`; global shapes. */
bool ts_expand_repeats(TsShape x, TsShape out, int dim);

typedef struct TsBoundAttributes {
    TsShape shape;
    int32_t dtype;
    int32_t bound; /* index into graph->bound */
} TsBoundAttributes;

typedef struct TsConstrainAttributes {
    TsPlacement placement;
    int32_t axis; /* TsAxis: what is asked for is how this one lies; TS_AXIS_NONE: all */
} TsConstrainAttributes;

typedef struct TsConstantAttributes {
    TsShape shape;
    double value;
    int32_t dtype;
    TsPlacement placement; /* where a reader wants it; set by the place pass */
} TsConstantAttributes;
