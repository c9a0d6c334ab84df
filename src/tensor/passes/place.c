/* SPDX-License-Identifier: Apache-2.0
 *
 * Place: a Placement for every value, from those of what is bound and of what is constrained.
 *
 * Node after node: each op's rule gives its dims labels, and for each mesh axis one label (or none) is chosen to be cut
 * by it, such that the fewest bytes move; then the operands are moved to where that wants them. Not all bytes weigh the
 * same. Along `model` and `expert` parameters are computed with as they are cut, and activations move (along `expert`,
 * which cuts the batch, from one dim to another; they are not made whole). Along the other axes it is activations that
 * stay: the batch is cut by `data` so that no work is done twice, while a parameter that is cut by it is so to save
 * memory, and is what moves.
 */
#include "tensor/passes/versions.h"
#include "tensor/passes/wishes.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

enum { MAX_LABELS = 32, KEEP_WHOLE = 0, KEEP_PARTIAL = -1 };

/* Sums of so few elements cost a message, whatever their bytes: what is whole joins them as a sum, to be one of them.
 */
enum { FEW_ELEMS = 64 };

static const double STAYS = 1024, MOVES_FREELY = 1.0 / 1024; /* weights of bytes */

typedef struct Placer {
    TsRewrite rewrite;
    TsMeshShape mesh_shape;
    TsSums sums;
    TsVersions *versions;
    TsWish *wishes; /* of the values of rewrite.from */
    TsNodeRoom room;
    int8_t (*in_label)[TS_MAX_DIMS]; /* (label_capacity) */
    int32_t *in;                     /* (label_capacity): operands in the new graph */
    int label_capacity;
} Placer;

/* One node while its placement is being chosen. */
typedef struct Choice {
    Placer *placer;
    const TsNode *node; /* of the old graph */
    const TsNodeView *view;
    TsPlaceRule rule;
    const int32_t *in;   /* (inputs) values of the new graph */
    int8_t cut[TS_AXES]; /* the label that each axis cuts, KEEP_WHOLE or KEEP_PARTIAL */
} Choice;

static TsPlacement placement_of(const Choice *choice, int input)
{
    return choice->placer->rewrite.to->value[choice->in[input]].placement;
}

/* The dim of an input that an axis cuts, or -1. */
static int dim_cut_by(TsPlacement placement, TsAxis axis)
{
    for (int d = 0; d < TS_MAX_DIMS; d++)
        if (ts_placement_axes_of(placement, d) & TS_AXIS_BIT(axis))
            return d;
    return -1;
}

static int dim_of_label(const int8_t *label, int dims, int wanted)
{
    for (int d = 0; d < dims; d++)
        if (label[d] == wanted)
            return d;
    return -1;
}

/* `data` and `micro` cut the batch together: what suits the one suits the other, however many there are of each. */
static TsAxisSet together_with(TsAxis axis)
{
    const TsAxisSet batch = TS_AXIS_BIT(TS_AXIS_DATA) | TS_AXIS_BIT(TS_AXIS_MICRO);
    return TS_AXIS_BIT(axis) & batch ? batch : TS_AXIS_BIT(axis);
}

static double parts_of(const Placer *placer, TsAxis axis)
{
    double parts = 1;
    for (int a = 1; a < TS_AXES; a++)
        if ((together_with(axis) & TS_AXIS_BIT(a)) && placer->mesh_shape.size[a] > 1)
            parts *= placer->mesh_shape.size[a];
    return parts;
}

/* Bytes of a tensor of which each rank holds the part that `placement` says, but not cut by `axis`. */
static double part_bytes(const Placer *placer, TsShape shape, TsDtype dtype, TsPlacement placement, TsAxis axis)
{
    double bytes = (double)ts_shape_elems(shape) * (double)ts_dtype_bytes(dtype);
    TsAxisSet axes = ts_placement_axes(placement) & ~together_with(axis);
    for (int a = 1; a < TS_AXES; a++)
        if ((axes & TS_AXIS_BIT(a)) && placer->mesh_shape.size[a] > 1)
            bytes /= placer->mesh_shape.size[a];
    return bytes;
}

