/* SPDX-License-Identifier: Apache-2.0
 *
 * Which moves lead from one Placement to another. What moves is planned here; move.c moves it.
 */
#include "tensor/redistribute.h"

#include <string.h>

#include "base/check.h"

/* A plan in the making. */
typedef struct Planner {
    TsMovePlan *plan;
    TsMeshShape mesh;
    TsPlacement at; /* where the moves so far have led */
} Planner;

static int parts_of(TsMeshShape mesh, TsAxisSet axes)
{
    int parts = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if ((axes & TS_AXIS_BIT(axis)) && mesh.size[axis] > 1)
            parts *= mesh.size[axis];
    return parts;
}

static int axes_on(TsPlacement placement, int dim)
{
    int count = 0;
    while (count < TS_AXES && placement.axis[dim][count])
        count++;
    return count;
}

/* What a rank sends for a move of a tensor of one element. */
static double sent_elems(TsMoveStep step, TsMeshShape mesh)
{
    double parts = parts_of(mesh, step.axes), others = (parts - 1) / parts;
    double in = 1.0 / parts_of(mesh, ts_placement_axes(step.from)),
           out = 1.0 / parts_of(mesh, ts_placement_axes(step.to));
    switch ((TsMoveKind)step.kind) {
    case TS_MOVE_ALL_GATHER:
        return out * others;
    case TS_MOVE_ALL_REDUCE:
        return 2 * in * others;
    case TS_MOVE_REDUCE_SCATTER:
    case TS_MOVE_ALL_TO_ALL:
        return in * others;
    default:
        return 0;
    }
}

static void add_step(Planner *planner, TsMoveKind kind, TsPlacement to, TsAxisSet axes)
{
    TsMovePlan *plan = planner->plan;
    TS_CHECK(plan->steps < TS_MAX_MOVES, "more than %d moves to \"%s\"", TS_MAX_MOVES, ts_placement_text(to).text);
    if (!to.partial)
        to.reduction = TS_SUM;
    plan->step[plan->steps] = (TsMoveStep){.from = planner->at, .to = to, .kind = kind, .axes = axes};
    plan->sent_elems += sent_elems(plan->step[plan->steps], planner->mesh);
    plan->steps++;
    planner->at = to;
}

/* Cuts by the axes of `target` over which the value is whole: each innermost on its dim. */
static void cut_what_is_whole(Planner *planner, TsPlacement target)
{
    TsPlacement to = planner->at;
    TsAxisSet used = ts_placement_axes(to) | to.partial, axes = 0;
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0; k < axes_on(target, d); k++)
            if (!(used & TS_AXIS_BIT(target.axis[d][k]))) {
                to = ts_shard(to, d, target.axis[d][k]);
                axes |= TS_AXIS_BIT(target.axis[d][k]);
            }
    if (axes)
        add_step(planner, TS_MOVE_CUT, to, axes);
}

/* Sums over the axes that are partial and shall not be: scattered on the dim that `target` cuts by them, else whole. */
static void reduce(Planner *planner, TsPlacement target)
{
    TsAxisSet due = planner->at.partial & ~target.partial, scattered = 0;
    TsPlacement to = planner->at;
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0; k < axes_on(target, d); k++)
            if (due & TS_AXIS_BIT(target.axis[d][k])) {
                to.partial &= ~TS_AXIS_BIT(target.axis[d][k]);
                to = ts_shard(to, d, target.axis[d][k]);
                scattered |= TS_AXIS_BIT(target.axis[d][k]);
            }
    if (scattered)
        add_step(planner, TS_MOVE_REDUCE_SCATTER, to, scattered);
    if (due & ~scattered) {
        to = planner->at;
        to.partial &= ~due;
        add_step(planner, TS_MOVE_ALL_REDUCE, to, due & ~scattered);
    }
}

/* Puts the cuts in such an order that what `target` does not have stands innermost on its dim. */
static void exchange(Planner *planner, TsPlacement target)
{
    TsPlacement to = planner->at;
    TsAxisSet wanted = ts_placement_axes(target), axes = 0;
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        int count = 0;
        memset(to.axis[d], 0, sizeof to.axis[d]);
        for (; count < axes_on(target, d); count++)
            to.axis[d][count] = target.axis[d][count];
        for (int k = 0; k < axes_on(planner->at, d); k++)
            if (!(wanted & TS_AXIS_BIT(planner->at.axis[d][k])))
                to.axis[d][count++] = planner->at.axis[d][k];
    }
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        int k = 0;
        while (to.axis[d][k] && to.axis[d][k] == planner->at.axis[d][k])
            k++;
        for (int l = k; l < axes_on(to, d); l++)
            axes |= TS_AXIS_BIT(to.axis[d][l]);
        for (int l = k; l < axes_on(planner->at, d); l++)
            axes |= TS_AXIS_BIT(planner->at.axis[d][l]);
    }
    if (axes)
        add_step(planner, TS_MOVE_ALL_TO_ALL, to, axes);
}

