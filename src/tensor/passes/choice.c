/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/passes/choice.h"

#include <string.h>

#include "base/check.h"

enum { KEEP_WHOLE = 0, KEEP_PARTIAL = -1 };

/* Sums of so few elements cost a message, whatever their bytes: what is whole joins them as a sum, to be one of them.
 */
enum { FEW_ELEMS = 64 };

static const double STAYS = 1024, MOVES_FREELY = 1.0 / 1024; /* weights of bytes */

static TsPlacement placement_of(const TsChoice *choice, int input)
{
    return choice->setting->to->value[choice->in[input]].placement;
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

static double parts_of(const TsChoiceSetting *setting, TsAxis axis)
{
    double parts = 1;
    for (int a = 1; a < TS_AXES; a++)
        if ((together_with(axis) & TS_AXIS_BIT(a)) && setting->mesh_shape.size[a] > 1)
            parts *= setting->mesh_shape.size[a];
    return parts;
}

/* Bytes of a tensor of which each rank holds the part that `placement` says, but not cut by `axis`. */
static double part_bytes(const TsChoiceSetting *setting, TsShape shape, TsDtype dtype, TsPlacement placement,
                         TsAxis axis)
{
    double bytes = (double)ts_shape_elems(shape) * (double)ts_dtype_bytes(dtype);
    TsAxisSet axes = ts_placement_axes(placement) & ~together_with(axis);
    for (int a = 1; a < TS_AXES; a++)
        if ((axes & TS_AXIS_BIT(a)) && setting->mesh_shape.size[a] > 1)
            bytes /= setting->mesh_shape.size[a];
    return bytes;
}

/* ---- costs ---- */

/* What a rank sends so that an input suits the cut of `label` by `axis`. */
static double input_cost(const TsChoice *choice, int i, TsAxis axis, int label)
{
    const TsChoiceSetting *setting = choice->setting;
    TsPlacement placement = placement_of(choice, i);
    const TsShape shape = choice->view->in_shape[i];
    double parts = parts_of(setting, axis), others = (parts - 1) / parts;
    double bytes = part_bytes(setting, shape, choice->view->in_dtype[i], placement, axis);
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
    if (ts_versions_have(setting->versions, choice->in[i], wanted, axis, backward) ||
        ts_versions_have(setting->versions, choice->in[i], -1, axis, backward))
        return 0;
    bool computes_with_parts = (axis == TS_AXIS_MODEL || axis == TS_AXIS_EXPERT) &&
                               !(ts_versions_gathered(setting->versions, choice->in[i]) & TS_AXIS_BIT(axis));
    if (ts_versions_at_rest(setting->versions, choice->in[i]))
        return bytes * (computes_with_parts ? STAYS : MOVES_FREELY);
    bool repeats_work = axis == TS_AXIS_EXPERT && wanted < 0; /* which its ranks share, as those along data do */
    return bytes * (is >= 0 && (!computes_with_parts || repeats_work) ? STAYS : 1);
}

static bool label_occurs(const TsChoice *choice, int label)
{
    for (int i = 0; i < choice->view->inputs; i++)
        if (dim_of_label(choice->rule.in_label[i], choice->view->in_shape[i].dims, label) >= 0)
            return true;
    return false;
}

/* The least that a rank sends for outputs that become partial sums. They are taken as cut as the inputs are. */
static double output_cost(const TsChoice *choice, TsAxis axis, int label)
{
    const TsChoiceSetting *setting = choice->setting;
    double parts = parts_of(setting, axis), others = (parts - 1) / parts, cost = 0;
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
                    bytes /= setting->mesh_shape.size[a];
                    break;
                }
            }
        cost += bytes * (label == KEEP_PARTIAL ? 2 * others : others);
    }
    return cost;
}

static double cost_of(const TsChoice *choice, TsAxis axis, int label)
{
    double cost = output_cost(choice, axis, label);
    for (int i = 0; i < choice->view->inputs; i++)
        cost += input_cost(choice, i, axis, label);
    return cost;
}

/* ---- choosing ---- */

/* Whether the sum over `axis` may be taken after the op instead of before. */
static bool may_stay_partial(const TsChoice *choice, TsAxis axis)
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
static int suggested_label(const TsChoice *choice, int i, TsAxis axis)
{
    TsPlacement placement = placement_of(choice, i);
    int dim = dim_cut_by(placement, axis);
    if (placement.partial & TS_AXIS_BIT(axis))
        dim = choice->setting->wishes[ts_node_in(choice->setting->from, choice->node)[i]].dim[axis] - 1;
    return dim < 0 ? 0 : choice->rule.in_label[i][dim];
}

/* The label that is wished of an output along an axis, if any part of that dim can be computed by itself; else 0. */
static int wished_label(const TsChoice *choice, TsAxis axis)
{
    for (int k = 0; k < choice->view->outputs; k++) {
        int dim = choice->setting->wishes[choice->node->first_out + k].dim[axis] - 1;
        int label = dim < 0 ? 0 : choice->rule.out_label[k][dim];
        if (choice->rule.free >> label & 1)
            return label;
    }
    return 0;
}

