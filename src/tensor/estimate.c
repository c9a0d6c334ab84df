/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/estimate.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "tensor/move_internal.h"
#include "tensor/program_internal.h"

/* As src/comm does it: larger messages are cut, smaller wholes go in few steps. */
enum { PIECE_BYTES = 60 << 10, SMALL_BYTES = 32 << 10 };

/* How a group along some axes lies on nodes. */
typedef struct Spread {
    bool known;
    int size, nodes;
} Spread;

typedef struct Walker {
    const TsProgram *program;
    const TsMachineModel *machine;
    TsEstimate *estimate;
    Spread spread[1 << TS_AXES]; /* by axes */
    double *over_s;              /* (requests): when each is over */
    double now_s, link_free_s;
} Walker;

/* ---- kernels ---- */

static TsEstimateOp *row_of_op(TsEstimate *estimate, const char *name)
{
    for (int i = 0; i < estimate->ops; i++)
        if (strcmp(estimate->op[i].name, name) == 0)
            return &estimate->op[i];
    TS_CHECK(estimate->ops < TS_ESTIMATE_ROWS, "more than %d kinds of ops", TS_ESTIMATE_ROWS);
    estimate->op[estimate->ops] = (TsEstimateOp){.name = name};
    return &estimate->op[estimate->ops++];
}

/* The cost of a call by what this rank holds. */
static TsCost cost_of(const TsAction *action)
{
    const TsCall *call = &action->call;
    TsShape shape[64];
    TsDtype dtype[64];
    int count = call->inputs + call->outputs;
    double bytes = 0;
    TsCost cost = {.flops = 0};
    for (int i = 0; i < count; i++) {
        const TsBlock *block = &call->in[i]; /* outputs follow */
        bytes += (double)ts_shape_elems(block->shape) * (double)ts_dtype_bytes(block->dtype);
        if (i < 64) {
            shape[i] = block->shape;
            dtype[i] = block->dtype;
        }
    }
    if (action->op->cost && count <= 64)
        cost = action->op->cost(&(TsNodeView){.op = action->op,
                                              .attributes = call->attributes,
                                              .inputs = call->inputs,
                                              .outputs = call->outputs,
                                              .in_shape = shape,
                                              .out_shape = shape + call->inputs,
                                              .in_dtype = dtype,
                                              .out_dtype = dtype + call->inputs});
    if (cost.bytes == 0)
        cost.bytes = bytes;
    return cost;
}

static void run_kernel(Walker *walker, const TsAction *action)
{
    const TsMachineModel *machine = walker->machine;
    TsCost cost = cost_of(action);
    double rate = machine->flops * cost.flops / (cost.flops + machine->half_flops);
    double work_s = cost.flops > 0 ? cost.flops / rate : 0, traffic_s = cost.bytes / machine->memory_bandwidth;
    double efficiency = machine->efficiency ? machine->efficiency(machine->context, action->op->name) : 1;
    double seconds = fmax(work_s, traffic_s) / efficiency + machine->op_s;
    TsEstimateOp *row = row_of_op(walker->estimate, action->op->name);
    row->calls++;
    row->flops += cost.flops;
    row->bytes += cost.bytes;
    row->seconds += seconds;
    walker->estimate->flops += cost.flops;
    walker->estimate->bytes += cost.bytes;
    walker->estimate->compute_s += seconds;
    walker->now_s += seconds;
}

/* ---- collectives ---- */

/* Where the ranks of this rank's group along `axes` lie: ranks fill nodes in the mesh's order. */
static Spread spread_of(Walker *walker, TsAxisSet axes)
{
    Spread *spread = &walker->spread[axes];
    const TsMesh *mesh = walker->program->options.mesh;
    if (spread->known)
        return *spread;
    *spread = (Spread){.known = true, .size = 1};
    int coord[TS_AXES] = {0}, last = -1;
    for (int axis = 1; axis < TS_AXES; axis++) {
        coord[axis] = mesh ? ts_mesh_coord(mesh, (TsAxis)axis) : 0;
        if (mesh && (axes & TS_AXIS_BIT(axis)))
            spread->size *= ts_mesh_size(mesh, (TsAxis)axis);
    }
    for (int member = 0; member < spread->size && mesh; member++) { /* their positions ascend */
        int rest = member, position = 0;
        for (int axis = TS_AXES - 1; axis > 0; axis--)
            if (axes & TS_AXIS_BIT(axis)) {
                coord[axis] = rest % ts_mesh_size(mesh, (TsAxis)axis);
                rest /= ts_mesh_size(mesh, (TsAxis)axis);
            }
        for (int axis = 1; axis < TS_AXES; axis++)
            position = position * ts_mesh_size(mesh, (TsAxis)axis) + coord[axis];
        int node = position / walker->machine->ranks_per_node;
        spread->nodes += node != last;
        last = node;
    }
    if (spread->nodes < 1)
        spread->nodes = 1;
    return *spread;
}

/* What one collective, or a bucket of them, takes. */
typedef struct Transfer {
    TsMoveKind kind;
    TsAxisSet axes;
    double whole_bytes, own_bytes, sent_bytes;
    double packed_bytes; /* copied before and behind it */
} Transfer;

