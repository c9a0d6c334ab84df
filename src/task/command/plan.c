/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "task/learner/learner.h"
#include "task/step.h"

static const double MIB = 1 << 20;

/* ---- the mesh ---- */

static int64_t axis_size(const TsMeshConfig *mesh, TsAxis axis)
{
    const int64_t size[TS_AXES] = {[TS_AXIS_STAGE] = mesh->stage,
                                   [TS_AXIS_DATA] = mesh->data,
                                   [TS_AXIS_EXPERT] = mesh->expert,
                                   [TS_AXIS_SEQ] = mesh->seq,
                                   [TS_AXIS_MODEL] = mesh->model};
    return size[axis];
}

int ts_plan_ranks(const TsConfig *config)
{
    const TsJobConfig *keys = ts_config_value(config);
    int64_t ranks = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        if (axis_size(&keys->mesh, (TsAxis)axis) > 1)
            ranks *= axis_size(&keys->mesh, (TsAxis)axis);
    if (keys->mesh.data == TS_AUTO && keys->cluster.nodes != TS_AUTO)
        ranks = keys->cluster.nodes * (keys->cluster.ranks_per_node == TS_AUTO ? 1 : keys->cluster.ranks_per_node);
    return ranks < INT32_MAX ? (int)ranks : INT32_MAX;
}

