/* SPDX-License-Identifier: Apache-2.0 */
#include "task/step.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "model/binding.h"
#include "tensor/ops.h"

struct TsStep {
    TsProgram *program;
    TsBatch *arrays; /* inputs "step" and, to train, "loss_scale"; outputs "sum/NAME" and "weight/NAME" */
    TsBatch *given;  /* the other outputs, but for gradients */
    TsMetrics *metrics, *own_metrics;
    bool adds_losses; /* this rank's losses are parts, or it is the one that has them */
};

/* What a rank holds of a sum over the batch: a part of it, along the axes that cut the batch. */
static TsPlacement part_of_sum(void)
{
    return ts_partial(ts_replicated, ts_batch_axes());
}

static void name_output(char *text, size_t text_bytes, const char *what, const char *name)
{
    snprintf(text, text_bytes, "%s/%s", what, name);
}

static bool is_reproducible(const TsStepOptions *options)
{
    return ts_parameters_sharding(options->parameters)->virtual_shards > 0;
}

/* As parts on each rank, which are summed up when somebody asks; `whole`: in the order of the Program's other sums. */
static void output_losses(const TsLosses *losses, bool whole)
{
    TsPlacement placement = whole ? ts_replicated : part_of_sum();
    char name[128];
    for (int i = 0; i < losses->count; i++) {
        const TsLoss *loss = &losses->loss[i];
        name_output(name, sizeof name, "sum", loss->name);
        ts_output(name, loss->sum, placement);
        name_output(name, sizeof name, "weight", loss->name);
        ts_output(name, loss->weight, placement);
    }
}

static void give_gradient(TsGraph *graph, const TsParameter *row, TsTensor gradient, const TsStepOptions *options)
{
    TsGradientName name = ts_learner_gradient_name(row->path);
    bool added = options->added && ts_batch_find(options->added, name.text);
    TsStepGradients gradients = added ? TS_GRADIENTS_ADDED : options->gradients;
    TsPlacement placement = ts_learner_gradient_placement(row, gradients == TS_GRADIENTS_IN_PARTS);
    if (gradients == TS_GRADIENTS_GIVEN) {
        ts_output(name.text, gradient, placement);
        return;
    }
    TsTensor sum = ts_state(graph, name.text, row->dtype, row->shape, placement);
    ts_assign(sum, ts_add(sum, gradient));
}

/* d loss / d parameter for all parameters that the table marks as trainable, given out where the Learner wants them. */
static void output_gradients(TsGraph *graph, TsTensor loss, const TsStepOptions *options)
{
    int count = ts_parameters_count(options->parameters), trainable = 0;
    TsTensor *of = ts_calloc((size_t)count, sizeof *of), *gradient = ts_calloc((size_t)count, sizeof *gradient);
    const TsParameter **rows = ts_calloc((size_t)count, sizeof *rows);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(options->parameters, i);
        if (!row->trainable)
            continue;
        rows[trainable] = row;
        of[trainable++] = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement);
    }
    ts_gradients(gradient, loss, of, trainable);
    for (int i = 0; i < trainable; i++)
        give_gradient(graph, rows[i], gradient[i], options);
    ts_free(of);
    ts_free(gradient);
    ts_free(rows);
}

static TsLosses trace(TsGraph *graph, const TsTask *task, const TsBatch *batch, const TsStepOptions *options,
                      const TsVariation *variation)
{
    TsColumns columns = ts_columns_trace(graph, batch);
    TsAsides asides = {.layers = 0};
    TsScope scope = {.graph = graph,
                     .asides = &asides,
                     .variation = variation,
                     .parameters = options->parameters,
                     .dtype = options->dtype,
                     .training = options->learner != NULL,
                     .sequence = options->sequence,
                     .seed = options->seed,
                     .step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated)};
    TsTensor predictions = task->model->compute_predictions(scope, task->options, &columns);
    TsLosses losses = task->model->compute_loss(scope, task->options, predictions, &columns);
    ts_graph_set_path(graph, "loss");
    output_losses(&losses, is_reproducible(options));
    if (options->gives_out && task->kind->give_out)
        task->kind->give_out(scope, task, predictions, &columns);
    if (options->learner) {
        static const TsObjectiveConfig first = {.normalize = TS_NORMALIZE_TARGETS};
        TsTensor loss = ts_objective_trace(options->objective ? options->objective : &first, &losses, &columns);
        TsTensor scale = ts_input(graph, "loss_scale", TS_F64, ts_scalar, ts_replicated);
        output_gradients(graph, ts_mul(loss, ts_cast(scale, ts_dtype_of(loss))), options);
    }
    return losses;
}

/* Whether this rank is the first of those that share a batch. */
static bool is_first_of_batch(const TsMesh *mesh)
{
    bool first = true;
    for (int axis = 1; axis < TS_AXES && mesh; axis++)
        first &= !(ts_batch_axes() & TS_AXIS_BIT(axis)) || ts_mesh_coord(mesh, (TsAxis)axis) == 0;
    return first;
}

/* The micro-batches that a batch is cut into. */
static int micros_of(const TsBatch *batch)
{
    int micros = 1;
    for (int i = 0; i < ts_batch_count(batch); i++)
        if (ts_batch_array(batch, i)->micros > micros)
            micros = ts_batch_array(batch, i)->micros;
    return micros;
}

static TsMetrics *metrics_of(const TsLosses *losses)
{
    const char *names[TS_MAX_LOSSES];
    for (int i = 0; i < losses->count; i++)
        names[i] = losses->loss[i].name;
    return ts_metrics_create(names, losses->count);
}