/* ---- costs ---- */

/* What a rank sends so that an input suits the cut of `label` by `axis`. */
static double input_cost(const Choice *choice, int i, TsAxis axis, int label)
{
    const Placer *placer = choice->placer;
    TsPlacement placement = placement_of(choice, i);
    const TsShape shape = choice->view->in_shape[i];
    double parts = parts_of(placer, axis), others = (parts - 1) / parts;
    double bytes = part_bytes(placer, shape, choice->view->in_dtype[i], placement, axis);
    int is = dim_cut_by(placement, axis),
        wanted = label > 0 ? dim_of_label(choice->rule.in_label[i], shape.dims, label) : -1;
    if (placement.partial & TS_AXIS_BIT(axis)) {
        if (label == KEEP_PARTIAL)
            return 0;
        bytes *= wanted >= 0 ? others : 2 * others;
    } else if (is < 0 || is == wanted) {
        return 0;
    } else {
        bytes *= wanted >= 0 ? others / parts : others;
    }
    bool backward = choice->node->backward; /* of what is whole, any part is at hand */
    if (ts_versions_have(placer->versions, choice->in[i], wanted, axis, backward) ||
        ts_versions_have(placer->versions, choice->in[i], -1, axis, backward))
        return 0;
    bool computes_with_parts = (axis == TS_AXIS_MODEL || axis == TS_AXIS_EXPERT) &&
                               !(ts_versions_gathered(placer->versions, choice->in[i]) & TS_AXIS_BIT(axis));
    if (ts_versions_at_rest(placer->versions, choice->in[i]))
        return bytes * (computes_with_parts ? STAYS : MOVES_FREELY);
    bool repeats_work = axis == TS_AXIS_EXPERT && wanted < 0; /* which its ranks share, as those along data do */
    return bytes * (is >= 0 && (!computes_with_parts || repeats_work) ? STAYS : 1);
}

static bool label_occurs(const Choice *choice, int label)
{
    for (int i = 0; i < choice->view->inputs; i++)
        if (dim_of_label(choice->rule.in_label[i], choice->view->in_shape[i].dims, label) >= 0)
            return true;
    return false;
}

/* The least that a rank sends for outputs that become partial sums. They are taken as cut as the inputs are. */
static double output_cost(const Choice *choice, TsAxis axis, int label)
{
    const Placer *placer = choice->placer;
    double parts = parts_of(placer, axis), others = (parts - 1) / parts, cost = 0;
    for (int k = 0; k < choice->view->outputs; k++) {
        TsShape shape = choice->view->out_shape[k];
        bool partial =
            label == KEEP_PARTIAL || (label > 0 && dim_of_label(choice->rule.out_label[k], shape.dims, label) < 0);
        if (!partial)
            continue;
        double bytes = (double)ts_shape_elems(shape) * (double)ts_dtype_bytes(choice->view->out_dtype[k]);
        for (int a = 1; a < TS_AXES; a++) /* other axes that cut a dim of this output */
            for (int i = 0; i < choice->view->inputs && !(together_with(axis) & TS_AXIS_BIT(a)); i++) {
                int dim = dim_cut_by(placement_of(choice, i), (TsAxis)a);
                if (dim >= 0 && choice->rule.in_label[i][dim] > 0 &&
                    dim_of_label(choice->rule.out_label[k], shape.dims, choice->rule.in_label[i][dim]) >= 0) {
                    bytes /= placer->mesh_shape.size[a];
                    break;
                }
            }
        cost += bytes * (label == KEEP_PARTIAL ? 2 * others : others);
    }
    return cost;
}

static double cost_of(const Choice *choice, TsAxis axis, int label)
{
    double cost = output_cost(choice, axis, label);
    for (int i = 0; i < choice->view->inputs; i++)
        cost += input_cost(choice, i, axis, label);
    return cost;
}

/* ---- choosing ---- */