static bool cuts_batch(TsAxis axis)
{
    return axis == TS_AXIS_EXPERT || (together_with(TS_AXIS_DATA) & TS_AXIS_BIT(axis));
}

/* Whether a sum that can be taken later is not to be taken now: over the axes that cut the batch. */
static bool sums_wait(const TsChoice *choice, TsAxis axis)
{
    const TsChoiceSetting *setting = choice->setting;
    if (!cuts_batch(axis) || setting->sums == TS_SUMS_SCATTERED)
        return false;
    return setting->sums == TS_SUMS_LAST ||
           (setting->mesh_shape.size[TS_AXIS_MICRO] > 1 && may_stay_partial(choice, TS_AXIS_MICRO));
}

/* Whether the terms of a sum are scattered one by one, though together would be as cheap: whole gradients do not wait
 * for one another, but for those of a micro-batch. */
static bool terms_scatter(const TsChoice *choice, TsAxis axis)
{
    const TsChoiceSetting *setting = choice->setting;
    return setting->sums == TS_SUMS_SCATTERED && setting->mesh_shape.size[TS_AXIS_MICRO] <= 1 && cuts_batch(axis);
}

/* Sets choice->cut[axis] to what moves the fewest bytes; the first of equals: partial, labels as they occur, whole. */
static void choose_axis(TsChoice *choice, TsAxis axis)
{
    bool partial = may_stay_partial(choice, axis);
    if (partial && sums_wait(choice, axis)) {
        choice->cut[axis] = KEEP_PARTIAL;
        return;
    }
    int best = partial ? KEEP_PARTIAL : KEEP_WHOLE;
    double least = cost_of(choice, axis, best);
    bool open = best == KEEP_WHOLE || terms_scatter(choice, axis); /* then a label that is as cheap is better */
    for (int i = 0; i <= choice->view->inputs; i++) {
        int label = i < choice->view->inputs ? suggested_label(choice, i, axis) : wished_label(choice, axis);
        if (label <= 0 || (choice->rule.uncut >> label & 1))
            continue;
        double cost = cost_of(choice, axis, label);
        if (cost < least || (cost == least && open)) {
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
static void order_axes(const TsChoice *choice, int label, uint8_t *order)
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
static TsPlacement place_labels(const int8_t *label, int dims, const uint8_t (*order)[TS_AXES])
{
    TsPlacement placement = ts_replicated;
    for (int d = 0; d < dims; d++)
        if (label[d] > 0)
            memcpy(placement.axis[d], order[label[d]], TS_AXES);
    return placement;
}

TsPlacement ts_choice_input(const TsChoice *choice, int i)
{
    TsPlacement placement = place_labels(choice->rule.in_label[i], choice->view->in_shape[i].dims, choice->order);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->cut[axis] == KEEP_PARTIAL)
            placement.partial |=
                (choice->rule.linearity == TS_LINEAR_JOINT ? ~(TsAxisSet)0 : placement_of(choice, i).partial) &
                TS_AXIS_BIT(axis);
    return placement;
}

TsPlacement ts_choice_output(const TsChoice *choice, int k)
{
    TsShape shape = choice->view->out_shape[k];
    TsPlacement placement = place_labels(choice->rule.out_label[k], shape.dims, choice->order);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->cut[axis] == KEEP_PARTIAL ||
            (choice->cut[axis] > 0 && dim_of_label(choice->rule.out_label[k], shape.dims, choice->cut[axis]) < 0))
            placement.partial |= TS_AXIS_BIT(axis);
    if (placement.partial)
        placement.reduction = (uint8_t)choice->rule.reduction;
    return placement;
}

static void check_labels(const TsChoice *choice)
{
    for (int i = 0; i < choice->view->inputs; i++)
        for (int d = 0; d < TS_MAX_DIMS; d++)
            TS_CHECK(choice->rule.in_label[i][d] >= 0 && choice->rule.in_label[i][d] < TS_MAX_LABELS,
                     "the rule of %s gives a dim the label %d", choice->view->op->name, choice->rule.in_label[i][d]);
    for (int k = 0; k < choice->view->outputs; k++)
        for (int d = 0; d < choice->view->out_shape[k].dims; d++)
            TS_CHECK(!choice->rule.out_label[k][d] || (choice->rule.free >> choice->rule.out_label[k][d] & 1) ||
                         label_occurs(choice, choice->rule.out_label[k][d]) || !choice->view->inputs,
                     "the rule of %s gives its output the label %d, which no input has", choice->view->op->name,
                     choice->rule.out_label[k][d]);
}

void ts_choice_make(TsChoice *choice)
{
    if (choice->view->op->place)
        choice->view->op->place(&choice->rule, choice->view);
    check_labels(choice);
    memset(choice->cut, KEEP_WHOLE, sizeof choice->cut);
    memset(choice->order, 0, sizeof choice->order);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->setting->mesh_shape.size[axis] > 1)
            choose_axis(choice, (TsAxis)axis);
    for (int axis = 1; axis < TS_AXES; axis++)
        if (choice->cut[axis] > 0 && !choice->order[choice->cut[axis]][0])
            order_axes(choice, choice->cut[axis], choice->order[choice->cut[axis]]);
}
