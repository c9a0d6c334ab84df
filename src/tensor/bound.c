/* SPDX-License-Identifier: Apache-2.0
 *
 * What lives outside a Graph and is bound by name: inputs, parameters, state, outputs, and what is assigned to them.
 */
#include "tensor/node.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

int32_t ts_graph_find_bound(const TsGraph *graph, const char *name)
{
    return (int32_t)ts_names_find(&graph->bound_names, name);
}

/* Appends the row of a binding; its name is copied. */
static TsBound *append_bound(TsGraph *graph, TsBinding binding)
{
    if (graph->bounds == graph->bound_capacity) {
        graph->bound_capacity = graph->bound_capacity ? 2 * graph->bound_capacity : 64;
        graph->bound = ts_realloc(graph->bound, (size_t)graph->bound_capacity * sizeof *graph->bound);
    }
    TsBound *bound = &graph->bound[graph->bounds++];
    *bound = (TsBound){.binding = binding, .value = -1, .assigned = -1};
    bound->binding.name = ts_strdup(binding.name);
    ts_names_add(&graph->bound_names, bound->binding.name, graph->bounds - 1);
    return bound;
}

int32_t ts_graph_add_bound(TsGraph *graph, TsBinding binding)
{
    TsBoundAttributes attributes = {.dtype = (int32_t)binding.dtype, .bound = graph->bounds};
    attributes.shape = ts_shape_of(binding.shape.dims, binding.shape.size); /* all padding zero */
    TsBound *bound = append_bound(graph, binding);
    TsTensor out;
    ts_graph_add_to(graph, &out, &ts_bound_op, NULL, 0, &attributes);
    bound->value = out.id;
    graph->value[out.id].placement = binding.placement;
    return graph->bounds - 1;
}

static const char *const kind_name[] = {[TS_BIND_INPUT] = "an input",
                                        [TS_BIND_PARAMETER] = "a parameter",
                                        [TS_BIND_STATE] = "a state",
                                        [TS_BIND_OUTPUT] = "an output"};

/* The dims that a placement cuts must be there. */
static bool placement_fits(TsGraph *graph, const char *name, TsShape shape, TsPlacement placement)
{
    for (int d = shape.dims; d < TS_MAX_DIMS; d++)
        if (placement.axis[d][0]) {
            ts_graph_error(graph, "%s: %s has no dim %d for the placement \"%s\"", name, ts_shape_text(shape).text, d,
                           ts_placement_text(placement).text);
            return false;
        }
    return true;
}

static TsTensor add(TsGraph *graph, TsBinding binding)
{
    if (binding.dtype == TS_F16)
        return ts_graph_error(graph, "%s: f16 occurs in files only", binding.name);
    if (!placement_fits(graph, binding.name, binding.shape, binding.placement))
        return (TsTensor){graph, -1};
    int32_t found = ts_graph_find_bound(graph, binding.name);
    if (found < 0) {
        int32_t added = ts_graph_add_bound(graph, binding); /* moves graph->bound */
        return (TsTensor){graph, graph->bound[added].value};
    }
    const TsBinding *there = &graph->bound[found].binding;
    if (there->kind != binding.kind || binding.kind == TS_BIND_INPUT)
        return ts_graph_error(graph, "%s: the name is taken by %s", binding.name, kind_name[there->kind]);
    if (there->dtype != binding.dtype || !ts_shape_equal(there->shape, binding.shape))
        return ts_graph_error(graph, "%s: %s %s is there, and %s %s is asked for", binding.name,
                              ts_dtype_name(there->dtype), ts_shape_text(there->shape).text,
                              ts_dtype_name(binding.dtype), ts_shape_text(binding.shape).text);
    if (!ts_placement_equal(there->placement, binding.placement))
        return ts_graph_error(graph, "%s: lies \"%s\", and \"%s\" is asked for", binding.name,
                              ts_placement_text(there->placement).text, ts_placement_text(binding.placement).text);
    return (TsTensor){graph, graph->bound[found].value};
}

TsTensor ts_input(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape, TsPlacement placement)
{
    return add(graph, (TsBinding){
                          .name = name, .kind = TS_BIND_INPUT, .dtype = dtype, .shape = shape, .placement = placement});
}

TsTensor ts_parameter(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape, TsPlacement placement)
{
    return add(
        graph,
        (TsBinding){.name = name, .kind = TS_BIND_PARAMETER, .dtype = dtype, .shape = shape, .placement = placement});
}

void ts_parameter_gather(TsTensor parameter, TsAxisSet axes)
{
    if (parameter.id < 0)
        return;
    const TsNode *node = &parameter.graph->node[parameter.graph->value[parameter.id].node];
    TS_CHECK(node->op == &ts_bound_op, "gather: %s is not a parameter", node->op->name);
    parameter.graph->bound[((const TsBoundAttributes *)node->attributes)->bound].gathered = axes;
}

TsTensor ts_state(TsGraph *graph, const char *name, TsDtype dtype, TsShape shape, TsPlacement placement)
{
    return add(graph, (TsBinding){
                          .name = name, .kind = TS_BIND_STATE, .dtype = dtype, .shape = shape, .placement = placement});
}

void ts_assign(TsTensor target, TsTensor value)
{
    if (target.id < 0 || value.id < 0)
        return;
    TsGraph *graph = target.graph;
    const TsNode *node = &graph->node[graph->value[target.id].node];
    if (node->op != &ts_bound_op) {
        ts_graph_error(graph, "assign: the target is the result of %s, not a parameter or state", node->op->name);
        return;
    }
    TsBound *bound = &graph->bound[((const TsBoundAttributes *)node->attributes)->bound];
    const TsValue *there = &graph->value[target.id], *given = &graph->value[value.id];
    if (bound->binding.kind == TS_BIND_INPUT)
        ts_graph_error(graph, "assign: %s is an input, which is only read", bound->binding.name);
    else if (bound->assigned >= 0)
        ts_graph_error(graph, "assign: %s is assigned twice", bound->binding.name);
    else if (there->dtype != given->dtype || !ts_shape_equal(there->shape, given->shape))
        ts_graph_error(graph, "assign: %s, %s %s, does not take %s %s", bound->binding.name,
                       ts_dtype_name(there->dtype), ts_shape_text(there->shape).text, ts_dtype_name(given->dtype),
                       ts_shape_text(given->shape).text);
    else
        bound->assigned = value.id;
}

void ts_output(const char *name, TsTensor value, TsPlacement placement)
{
    if (value.id < 0)
        return;
    TsGraph *graph = value.graph;
    const TsValue *given = &graph->value[value.id];
    int32_t found = ts_graph_find_bound(graph, name);
    if (found >= 0) {
        ts_graph_error(graph, "output %s: the name is taken by %s", name, kind_name[graph->bound[found].binding.kind]);
        return;
    }
    if (!placement_fits(graph, name, given->shape, placement))
        return;
    append_bound(
        graph,
        (TsBinding){
            .name = name, .kind = TS_BIND_OUTPUT, .dtype = given->dtype, .shape = given->shape, .placement = placement})
        ->value = value.id;
}