/* Gathers along the axes that `target` does not have; they are innermost. */
static void gather(Planner *planner, TsPlacement target)
{
    TsPlacement to = planner->at;
    TsAxisSet axes = 0;
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = axes_on(target, d); k < axes_on(planner->at, d); k++) {
            axes |= TS_AXIS_BIT(planner->at.axis[d][k]);
            to.axis[d][k] = TS_AXIS_NONE;
        }
    if (axes)
        add_step(planner, TS_MOVE_ALL_GATHER, to, axes);
}

/* The longest common beginning of both on each dim: what can stay while the rest is gathered. */
static TsPlacement common_part(TsPlacement a, TsPlacement b)
{
    for (int d = 0; d < TS_MAX_DIMS; d++) {
        int k = 0;
        while (a.axis[d][k] && a.axis[d][k] == b.axis[d][k])
            k++;
        memset(a.axis[d] + k, 0, sizeof a.axis[d] - (size_t)k);
    }
    return a;
}

static void plan_moves(Planner *planner, TsPlacement target, bool gather_first)
{
    if (gather_first)
        gather(planner, common_part(planner->at, target));
    cut_what_is_whole(planner, target);
    reduce(planner, target);
    exchange(planner, target);
    gather(planner, target);
    if (planner->at.partial != target.partial) {
        TsPlacement to = planner->at;
        to.partial = target.partial;
        to.reduction = target.reduction;
        add_step(planner, TS_MOVE_MASK, to, target.partial & ~planner->at.partial);
    }
    TS_CHECK(ts_placement_equal(planner->at, target), "moves to \"%s\" lead to \"%s\"", ts_placement_text(target).text,
             ts_placement_text(planner->at).text);
}

/* Between ranks. Cutting first and gathering last keeps what is moved small; gathering first saves a move where cuts
 * change places. The cheaper of the two is taken. */
static void plan_cheapest(Planner *planner, TsPlacement to)
{
    TsMovePlan so_far = *planner->plan, other = so_far;
    TsPlacement from = planner->at;
    if (ts_placement_equal(from, to))
        return;
    plan_moves(planner, to, false);
    plan_moves(&(Planner){.plan = &other, .mesh = planner->mesh, .at = from}, to, true);
    if (other.sent_elems < planner->plan->sent_elems ||
        (other.sent_elems == planner->plan->sent_elems && other.steps < planner->plan->steps))
        *planner->plan = other;
    planner->at = to;
}

/* ---- over micro-batches ---- */

/* The dim that micro-batches cut, or -1; *place: which of its axes that is. */
static int dim_of_time(TsPlacement placement, int *place)
{
    for (int d = 0; d < TS_MAX_DIMS; d++)
        for (int k = 0; k < axes_on(placement, d); k++)
            if (placement.axis[d][k] == TS_AXIS_MICRO) {
                *place = k;
                return d;
            }
    return -1;
}

/* Whether both are cut into the same micro-batches, or neither is cut. */
static bool same_time(TsPlacement a, TsPlacement b)
{
    int place = 0, other = 0, dim = dim_of_time(a, &place);
    return dim == dim_of_time(b, &other) &&
           (dim < 0 || (place == other && !memcmp(a.axis[dim], b.axis[dim], (size_t)place * sizeof a.axis[0][0])));
}

/* Without the axes on that dim from the place-th on. */
static TsPlacement cut_off(TsPlacement placement, int dim, int place)
{
    memset(placement.axis[dim] + place, 0, sizeof placement.axis[dim] - (size_t)place);
    return placement;
}

/* What lies on the axis of time is no message: each micro-batch takes its part of what is whole, or adds its part to
 * it. So those moves stand alone, and what is moved between ranks is one micro-batch, or all of them together. Sums are
 * taken over the micro-batches first; or, with `scatter_first`, of what will be cut, over ranks. */
