/* SPDX-License-Identifier: Apache-2.0
 *
 * Place: a Placement for every value, from those of what is bound and of what is constrained.
 *
 * Node after node: choice.h says how it is cut; its operands are moved to where that wants them.
 */
#include "tensor/passes/choice.h"

#include <string.h>

#include "base/memory.h"

typedef struct Placer {
    TsRewrite rewrite;
    TsChoiceSetting setting;
    TsNodeRoom room;
    int8_t (*in_label)[TS_MAX_DIMS]; /* (label_capacity) */
    int32_t *in;                     /* (label_capacity): operands in the new graph */
    int label_capacity;
} Placer;

/* Chooses the cuts of a node and adds it, with the moves that its operands need. */
static TsStatus place_node(Placer *placer, const TsNode *node)
{
    TsRewrite *rewrite = &placer->rewrite;
    TsNodeView view = ts_node_view(&placer->room, rewrite->from, node);
    bool at_rest = node->inputs == 1;
    if (node->inputs > placer->label_capacity) {
        placer->label_capacity = 2 * node->inputs;
        placer->in_label = ts_realloc(placer->in_label, (size_t)placer->label_capacity * sizeof *placer->in_label);
        placer->in = ts_realloc(placer->in, (size_t)placer->label_capacity * sizeof *placer->in);
    }
    for (int i = 0; i < node->inputs; i++) {
        placer->in[i] = rewrite->value[ts_node_in(rewrite->from, node)[i]];
        at_rest &= ts_versions_at_rest(placer->setting.versions, placer->in[i]);
    }
    if (node->inputs)
        memset(placer->in_label, 0, (size_t)node->inputs * sizeof *placer->in_label);
    TsChoice choice = {.setting = &placer->setting,
                       .node = node,
                       .view = &view,
                       .in = placer->in,
                       .rule = {.in_label = placer->in_label}};
    ts_choice_make(&choice);
    TsPlacement placement[TS_MAX_OUTPUTS];
    for (int k = 0; k < node->outputs; k++)
        placement[k] = ts_choice_output(&choice, k);
    for (int i = 0; i < node->inputs; i++) {
        TsStatus status = ts_versions_move(placer->setting.versions, &placer->in[i], placer->in[i],
                                           ts_choice_input(&choice, i), node);
        if (status)
            return ts_status_annotate(status, "%s: %s", rewrite->from->path[node->path].text, node->op->name);
    }
    int32_t *old_value = rewrite->value;
    ts_rewrite_add(rewrite, node, placer->in);
    for (int k = 0; k < node->outputs; k++) {
        rewrite->to->value[old_value[node->first_out + k]].placement = placement[k];
        if (at_rest)
            ts_versions_set_at_rest(placer->setting.versions, old_value[node->first_out + k],
                                    ts_versions_gathered(placer->setting.versions, placer->in[0]));
    }
    return TS_OK;
}

/* `placement`, but over `axis` as `other` has it. */
static TsPlacement replace_axis(TsPlacement placement, TsPlacement other, TsAxis axis)
{
    placement.partial &= ~TS_AXIS_BIT(axis);
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        int kept = 0;
        uint8_t was[TS_AXES];
        memcpy(was, placement.axis[d], sizeof was);
        memset(placement.axis[d], 0, sizeof was);
        for (int k = 0; k < TS_AXES && was[k]; k++)
            if (was[k] != axis)
                placement.axis[d][kept++] = was[k];
        if (ts_placement_axes_of(other, d) & TS_AXIS_BIT(axis))
            placement.axis[d][kept] = (uint8_t)axis;
    }
    return placement;
}

static TsStatus constrain(Placer *placer, const TsNode *node)
{
    TsRewrite *rewrite = &placer->rewrite;
    TsConstrainAttributes attributes;
    memcpy(&attributes, node->attributes, sizeof attributes);
    int32_t value = rewrite->value[*ts_node_in(rewrite->from, node)];
    TsPlacement placement = attributes.placement;
    if (attributes.axis)
        placement = replace_axis(rewrite->to->value[value].placement, placement, (TsAxis)attributes.axis);
    TsStatus status = ts_versions_move(placer->setting.versions, &rewrite->value[node->first_out], value,
                                       ts_placement_simplify(placement, placer->setting.mesh_shape), node);
    return ts_status_annotate(status, "%s: constrain", rewrite->from->path[node->path].text);
}