/* Whether the sum over `axis` may be taken after the op instead of before. */
static bool may_stay_partial(const Choice *choice, TsAxis axis)
{
    int partial = 0, first = -1;
    bool whole = true; /* those that are not partial */
    if (choice->rule.linearity == TS_LINEAR_NONE || choice->rule.reduction != TS_SUM)
        return false;
    for (int i = 0; i < choice->view->inputs; i++) {
        TsPlacement placement = placement_of(choice, i);
        if (!(placement.partial & TS_AXIS_BIT(axis))) {
            whole &= dim_cut_by(placement, axis) < 0;
            continue;
        }
        if (placement.reduction != TS_SUM)
            return false;
        first = first < 0 ? i : first;
        partial++;
    }
    switch (choice->rule.linearity) {
    case TS_LINEAR_JOINT:
        return partial == choice->view->inputs ||
               (partial > 0 && whole && ts_shape_elems(choice->view->out_shape[0]) <= FEW_ELEMS);
    case TS_LINEAR_EACH:
        return partial == 1;
    case TS_LINEAR_FIRST:
        return partial == 1 && first == 0;
    default:
        return false;
    }
}

/* The label that suits input i of a node along an axis: how it is cut, or, of a sum, how it is wished to be. */
static int suggested_label(const Choice *choice, int i, TsAxis axis)
{
    TsPlacement placement = placement_of(choice, i);
    int dim = dim_cut_by(placement, axis);
    if (placement.partial & TS_AXIS_BIT(axis))
        dim = choice->placer->wishes[ts_node_in(choice->placer->rewrite.from, choice->node)[i]].dim[axis] - 1;
    return dim < 0 ? 0 : choice->rule.in_label[i][dim];
}

/* The label that is wished of an output along an axis, if any part of that dim can be computed by itself; else 0. */
static int wished_label(const Choice *choice, TsAxis axis)
{
    for (int k = 0; k < choice->view->outputs; k++) {
        int dim = choice->placer->wishes[choice->node->first_out + k].dim[axis] - 1;
        int label = dim < 0 ? 0 : choice->rule.out_label[k][dim];
        if (choice->rule.free >> label & 1)
            return label;
    }
    return 0;
}

/* Whether a sum that can be taken later is not to be taken now: over the axes that cut the batch. */
static bool sums_wait(const Choice *choice, TsAxis axis)
{
    const Placer *placer = choice->placer;
    bool cuts_batch = axis == TS_AXIS_EXPERT || (together_with(TS_AXIS_DATA) & TS_AXIS_BIT(axis));
    if (!cuts_batch || placer->sums == TS_SUMS_SCATTERED)
        return false;
    return placer->sums == TS_SUMS_LAST ||
           (placer->mesh_shape.size[TS_AXIS_MICRO] > 1 && may_stay_partial(choice, TS_AXIS_MICRO));
}

/* Sets choice->cut[axis] to what moves the fewest bytes; the first of equals: partial, labels as they occur, whole. */
static void choose_axis(Choice *choice, TsAxis axis)
{
    bool partial = may_stay_partial(choice, axis);
    if (partial && sums_wait(choice, axis)) {
        choice->cut[axis] = KEEP_PARTIAL;
        return;
    }
    int best = partial ? KEEP_PARTIAL : KEEP_WHOLE;
    double least = cost_of(choice, axis, best);
    bool open = true; /* a label as cheap as `whole` is better */
    for (int i = 0; i <= choice->view->inputs; i++) {
        int label = i < choice->view->inputs ? suggested_label(choice, i, axis) : wished_label(choice, axis);
        if (label <= 0 || (choice->rule.uncut >> label & 1))
            continue;
        double cost = cost_of(choice, axis, label);
        if (cost < least || (cost == least && open && best == KEEP_WHOLE)) {
            best = label;
            least = cost;
            open = false;
        }
    }
    if (partial && cost_of(choice, axis, KEEP_WHOLE) < least)
        best = KEEP_WHOLE;
    choice->cut[axis] = (int8_t)best;
}

