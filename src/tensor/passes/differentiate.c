/* SPDX-License-Identifier: Apache-2.0
 *
 * Reverse mode: from the loss back to what is asked for, by each row's gradient rule, which builds nodes like any layer
 * does. The nodes of a gradient bear the path of the node that they differentiate.
 */
#include "tensor/node.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/ops.h"

/* What is known about the part of the graph that was there before. */
typedef struct Reverse {
    TsGraph *graph;
    bool *reached;     /* (values): a path leads here from a tensor that is asked for */
    int32_t *gradient; /* (values): d loss / d value so far, or -1 */
    int32_t values;
} Reverse;

static void find_reached(Reverse *reverse, const TsTensor *of, int count)
{
    const TsGraph *graph = reverse->graph;
    for (int i = 0; i < count; i++)
        reverse->reached[of[i].id] = true;
    for (int32_t n = 0; n < graph->nodes; n++) {
        const TsNode *node = &graph->node[n];
        bool reached = false;
        if (!(node->op->flags & TS_OP_NO_GRADIENT))
            for (int i = 0; i < node->inputs && !reached; i++)
                reached = reverse->reached[ts_node_in(graph, node)[i]];
        for (int k = 0; k < node->outputs && reached; k++)
            reverse->reached[node->first_out + k] |= ts_dtype_is_float(graph->value[node->first_out + k].dtype);
    }
}

/* Adds a part of the gradient of `value`. */
static void accumulate(Reverse *reverse, int32_t value, TsTensor part, const TsOp *op)
{
    TsGraph *graph = reverse->graph;
    if (part.id < 0)
        return;
    TS_CHECK(ts_shape_equal(graph->value[part.id].shape, graph->value[value].shape) &&
                 graph->value[part.id].dtype == graph->value[value].dtype,
             "the gradient of %s is %s %s for an operand %s %s", op->name, ts_dtype_name(graph->value[part.id].dtype),
             ts_shape_text(graph->value[part.id].shape).text, ts_dtype_name(graph->value[value].dtype),
             ts_shape_text(graph->value[value].shape).text);
    int32_t *gradient = &reverse->gradient[value];
    *gradient = *gradient < 0 ? part.id : ts_add((TsTensor){graph, *gradient}, part).id;
}

/* Room for the arguments of one rule. */
typedef struct Arguments {
    TsTensor *in, *d_in;
    bool *needs;
    int capacity;
} Arguments;

static void fit_arguments(Arguments *arguments, int inputs)
{
    if (inputs <= arguments->capacity)
        return;
    arguments->capacity = 2 * inputs;
    arguments->in = ts_realloc(arguments->in, (size_t)arguments->capacity * sizeof *arguments->in);
    arguments->d_in = ts_realloc(arguments->d_in, (size_t)arguments->capacity * sizeof *arguments->d_in);
    arguments->needs = ts_realloc(arguments->needs, (size_t)arguments->capacity * sizeof *arguments->needs);
}

/* Carries the gradients of a node's outputs to its inputs. */
static void reverse_node(Reverse *reverse, Arguments *arguments, int32_t index)
{
    TsGraph *graph = reverse->graph;
    const TsNode node = graph->node[index]; /* a copy: the table grows under us */
    TsTensor out[TS_MAX_OUTPUTS], d_out[TS_MAX_OUTPUTS];
    bool depends = false, needed = false;
    for (int k = 0; k < node.outputs; k++) {
        out[k] = (TsTensor){graph, node.first_out + k};
        d_out[k] = (TsTensor){graph, reverse->gradient[node.first_out + k]};
        depends |= d_out[k].id >= 0;
    }
    if (!depends || (node.op->flags & TS_OP_NO_GRADIENT))
        return;
    fit_arguments(arguments, node.inputs);
    for (int i = 0; i < node.inputs; i++) {
        arguments->in[i] = (TsTensor){graph, ts_node_in(graph, &node)[i]};
        arguments->d_in[i] = (TsTensor){graph, -1};
        arguments->needs[i] = reverse->reached[arguments->in[i].id];
        needed |= arguments->needs[i];
    }
    if (!needed)
        return;
    TS_CHECK(node.op->gradient, "%s has no gradient rule", node.op->name);
    graph->current_path = node.path;
    node.op->gradient(&(TsGradientCall){.op = node.op,
                                        .attributes = node.attributes,
                                        .inputs = node.inputs,
                                        .outputs = node.outputs,
                                        .in = arguments->in,
                                        .out = out,
                                        .d_out = d_out,
                                        .needs = arguments->needs,
                                        .d_in = arguments->d_in});
    for (int i = 0; i < node.inputs; i++)
        if (arguments->needs[i])
            accumulate(reverse, arguments->in[i].id, arguments->d_in[i], node.op);
}