static void plan_through_time(Planner *planner, TsPlacement to, bool scatter_first)
{
    const TsAxisSet micro = TS_AXIS_BIT(TS_AXIS_MICRO);
    int place = 0, dim = dim_of_time(planner->at, &place);
    if (dim >= 0 && !same_time(planner->at, to)) {
        TsPlacement part = cut_off(planner->at, dim, place + 1); /* what ranks cut further is gathered */
        plan_cheapest(planner, part);
        add_step(planner, TS_MOVE_COLLECT, cut_off(part, dim, place), micro);
    }
    if (planner->at.partial & ~to.partial & micro) {
        TsPlacement sum = planner->at;
        if (scatter_first && (sum.partial & ts_placement_axes(to) & ~micro)) {
            sum = to;
            sum.partial |= micro;
            sum.reduction = planner->at.reduction;
            plan_cheapest(planner, sum);
        }
        sum.partial &= ~micro;
        add_step(planner, TS_MOVE_ACCUMULATE, sum, micro);
    }
    if (!same_time(planner->at, to)) {
        TsPlacement part;
        dim = dim_of_time(to, &place);
        plan_cheapest(planner, cut_off(to, dim, place));
        part = cut_off(to, dim, place + 1);
        add_step(planner, TS_MOVE_CUT, part, micro);
    }
    if (to.partial & ~planner->at.partial & micro) {
        TsPlacement sum = planner->at;
        sum.partial |= micro;
        sum.reduction = to.reduction;
        add_step(planner, TS_MOVE_MASK, sum, micro);
    }
    plan_cheapest(planner, to);
}

TsStatus ts_redistribute_plan(TsMovePlan *plan, TsPlacement from, TsPlacement to, TsMeshShape mesh_shape,
                              bool scatter_first)
{
    *plan = (TsMovePlan){.steps = 0};
    if (from.at_axis != to.at_axis || (from.at_axis && from.at_coord != to.at_coord))
        return ts_status_error(TS_CODE_UNSUPPORTED, "a tensor that lies \"%s\" does not move to \"%s\"",
                               ts_placement_text(from).text, ts_placement_text(to).text);
    if (from.partial & to.partial && from.reduction != to.reduction)
        return ts_status_error(TS_CODE_UNSUPPORTED, "a tensor that lies \"%s\" does not become \"%s\"",
                               ts_placement_text(from).text, ts_placement_text(to).text);
    plan_through_time(&(Planner){.plan = plan, .mesh = mesh_shape, .at = from}, to, scatter_first);
    return TS_OK;
}

/* ---- rows ---- */

static TsStatus infer_move(TsInference *inference)
{
    inference->out_shape[0] = inference->in_shape[0];
    inference->out_dtype[0] = inference->in_dtype[0];
    return TS_OK;
}

#define MOVE_ROW(text, more_flags)                                                                                     \
    {                                                                                                                  \
        .name = text, .attributes_bytes = sizeof(TsMoveStep), .outputs = 1, .flags = TS_OP_NO_GRADIENT | (more_flags), \
        .infer = infer_move                                                                                            \
    }

const TsOp ts_move_op[TS_MOVES] = {
    [TS_MOVE_CUT] = MOVE_ROW("cut", 0),
    [TS_MOVE_MASK] = MOVE_ROW("mask", TS_OP_IN_PLACE),
    [TS_MOVE_ACCUMULATE] = {.name = "accumulate",
                            .attributes_bytes = sizeof(TsMoveStep),
                            .outputs = 1,
                            .flags = TS_OP_NO_GRADIENT,
                            .infer = infer_move,
                            .forward = ts_accumulate_forward,
                            .scratch_bytes = ts_accumulate_scratch_bytes},
    [TS_MOVE_COLLECT] = {.name = "collect",
                         .attributes_bytes = sizeof(TsMoveStep),
                         .outputs = 1,
                         .flags = TS_OP_NO_GRADIENT,
                         .infer = infer_move,
                         .forward = ts_collect_forward},
    [TS_MOVE_ALL_GATHER] = MOVE_ROW("all_gather", 0),
    [TS_MOVE_ALL_REDUCE] = MOVE_ROW("all_reduce", TS_OP_IN_PLACE),
    [TS_MOVE_REDUCE_SCATTER] = MOVE_ROW("reduce_scatter", 0),
    [TS_MOVE_ALL_TO_ALL] = MOVE_ROW("all_to_all", 0),
};