static Transfer transfer_of(const Walker *walker, const TsAction *action)
{
    const TsProgram *program = walker->program;
    TsProgramStep step = program->schedule.step[action->step];
    const TsNode *node = &program->graph->node[step.node];
    Transfer transfer = {.kind = (TsMoveKind)(node->op - ts_move_op),
                         .axes = ((const TsMoveStep *)node->attributes)->axes,
                         .sent_bytes = ts_action_sent_bytes(action)};
    for (int32_t k = 0; k < step.members; k++) {
        double in = (double)ts_shape_elems(action->call.in[k].shape);
        double out = (double)ts_shape_elems(action->call.out[k].shape);
        double bytes = (double)ts_dtype_bytes(action->call.in[k].dtype);
        transfer.whole_bytes += fmax(in, out) * bytes;
        transfer.own_bytes += fmin(in, out) * bytes;
    }
    if (action->moves)
        transfer.packed_bytes =
            transfer.kind == TS_MOVE_ALL_REDUCE ? 2 * transfer.whole_bytes : transfer.whole_bytes + transfer.own_bytes;
    else if (ts_move_scratch_bytes(action->move))
        transfer.packed_bytes = transfer.whole_bytes;
    return transfer;
}

static double link_seconds(const TsMachineModel *machine, Spread spread, const Transfer *transfer, double *messages)
{
    double nodes = spread.nodes, members = (double)spread.size / nodes; /* of the group, on a node */
    double rounds = transfer->kind == TS_MOVE_ALL_REDUCE ? 2 : 1;
    double share = transfer->whole_bytes / members / nodes; /* one message of a ring of nodes */
    if (transfer->kind == TS_MOVE_ALL_TO_ALL)
        share = transfer->whole_bytes / spread.size * members;
    double steps = rounds * (nodes - 1);
    *messages = steps * fmax(1, ceil(share / PIECE_BYTES));
    double latency_s = transfer->whole_bytes <= SMALL_BYTES ? ceil(log2(nodes)) * rounds : steps;
    return latency_s * machine->link.latency_s + steps * share * machine->ranks_per_node / machine->link.bandwidth;
}

static TsEstimateCollective *row_of_collective(TsEstimate *estimate, const Transfer *transfer, bool inside)
{
    for (int i = 0; i < estimate->collectives; i++)
        if (estimate->collective[i].kind == transfer->kind && estimate->collective[i].axes == transfer->axes)
            return &estimate->collective[i];
    TS_CHECK(estimate->collectives < TS_ESTIMATE_ROWS, "more than %d kinds of collectives", TS_ESTIMATE_ROWS);
    TsEstimateCollective *row = &estimate->collective[estimate->collectives++];
    *row = (TsEstimateCollective){.kind = transfer->kind, .axes = transfer->axes, .inside = inside};
    return row;
}

static void work_inside(Walker *walker, double seconds)
{
    walker->now_s += seconds;
    walker->estimate->inside_s += seconds;
}

static void begin_collective(Walker *walker, const TsAction *action)
{
    const TsMachineModel *machine = walker->machine;
    Transfer transfer = transfer_of(walker, action);
    Spread spread = spread_of(walker, transfer.axes);
    TsEstimateCollective *row = row_of_collective(walker->estimate, &transfer, spread.nodes == 1);
    row->calls++;
    row->bytes += transfer.sent_bytes;
    work_inside(walker, 2 * transfer.packed_bytes / machine->memory_bandwidth);
    if (spread.size > spread.nodes) { /* ranks of one node have their part in it */
        double seconds = machine->local.latency_s + transfer.whole_bytes / machine->local.bandwidth;
        work_inside(walker, seconds);
        row->seconds += spread.nodes == 1 ? seconds : 0;
    }
    walker->over_s[action->request] = walker->now_s;
    if (spread.nodes == 1)
        return;
    double messages = 0, seconds = link_seconds(machine, spread, &transfer, &messages);
    walker->link_free_s = fmax(walker->link_free_s, walker->now_s) + seconds;
    walker->over_s[action->request] = walker->link_free_s;
    walker->estimate->link_s += seconds;
    row->seconds += seconds;
    row->messages += messages;
}

static void end_collective(Walker *walker, const TsAction *action)
{
    double over_s = walker->over_s[action->request];
    if (over_s > walker->now_s) {
        walker->estimate->waiting_s += over_s - walker->now_s;
        walker->now_s = over_s;
    }
}

static void run_action(Walker *walker, const TsAction *action)
{
    if (action->kind == TS_STEP_BEGIN)
        begin_collective(walker, action);
    else if (action->kind == TS_STEP_END)
        end_collective(walker, action);
    else
        run_kernel(walker, action);
}

void ts_program_estimate(TsEstimate *estimate, const TsProgram *program, const TsMachineModel *machine)
{
    Walker *walker = ts_calloc(1, sizeof *walker);
    *walker = (Walker){.program = program,
                       .machine = machine,
                       .estimate = estimate,
                       .over_s = ts_calloc((size_t)program->requests + 1, sizeof *walker->over_s)};
    for (int32_t p = 0; p < program->pieces.pieces; p++)
        for (int run = 0; run < program->piece[p].runs; run++)
            for (int32_t a = program->piece[p].first_action; a < program->piece[p + 1].first_action; a++)
                if (!program->action[a].last || run + 1 == program->piece[p].runs)
                    run_action(walker, &program->action[a]);
    estimate->seconds += walker->now_s;
    ts_free(walker->over_s);
    ts_free(walker);
}
