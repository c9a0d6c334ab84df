/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of ops test, for test_op_audit.sh: with OP_AUDIT=FILE in the environment contracts are not run, but
 * each adds lines "WHAT OP" to the file, about the graphs that it would run. WHAT is
 *     golden    its value is compared with PyTorch's or NumPy's
 *     gradient  it is differentiated, and that compared with differences
 *     bf16      it reads or gives bf16, and that is compared with f64
 *     cut       what it reads or gives is cut over ranks, and compared with one rank
 *     empty, one, odd   what it is about has a dim of size 0, of size 1, of an odd size
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/node.h"

/* NULL: contracts are to be run. */
static inline const char *op_audit_path(void)
{
    return getenv("OP_AUDIT");
}

static inline void op_audit_say(const char *what, const char *op)
{
    FILE *file = fopen(op_audit_path(), "a");
    if (!file)
        return;
    fprintf(file, "%s %s\n", what, op);
    fclose(file);
}

/* Whether `holds` of a value that the node reads or gives. */
static inline bool op_audit_any(const TsGraph *graph, const TsNode *node, bool (*holds)(const TsValue *value))
{
    for (int i = 0; i < node->inputs; i++)
        if (holds(&graph->value[ts_node_in(graph, node)[i]]))
            return true;
    for (int k = 0; k < node->outputs; k++)
        if (holds(&graph->value[node->first_out + k]))
            return true;
    return false;
}

static inline bool op_audit_is_bf16(const TsValue *value)
{
    return value->dtype == TS_BF16;
}

static inline bool op_audit_is_cut(const TsValue *value)
{
    return !ts_placement_equal(value->placement, ts_replicated);
}

static inline bool op_audit_is_empty(const TsValue *value)
{
    return ts_shape_elems(value->shape) == 0;
}

static inline bool op_audit_has_one(const TsValue *value)
{
    if (!value->shape.dims)
        return true;
    for (int d = 0; d < value->shape.dims; d++)
        if (value->shape.size[d] == 1)
            return true;
    return false;
}

static inline bool op_audit_has_odd(const TsValue *value)
{
    for (int d = 0; d < value->shape.dims; d++)
        if (value->shape.size[d] > 1 && value->shape.size[d] % 2)
            return true;
    return false;
}

/* A line for each op of the graph, or, with `holds`, for each that reads or gives such a value. */
static inline void op_audit_ops(const char *what, const TsGraph *graph, bool (*holds)(const TsValue *value))
{
    for (int32_t n = 0; n < graph->nodes; n++)
        if (!holds || op_audit_any(graph, &graph->node[n], holds))
            op_audit_say(what, graph->node[n].op->name);
}

/* The same, of what it reads first, or gives first where it reads a scalar. */
static inline void op_audit_sizes(const char *what, const TsGraph *graph, bool (*holds)(const TsValue *value))
{
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        const TsValue *in = node->inputs ? &graph->value[ts_node_in(graph, node)[0]] : NULL;
        const TsValue *out = &graph->value[node->first_out];
        if (holds(in && (in->shape.dims || !out->shape.dims) ? in : out))
            op_audit_say(what, node->op->name);
    }
}

/* What stands between inputs that are differentiated and `loss`: of these the rules were asked. */
static inline void op_audit_gradients(const TsGraph *graph, const TsTensor *of, int count, TsTensor loss)
{
    bool *depends = ts_calloc((size_t)graph->values, sizeof *depends);
    bool *matters = ts_calloc((size_t)graph->values, sizeof *matters);
    int32_t last = graph->value[loss.id].node;
    for (int i = 0; i < count; i++)
        depends[of[i].id] = true;
    for (int32_t n = 0; n <= last; n++) {
        const TsNode *node = &graph->node[n];
        bool any = false;
        for (int i = 0; i < node->inputs; i++)
            any |= depends[ts_node_in(graph, node)[i]];
        for (int k = 0; k < node->outputs && any && !(node->op->flags & TS_OP_NO_GRADIENT); k++)
            depends[node->first_out + k] = true;
    }
    matters[loss.id] = true;
    for (int32_t n = last; n >= 0; n--) {
        const TsNode *node = &graph->node[n];
        bool needed = false, any = false;
        for (int k = 0; k < node->outputs; k++)
            needed |= matters[node->first_out + k] && depends[node->first_out + k];
        for (int i = 0; i < node->inputs && needed; i++) {
            matters[ts_node_in(graph, node)[i]] = true;
            any |= depends[ts_node_in(graph, node)[i]];
        }
        if (any)
            op_audit_say("gradient", node->op->name);
    }
    ts_free(depends);
    ts_free(matters);
}