TsMetrics *ts_step_metrics_of(const TsTask *task, const TsBatch *batch, TsStepOptions options)
{
    TsGraph *graph = ts_graph_create();
    TsLosses losses = trace(graph, task, batch, &options, NULL);
    ts_graph_free(&graph);
    return metrics_of(&losses);
}

TsStatus ts_step_create(TsStep **step, const TsTask *task, const TsBatch *batch, TsStepOptions options)
{
    const TsMesh *mesh = ts_parameters_mesh(options.parameters);
    TsGraph *graph = ts_graph_create();
    TsVariation variation = {.pattern = NULL};
    TsPattern *pattern = NULL;
    if (options.learner && options.vn) {
        TsStatus found = ts_objective_noise(&pattern, options.vn, options.parameters);
        if (found) {
            ts_graph_free(&graph);
            *step = NULL;
            return ts_status_annotate(found, "tasks.%s", task->name);
        }
        variation = (TsVariation){.pattern = pattern, .scale = options.vn->scale, .start_step = options.vn->start_step};
    }
    TsLosses losses = trace(graph, task, batch, &options, pattern ? &variation : NULL);
    ts_pattern_free(&pattern);
    TsProgram *program = NULL;
    TsArrayOptions slots = {.micros = micros_of(batch)};
    const TsShardingConfig *sharding = ts_parameters_sharding(options.parameters);
    bool scattered = sharding->shard == TS_SHARD_DATA || sharding->gradient_shard == TS_SHARD_DATA;
    TsCompileOptions compile = {.mesh = mesh,
                                .threads = options.threads,
                                .memory = options.memory,
                                .micros = slots.micros,
                                .scatter_first = scattered,
                                .reproducible = is_reproducible(&options),
                                .bucket_bytes = options.learner ? ts_learner_bucket_bytes(options.learner) : 0};
    TsStatus status = ts_program_compile(&program, graph, compile);
    *step = NULL;
    if (status)
        return ts_status_annotate(status, "task %s", task->name);

    TsStep *made = ts_calloc(1, sizeof *made);
    *made = (TsStep){.adds_losses = !is_reproducible(&options) || is_first_of_batch(mesh),
                     .program = program,
                     .arrays = ts_batch_create(),
                     .given = ts_batch_create()};
    made->own_metrics = options.metrics ? NULL : metrics_of(&losses);
    made->metrics = options.metrics ? options.metrics : made->own_metrics;
    ts_batch_put(made->arrays, "step", ts_array_create(mesh, TS_I64, ts_scalar, ts_replicated, (TsArrayOptions){0}));
    if (options.learner)
        ts_batch_put(made->arrays, "loss_scale",
                     ts_array_create(mesh, TS_F64, ts_scalar, ts_replicated, (TsArrayOptions){0}));
    for (int i = 0; i < ts_program_bindings(program); i++) {
        TsBinding binding = ts_program_binding(program, i);
        bool is_loss = strncmp(binding.name, "sum/", 4) == 0 || strncmp(binding.name, "weight/", 7) == 0;
        if (binding.kind == TS_BIND_OUTPUT && (is_loss || strncmp(binding.name, "gradient/", 9) != 0))
            ts_batch_put(is_loss ? made->arrays : made->given, binding.name,
                         ts_array_create(mesh, binding.dtype, binding.shape, binding.placement, slots));
    }
    ts_bind_batch(program, made->arrays);
    ts_bind_batch(program, made->given);
    ts_bind_batch(program, batch);
    *step = made;
    return TS_OK;
}

void ts_step_free(TsStep **step)
{
    if (!*step)
        return;
    ts_program_free(&(*step)->program);
    ts_batch_free(&(*step)->arrays);
    ts_batch_free(&(*step)->given);
    ts_metrics_free(&(*step)->own_metrics);
    ts_free(*step);
    *step = NULL;
}

void ts_step_bind(TsStep *step, const TsBatch *parameters, const TsBatch *gradients)
{
    ts_bind_batch(step->program, parameters);
    if (gradients)
        ts_bind_batch(step->program, gradients);
}

static double scalar_value(const TsArray *array)
{
    return array->dtype == TS_F64 ? *(double *)array->data : (double)*(float *)array->data;
}

void ts_step_run(TsStep *step, int64_t number, double loss_scale)
{
    TsArray *scale = ts_batch_find(step->arrays, "loss_scale");
    *(int64_t *)ts_batch_find(step->arrays, "step")->data = number;
    if (scale)
        *(double *)scale->data = loss_scale;
    ts_program_run(step->program);
    for (int i = 0; i < ts_metrics_count(step->metrics) && step->adds_losses; i++) {
        char sum[128], weight[128];
        name_output(sum, sizeof sum, "sum", ts_metrics_name(step->metrics, i));
        name_output(weight, sizeof weight, "weight", ts_metrics_name(step->metrics, i));
        ts_metrics_add(step->metrics, i, scalar_value(ts_batch_find(step->arrays, sum)),
                       scalar_value(ts_batch_find(step->arrays, weight)));
    }
}

TsMetrics *ts_step_metrics(const TsStep *step)
{
    return step->metrics;
}

void ts_step_record(TsStep *step, TsTimeline *timeline)
{
    ts_program_record(step->program, timeline);
}

const TsBatch *ts_step_given(const TsStep *step)
{
    return step->given;
}

const TsProgram *ts_step_program(const TsStep *step)
{
    return step->program;
}