/* The axes that cut a label, major first: in the order of the largest input that has it. */
static void order_axes(const Choice *choice, int label, uint8_t *order)
{
    int count = 0;
    TsAxisSet left = 0;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->cut[axis] == label)
            left |= TS_AXIS_BIT(axis);
    memset(order, 0, TS_AXES);
    for (int largest = 0; left && largest >= 0;) {
        double most = -1;
        largest = -1;
        for (int i = 0; i < choice->view->inputs; i++) {
            int dim = dim_of_label(choice->rule.in_label[i], choice->view->in_shape[i].dims, label);
            double elems = (double)ts_shape_elems(choice->view->in_shape[i]);
            if (dim < 0 || !(ts_placement_axes_of(placement_of(choice, i), dim) & left) || elems <= most)
                continue;
            most = elems;
            largest = i;
        }
        if (largest < 0)
            break;
        TsPlacement placement = placement_of(choice, largest);
        int dim = dim_of_label(choice->rule.in_label[largest], choice->view->in_shape[largest].dims, label);
        for (int k = 0; k < TS_AXES && placement.axis[dim][k]; k++)
            if (left & TS_AXIS_BIT(placement.axis[dim][k])) {
                order[count++] = placement.axis[dim][k];
                left &= ~TS_AXIS_BIT(placement.axis[dim][k]);
            }
    }
    for (int axis = 1; axis < TS_AXES; axis++)
        if (left & TS_AXIS_BIT(axis))
            order[count++] = (uint8_t)axis;
}

/* The placement that labels give a tensor. */
static TsPlacement place_labels(const int8_t *label, int dims, uint8_t (*order)[TS_AXES])
{
    TsPlacement placement = ts_replicated;
    for (int d = 0; d < dims; d++)
        if (label[d] > 0)
            memcpy(placement.axis[d], order[label[d]], TS_AXES);
    return placement;
}

static TsPlacement input_placement(const Choice *choice, int i, uint8_t (*order)[TS_AXES])
{
    TsPlacement placement = place_labels(choice->rule.in_label[i], choice->view->in_shape[i].dims, order);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->cut[axis] == KEEP_PARTIAL)
            placement.partial |=
                (choice->rule.linearity == TS_LINEAR_JOINT ? ~(TsAxisSet)0 : placement_of(choice, i).partial) &
                TS_AXIS_BIT(axis);
    return placement;
}

static TsPlacement output_placement(const Choice *choice, int k, uint8_t (*order)[TS_AXES])
{
    TsShape shape = choice->view->out_shape[k];
    TsPlacement placement = place_labels(choice->rule.out_label[k], shape.dims, order);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->cut[axis] == KEEP_PARTIAL ||
            (choice->cut[axis] > 0 && dim_of_label(choice->rule.out_label[k], shape.dims, choice->cut[axis]) < 0))
            placement.partial |= TS_AXIS_BIT(axis);
    if (placement.partial)
        placement.reduction = (uint8_t)choice->rule.reduction;
    return placement;
}

static void check_labels(const Choice *choice)
{
    for (int i = 0; i < choice->view->inputs; i++)
        for (int d = 0; d < TS_MAX_DIMS; d++)
            TS_CHECK(choice->rule.in_label[i][d] >= 0 && choice->rule.in_label[i][d] < MAX_LABELS,
                     "the rule of %s gives a dim the label %d", choice->view->op->name, choice->rule.in_label[i][d]);
    for (int k = 0; k < choice->view->outputs; k++)
        for (int d = 0; d < choice->view->out_shape[k].dims; d++)
            TS_CHECK(!choice->rule.out_label[k][d] || (choice->rule.free >> choice->rule.out_label[k][d] & 1) ||
                         label_occurs(choice, choice->rule.out_label[k][d]) || !choice->view->inputs,
                     "the rule of %s gives its output the label %d, which no input has", choice->view->op->name,
                     choice->rule.out_label[k][d]);
}