TsStatus ts_plan_mesh(TsMeshShape *mesh, const TsConfig *config, int ranks)
{
    const TsJobConfig *keys = ts_config_value(config);
    *mesh = (TsMeshShape){{0}};
    for (int axis = 1; axis < TS_AXES; axis++) {
        int64_t size = axis_size(&keys->mesh, (TsAxis)axis);
        mesh->size[axis] = size == TS_AUTO ? TS_MESH_AUTO : (int)size;
    }
    TsStatus status = ts_mesh_shape_check(mesh, ranks);
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(config, "mesh", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

/* ---- making ---- */

typedef struct Planner {
    TsPlan *plan;
    TsJob *job;
    TsMachineModel machine;
    TsLearner *learner;
    TsPlanVisitor visitor;
} Planner;

static void show(const Planner *planner, const TsProgram *program, const char *task, const char *what)
{
    if (!planner->visitor.visit)
        return;
    char *about = ts_format("task %s, %s", task, what);
    planner->visitor.visit(planner->visitor.context, about, program);
    ts_free(about);
}

static double block_bytes(const Planner *planner, const TsParameter *row, TsPlacement placement)
{
    TsBlockRange block = ts_placement_local(placement, row->shape, planner->job->mesh);
    return (double)ts_shape_elems(block.shape) * (double)ts_dtype_bytes(row->dtype);
}

static void count_parameters(Planner *planner)
{
    TsPlan *plan = planner->plan;
    const TsParameters *parameters = planner->job->parameters;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        plan->parameters += (double)ts_shape_elems(row->shape);
        plan->experts |= (ts_placement_axes(row->declared) & TS_AXIS_BIT(TS_AXIS_EXPERT)) != 0;
        plan->parameter_bytes += block_bytes(planner, row, row->placement);
        if (row->trainable)
            plan->gradient_bytes += block_bytes(planner, row, row->state);
    }
}

static bool has_binding(const TsProgram *program, const char *name)
{
    for (int i = 0; i < ts_program_bindings(program); i++)
        if (strcmp(ts_program_binding(program, i).name, name) == 0)
            return true;
    return false;
}

/* What the Learner's Programs keep: optimizer state and averages, each once. */
static void count_state(Planner *planner)
{
    for (int user = 0; user < planner->job->task_count; user++) {
        const TsProgram *program = ts_learner_program(planner->learner, user);
        for (int i = 0; i < ts_program_bindings(program); i++) {
            TsBinding binding = ts_program_binding(program, i);
            bool counted = binding.kind != TS_BIND_STATE;
            for (int earlier = 0; earlier < user && !counted; earlier++)
                counted = has_binding(ts_learner_program(planner->learner, earlier), binding.name);
            TsBlockRange block = ts_placement_local(binding.placement, binding.shape, planner->job->mesh);
            if (!counted)
                planner->plan->optimizer_bytes +=
                    (double)ts_shape_elems(block.shape) * (double)ts_dtype_bytes(binding.dtype);
        }
    }
}

/* Adds `share` of what `part` is. */
static void add_share(TsEstimate *sum, const TsEstimate *part, double share)
{
    sum->seconds += share * part->seconds;
    sum->compute_s += share * part->compute_s;
    sum->inside_s += share * part->inside_s;
    sum->waiting_s += share * part->waiting_s;
    sum->link_s += share * part->link_s;
    sum->flops += share * part->flops;
    sum->bytes += share * part->bytes;
    for (int i = 0; i < part->ops; i++) {
        int at = 0;
        while (at < sum->ops && strcmp(sum->op[at].name, part->op[i].name) != 0)
            at++;
        if (at == sum->ops)
            sum->op[sum->ops++] = (TsEstimateOp){.name = part->op[i].name};
        sum->op[at].calls += part->op[i].calls;
        sum->op[at].flops += share * part->op[i].flops;
        sum->op[at].bytes += share * part->op[i].bytes;
        sum->op[at].seconds += share * part->op[i].seconds;
    }
    for (int i = 0; i < part->collectives; i++) {
        const TsEstimateCollective *from = &part->collective[i];
        int at = 0;
        while (at < sum->collectives &&
               (sum->collective[at].kind != from->kind || sum->collective[at].axes != from->axes))
            at++;
        if (at == sum->collectives)
            sum->collective[sum->collectives++] =
                (TsEstimateCollective){.kind = from->kind, .axes = from->axes, .inside = from->inside};
        sum->collective[at].calls += from->calls;
        sum->collective[at].bytes += share * from->bytes;
        sum->collective[at].messages += share * from->messages;
        sum->collective[at].seconds += share * from->seconds;
    }
}

static double arena_of(const TsProgram *program)
{
    return (double)ts_program_arena_bytes(program) + (double)ts_program_constant_bytes(program);
}

/* The passes over the task's batches of each length, to train and to evaluate. `share` is how often it is drawn. */
static TsStatus plan_task(Planner *planner, int index, double share)
{
    TsJob *job = planner->job;
    const TsTask *task = job->tasks[index];
    TsEstimate *sum = ts_calloc(1, sizeof *sum);
    TsStatus status = TS_OK;
    for (int training = 1; training >= 0 && !status; training--) {
        TsLoader *loader = training ? task->train : task->validation;
        int lengths = loader ? ts_loader_lengths(loader) : 0;
        for (int k = 0; k < lengths && !status; k++) {
            TsStep *step = NULL;
            const TsBatch *batch = ts_loader_batch(loader, k);
            status = ts_step_create(&step, task, batch,
                                    (TsStepOptions){.parameters = job->own[index],
                                                    .sequence = ts_job_sequence(job->keys),
                                                    .learner = training ? &job->keys->learner : NULL,
                                                    .gives_out = !training,
                                                    .memory = training ? ts_job_memory(job->keys) : (TsMemoryPolicy){0},
                                                    .seed = (uint64_t)job->keys->run.seed,
                                                    .dtype = job->dtype,
                                                    .threads = job->threads});
            for (int i = 0; i < ts_batch_count(batch); i++)
                planner->plan->batch_bytes += (double)ts_array_local_bytes(ts_batch_array(batch, i));
            if (status)
                break;
            planner->plan->arena_bytes += arena_of(ts_step_program(step));
            char *what = ts_format("%s %s", training ? "training on" : "evaluating",
                                   ts_shape_text(ts_batch_array(batch, 0)->shape).text);
            show(planner, ts_step_program(step), task->name, what);
            ts_free(what);
            if (training) {
                memset(sum, 0, sizeof *sum);
                ts_program_estimate(sum, ts_step_program(step), &planner->machine);
                ts_program_estimate(sum, ts_learner_program(planner->learner, index), &planner->machine);
                add_share(&planner->plan->estimate, sum, share / lengths);
            }
            ts_step_free(&step);
        }
    }
    ts_free(sum);
    planner->plan->tokens += share * (double)task->tokens_a_batch;
    return status;
}

static TsStatus plan_all(Planner *planner)
{
    TsJob *job = planner->job;
    const TsTaskConfig *items = job->keys->tasks.items;
    double weights = 0;
    TsLearnerSetting setting = {.config = &job->keys->learner,
                                .parameters = job->parameters,
                                .users = (const TsParameters *const *)job->own,
                                .user_count = job->task_count,
                                .fine_tune = &job->keys->fine_tune,
                                .threads = job->threads};
    TS_TRY(ts_learner_create(&planner->learner, setting));
    for (int i = 0; i < job->task_count; i++) {
        planner->plan->arena_bytes += arena_of(ts_learner_program(planner->learner, i));
        show(planner, ts_learner_program(planner->learner, i), job->tasks[i]->name, "learning");
        weights += items[i].weight;
    }
    for (int i = 0; i < job->task_count; i++)
        TS_TRY(plan_task(planner, i, weights > 0 ? items[i].weight / weights : 0));
    return TS_OK;
}

TsStatus ts_plan_make(TsPlan **plan, TsGroup *self, const TsConfig *config, TsMeshShape mesh, TsPlanVisitor visitor)
{
    const TsJobConfig *keys = ts_config_value(config);
    TsPlan *made = ts_calloc(1, sizeof *made);
    Planner planner = {.plan = made, .visitor = visitor};
    made->mesh = mesh;
    made->ranks = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        made->ranks *= mesh.size[axis] > 1 ? mesh.size[axis] : 1;
    planner.machine = ts_cluster_model(&keys->cluster, made->ranks);
    made->ranks_per_node = planner.machine.ranks_per_node;
    made->nodes = (made->ranks + made->ranks_per_node - 1) / made->ranks_per_node;
    made->memory_bytes = (double)keys->cluster.memory;
    TsStatus status = ts_job_open(&planner.job, self, config, (TsJobOptions){.described = &mesh});
    if (!status) {
        count_parameters(&planner);
        status = plan_all(&planner);
    }
    if (!status)
        count_state(&planner);
    ts_learner_free(&planner.learner);
    ts_job_close(&planner.job);
    made->bytes =
        made->parameter_bytes + made->gradient_bytes + made->optimizer_bytes + made->arena_bytes + made->batch_bytes;
    made->node_bytes = made->bytes * made->ranks_per_node;
    made->flops = made->estimate.flops * made->ranks;
    if (status)
        ts_free(made);
    *plan = status ? NULL : made;
    return status;
}

/* ---- saying ---- */

bool ts_plan_fits(const TsPlan *plan)
{
    return plan->node_bytes <= plan->memory_bytes;
}

/* The time of ops whose flops, or whose bytes, are what they take. */
static double bound_seconds(const TsPlan *plan, bool flops)
{
    double seconds = 0;
    for (int i = 0; i < plan->estimate.ops; i++)
        seconds +=
            (plan->estimate.op[i].flops > plan->estimate.op[i].bytes) == flops ? plan->estimate.op[i].seconds : 0;
    return seconds;
}

const char *ts_plan_limit(const TsPlan *plan)
{
    const TsEstimate *estimate = &plan->estimate;
    double products = bound_seconds(plan, true), traffic = bound_seconds(plan, false);
    double most = fmax(fmax(products, traffic), fmax(estimate->waiting_s, estimate->inside_s));
    if (most == estimate->waiting_s && most > 0)
        return "links between nodes";
    if (most == estimate->inside_s && most > 0)
        return "collectives inside nodes";
    return most == products ? "flops" : "memory bandwidth";
}

static void describe_memory(const TsPlan *plan, TsText *text)
{
    ts_text_append(
        text, "memory a rank     %.1f MiB: parameters %.1f, gradients %.1f, optimizer %.1f, arena %.1f, batches %.1f\n",
        plan->bytes / MIB, plan->parameter_bytes / MIB, plan->gradient_bytes / MIB, plan->optimizer_bytes / MIB,
        plan->arena_bytes / MIB, plan->batch_bytes / MIB);
    ts_text_append(text, "memory a node     %.1f MiB of %.1f MiB: %s\n", plan->node_bytes / MIB,
                   plan->memory_bytes / MIB, ts_plan_fits(plan) ? "fits" : "does not fit");
}

static void describe_collectives(const TsPlan *plan, TsText *text)
{
    const TsEstimate *estimate = &plan->estimate;
    for (int i = 0; i < estimate->collectives; i++) {
        const TsEstimateCollective *row = &estimate->collective[i];
        ts_text_append(text, "%-17s %-16s %-16s %5lld calls  %.0f bytes  %.0f messages  %.4g s %s\n",
                       i ? "" : "sent by a rank", ts_move_op[row->kind].name, ts_axes_text(row->axes).text,
                       (long long)row->calls, row->bytes, row->messages, row->seconds,
                       row->inside ? "inside nodes" : "of links");
    }
}

static int by_seconds(const void *a, const void *b)
{
    const TsEstimateOp *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void describe_ops(const TsPlan *plan, TsText *text)
{
    enum { SHOWN = 6 };
    TsEstimateOp sorted[TS_ESTIMATE_ROWS];
    memcpy(sorted, plan->estimate.op, sizeof sorted);
    qsort(sorted, (size_t)plan->estimate.ops, sizeof *sorted, by_seconds);
    for (int i = 0; i < plan->estimate.ops && i < SHOWN; i++)
        ts_text_append(text, "%-17s %-20s %5lld calls  %.4g flops  %.4g bytes  %.4g s\n", i ? "" : "kernels",
                       sorted[i].name, (long long)sorted[i].calls, sorted[i].flops, sorted[i].bytes, sorted[i].seconds);
}

void ts_plan_describe(const TsPlan *plan, TsText *text)
{
    const TsEstimate *estimate = &plan->estimate;
    ts_text_append(text, "mesh              %s: %d rank%s, %d a node, %d node%s\n", ts_mesh_text(plan->mesh).text,
                   plan->ranks, plan->ranks == 1 ? "" : "s", plan->ranks_per_node, plan->nodes,
                   plan->nodes == 1 ? "" : "s");
    ts_text_append(text, "parameters        %.0f\n", plan->parameters);
    describe_memory(plan, text);
    ts_text_append(text, "flops a step      %.4g, of a rank %.4g\n", plan->flops, estimate->flops);
    describe_collectives(plan, text);
    describe_ops(plan, text);
    ts_text_append(text,
                   "step              %.4g s: kernels %.4g, inside nodes %.4g, waiting for links %.4g (busy %.4g)\n",
                   estimate->seconds, estimate->compute_s, estimate->inside_s, estimate->waiting_s, estimate->link_s);
    ts_text_append(text, "limited by        %s\n", ts_plan_limit(plan));
    if (plan->tokens > 0)
        ts_text_append(text, "tokens a second   %.4g\n", plan->tokens / estimate->seconds);
}

void ts_plan_line(const TsPlan *plan, const char *name, TsText *text)
{
    if (!plan) {
        ts_text_append(text, "%-44s %12s %14s %14s  %s\n", "mesh", "s a step", "tokens/s", "MiB a rank", "limited by");
        return;
    }
    ts_text_append(text, "%-44s %12.4g %14.4g %14.1f  %s%s\n", name, plan->estimate.seconds,
                   plan->tokens / plan->estimate.seconds, plan->bytes / MIB, ts_plan_limit(plan),
                   ts_plan_fits(plan) ? "" : "  (does not fit)");
}