/* What a tensor is called in an error: the name of its binding, or the op and layer that it comes from. */
static void no_path(TsGraph *graph, TsTensor of)
{
    const TsNode *node = &graph->node[graph->value[of.id].node];
    if (node->op == &ts_bound_op)
        ts_graph_error(graph, "gradients: no path leads from %s to the loss",
                       graph->bound[((const TsBoundAttributes *)node->attributes)->bound].binding.name);
    else
        ts_graph_error(graph, "gradients: no path leads from the result of %s in \"%s\" to the loss", node->op->name,
                       graph->path[node->path].text);
}

static bool can_differentiate(TsTensor loss, const TsTensor *of, int count)
{
    TsGraph *graph = loss.graph;
    if (loss.id < 0)
        return false;
    const TsValue *value = &graph->value[loss.id];
    if (value->shape.dims != 0 || !ts_dtype_is_float(value->dtype)) {
        ts_graph_error(graph, "gradients: the loss must be a scalar of floats, not %s %s", ts_dtype_name(value->dtype),
                       ts_shape_text(value->shape).text);
        return false;
    }
    bool fine = true;
    for (int i = 0; i < count; i++) {
        if (of[i].id < 0) /* told before */
            fine = false;
        else if (!ts_dtype_is_float(graph->value[of[i].id].dtype)) {
            ts_graph_error(graph, "gradients: %s has none", ts_dtype_name(graph->value[of[i].id].dtype));
            fine = false;
        }
    }
    return fine;
}

void ts_graph_differentiate(TsTensor *gradient, TsTensor loss, const TsTensor *of, int count)
{
    TsGraph *graph = loss.graph;
    for (int i = 0; i < count; i++)
        gradient[i] = (TsTensor){graph, -1};
    if (!can_differentiate(loss, of, count))
        return;
    Reverse reverse = {.graph = graph, .values = graph->values};
    reverse.reached = ts_calloc((size_t)reverse.values, sizeof *reverse.reached);
    reverse.gradient = ts_alloc((size_t)reverse.values * sizeof *reverse.gradient);
    memset(reverse.gradient, 0xff, (size_t)reverse.values * sizeof *reverse.gradient);
    find_reached(&reverse, of, count);

    int32_t path = graph->current_path;
    bool backward = graph->backward;
    graph->backward = true;
    Arguments arguments = {.capacity = 0};
    graph->current_path = graph->node[graph->value[loss.id].node].path;
    reverse.gradient[loss.id] = ts_constant(graph, ts_dtype_of(loss), ts_scalar, 1).id;
    if (reverse.reached[loss.id])
        for (int32_t n = graph->value[loss.id].node; n >= 0; n--)
            reverse_node(&reverse, &arguments, n);
    graph->current_path = path;
    graph->backward = backward;

    for (int i = 0; i < count && reverse.reached[loss.id]; i++)
        gradient[i].id = reverse.gradient[of[i].id];
    ts_free(arguments.in);
    ts_free(arguments.d_in);
    ts_free(arguments.needs);
    ts_free(reverse.reached);
    ts_free(reverse.gradient);
}

void ts_gradients(TsTensor *gradient, TsTensor loss, const TsTensor *of, int count)
{
    ts_graph_differentiate(gradient, loss, of, count);
    bool told = loss.graph->errors > 0;
    for (int i = 0; i < count && !told; i++)
        if (gradient[i].id < 0)
            no_path(loss.graph, of[i]);
}