/* ---- what goes out ---- */

/* Whether a value shows the memory of a parameter or state that this graph assigns. */
static bool shows_assigned(const TsGraph *graph, int32_t value)
{
    const TsNode *node = &graph->node[graph->value[value].node];
    while ((node->op->flags & TS_OP_VIEW) || node->op == &ts_move_op[TS_MOVE_CUT])
        node = &graph->node[graph->value[*ts_node_in(graph, node)].node];
    return node->op == &ts_bound_op && graph->bound[((const TsBoundAttributes *)node->attributes)->bound].assigned >= 0;
}

/* Moves what outputs and assignments are given to where it is wanted. */
static TsStatus place_bounds(Placer *placer)
{
    const TsGraph *from = placer->rewrite.from;
    TsGraph *to = placer->rewrite.to;
    for (int32_t b = 0; b < from->bounds; b++) {
        const TsBinding *binding = &from->bound[b].binding;
        bool output = binding->kind == TS_BIND_OUTPUT;
        int32_t given = output ? from->bound[b].value : from->bound[b].assigned, moved;
        if (given < 0)
            continue;
        TsStatus status = ts_versions_move(placer->setting.versions, &moved, placer->rewrite.value[given],
                                           ts_placement_simplify(binding->placement, placer->setting.mesh_shape),
                                           &from->node[from->value[given].node]);
        if (status)
            return ts_status_annotate(status, "%s %s", output ? "output" : "assign", binding->name);
        *(output ? &to->bound[b].value : &to->bound[b].assigned) = moved;
    }
    for (int32_t b = 0; b < to->bounds; b++) { /* what is overwritten is copied before */
        int32_t *given = to->bound[b].binding.kind == TS_BIND_OUTPUT ? &to->bound[b].value : &to->bound[b].assigned;
        if (*given < 0 || !shows_assigned(to, *given))
            continue;
        TsTensor in = {to, *given}, out;
        ts_graph_add_to(to, &out, &ts_copy_op, &in, 1, NULL);
        to->value[out.id].placement = to->value[*given].placement;
        *given = out.id;
    }
    return TS_OK;
}

static TsStatus place_all(Placer *placer)
{
    TsRewrite *rewrite = &placer->rewrite;
    for (int32_t n = 0; n < rewrite->from->nodes; n++) {
        const TsNode *node = &rewrite->from->node[n];
        int32_t *out = &rewrite->value[node->first_out];
        if (node->op == &ts_bound_op) {
            ts_rewrite_copy(rewrite, node);
            TsValue *value = &rewrite->to->value[*out];
            value->placement = ts_placement_simplify(value->placement, placer->setting.mesh_shape);
            int32_t bound = ((const TsBoundAttributes *)node->attributes)->bound;
            if (rewrite->from->bound[bound].binding.kind != TS_BIND_INPUT)
                ts_versions_set_at_rest(placer->setting.versions, *out, rewrite->from->bound[bound].gathered);
        } else if (node->op == &ts_constrain_op) {
            TS_TRY(constrain(placer, node));
        } else if (node->op == &ts_stop_gradient_op) {
            *out = rewrite->value[*ts_node_in(rewrite->from, node)];
        } else if (node->op == &ts_constant_op) {
            ts_rewrite_copy(rewrite, node);
        } else {
            TS_TRY(place_node(placer, node));
        }
    }
    return place_bounds(placer);
}

TsStatus ts_pass_place(TsGraph **graph, TsMeshShape mesh_shape, TsSums sums)
{
    Placer placer = {.rewrite = ts_rewrite_begin(*graph)};
    placer.setting =
        (TsChoiceSetting){.from = *graph,
                          .to = placer.rewrite.to,
                          .mesh_shape = mesh_shape,
                          .sums = sums,
                          .versions = ts_versions_create(placer.rewrite.to, mesh_shape, sums == TS_SUMS_SCATTERED),
                          .wishes = ts_wishes_find(*graph, mesh_shape)};
    TsStatus status = place_all(&placer);
    ts_versions_free(&placer.setting.versions);
    ts_free(placer.setting.wishes);
    ts_node_room_free(&placer.room);
    ts_free(placer.in_label);
    ts_free(placer.in);
    if (status)
        ts_rewrite_abandon(&placer.rewrite);
    else
        *graph = ts_rewrite_end(&placer.rewrite);
    return status;
}