/* Chooses the cuts of a node and adds it, with the moves that its operands need. */
static TsStatus place_node(Placer *placer, const TsNode *node)
{
    TsRewrite *rewrite = &placer->rewrite;
    TsNodeView view = ts_node_view(&placer->room, rewrite->from, node);
    Choice choice = {.placer = placer, .node = node, .view = &view, .in = placer->in};
    bool at_rest = node->inputs == 1;
    if (node->inputs > placer->label_capacity) {
        placer->label_capacity = 2 * node->inputs;
        placer->in_label = ts_realloc(placer->in_label, (size_t)placer->label_capacity * sizeof *placer->in_label);
        placer->in = ts_realloc(placer->in, (size_t)placer->label_capacity * sizeof *placer->in);
    }
    choice.in = placer->in;
    choice.rule.in_label = placer->in_label;
    for (int i = 0; i < node->inputs; i++) {
        placer->in[i] = rewrite->value[ts_node_in(rewrite->from, node)[i]];
        at_rest &= ts_versions_at_rest(placer->versions, placer->in[i]);
    }
    if (node->inputs)
        memset(placer->in_label, 0, (size_t)node->inputs * sizeof *placer->in_label);
    if (node->op->place)
        node->op->place(&choice.rule, &view);
    check_labels(&choice);
    uint8_t order[MAX_LABELS][TS_AXES] = {{0}};
    for (int axis = 1; axis < TS_AXES; axis++)
        if (placer->mesh_shape.size[axis] > 1)
            choose_axis(&choice, (TsAxis)axis);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice.cut[axis] > 0 && !order[choice.cut[axis]][0])
            order_axes(&choice, choice.cut[axis], order[choice.cut[axis]]);
    TsPlacement placement[TS_MAX_OUTPUTS];
    for (int k = 0; k < node->outputs; k++)
        placement[k] = output_placement(&choice, k, order);
    for (int i = 0; i < node->inputs; i++) {
        TsStatus status =
            ts_versions_move(placer->versions, &placer->in[i], placer->in[i], input_placement(&choice, i, order), node);
        if (status)
            return ts_status_annotate(status, "%s: %s", rewrite->from->path[node->path].text, node->op->name);
    }
    int32_t *old_value = rewrite->value;
    ts_rewrite_add(rewrite, node, placer->in);
    for (int k = 0; k < node->outputs; k++) {
        rewrite->to->value[old_value[node->first_out + k]].placement = placement[k];
        if (at_rest)
            ts_versions_set_at_rest(placer->versions, old_value[node->first_out + k],
                                    ts_versions_gathered(placer->versions, placer->in[0]));
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
    TsStatus status = ts_versions_move(placer->versions, &rewrite->value[node->first_out], value,
                                       ts_placement_simplify(placement, placer->mesh_shape), node);
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
        TsStatus status = ts_versions_move(placer->versions, &moved, placer->rewrite.value[given],
                                           ts_placement_simplify(binding->placement, placer->mesh_shape),
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
            value->placement = ts_placement_simplify(value->placement, placer->mesh_shape);
            int32_t bound = ((const TsBoundAttributes *)node->attributes)->bound;
            if (rewrite->from->bound[bound].binding.kind != TS_BIND_INPUT)
                ts_versions_set_at_rest(placer->versions, *out, rewrite->from->bound[bound].gathered);
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
    Placer placer = {.rewrite = ts_rewrite_begin(*graph), .mesh_shape = mesh_shape, .sums = sums};
    placer.versions = ts_versions_create(placer.rewrite.to, mesh_shape, sums == TS_SUMS_SCATTERED);
    placer.wishes = ts_wishes_find(*graph, mesh_shape);
    TsStatus status = place_all(&placer);
    ts_versions_free(&placer.versions);
    ts_free(placer.wishes);
    ts_node_room_free(&placer.room);
    ts_free(placer.in_label);
    ts_free(placer.in);
    if (status)
        ts_rewrite_abandon(&placer.rewrite);
    else
        *graph = ts_rewrite_end(&placer.rewrite);
    return status;
}
