/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner.h"

#include <stdio.h>

#include "base/memory.h"
#include "model/binding.h"
#include "tensor/ops.h"

static const TsKey adamw_keys[] = {
    TS_KEY_REAL(TsAdamwConfig, rate, "the peak learning rate", .fallback = "3e-4", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsAdamwConfig, decay, "of weights, decoupled from the gradient", .fallback = "0.1",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsAdamwConfig, beta1, "decay of the mean of gradients", .fallback = "0.9", .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsAdamwConfig, beta2, "decay of the mean of their squares", .fallback = "0.99",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_REAL(TsAdamwConfig, epsilon, "added to the root of the mean of squares", .fallback = "1e-8",
                .range = TS_ABOVE(0)),
    TS_KEYS_END};

static const TsConfigTable adamw_table = {"adamw", "Adam with decoupled weight decay: Loshchilov and Hutter 2019.",
                                          sizeof(TsAdamwConfig), adamw_keys, NULL};

static const TsVariant optimizers[] = {{"adamw", "Adam with decoupled weight decay", &adamw_table, NULL}};
const TsVariants ts_optimizers = {"optimizer", optimizers, sizeof optimizers / sizeof *optimizers};

static const TsKey keys[] = {
    TS_KEY_CHOICE(TsLearnerConfig, optimizer, &ts_optimizers, "how gradients become updates", .fallback = "adamw"),
    TS_KEY_CHOICE(TsLearnerConfig, schedule, &ts_schedules, "of the learning rate", .fallback = "constant"),
    TS_KEY_REAL(TsLearnerConfig, clip, "the largest global norm of a gradient; 0 is no clipping", .fallback = "1",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLearnerConfig, skip_above, "a step with a larger norm of the gradient is skipped", .fallback = "inf",
                .takes_inf = true, .range = TS_ABOVE(0)),
    TS_KEY_INT(TsLearnerConfig, skip_limit, "so many skipped steps in a row end the run", .fallback = "20",
               .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEYS_END};

const TsConfigTable ts_learner_table = {"learner", "How parameters learn.", sizeof(TsLearnerConfig), keys, NULL};

struct TsLearner {
    const TsLearnerConfig *config;
    const TsMesh *mesh;
    TsProgram *program;
    TsBatch *gradients; /* inputs "gradient/PATH" */
    TsBatch *state;     /* "optimizer/mean/PATH", "optimizer/variance/PATH" */
    TsBatch *scalars;   /* inputs rate, step; outputs norm, factor */
};

TsGradientName ts_learner_gradient_name(const char *path)
{
    TsGradientName name;
    snprintf(name.text, sizeof name.text, "gradient/%s", path);
    return name;
}

static TsTensor state_of(TsGraph *graph, const TsParameter *row, const char *what)
{
    char name[256];
    snprintf(name, sizeof name, "optimizer/%s/%s", what, row->path);
    return ts_state(graph, name, row->dtype, row->shape, row->state);
}

/* One parameter's update, after `factor` is known. */
static void trace_update(TsGraph *graph, const TsLearnerConfig *config, const TsParameter *row, TsTensor gradient,
                         TsTensor rate, TsTensor factor, TsTensor step)
{
    const TsAdamwConfig *adamw = config->optimizer.value;
    TsAdamwIn in = {.parameter = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement),
                    .gradient = gradient,
                    .mean = state_of(graph, row, "mean"),
                    .variance = state_of(graph, row, "variance"),
                    .rate = rate,
                    .factor = factor,
                    .step = step};
    TsAdamwOut out = ts_adamw(in, (TsAdamw){.beta1 = adamw->beta1,
                                            .beta2 = adamw->beta2,
                                            .epsilon = adamw->epsilon,
                                            .decay = row->decays ? adamw->decay : 0});
    ts_assign(in.parameter, out.parameter);
    ts_assign(in.mean, out.mean);
    ts_assign(in.variance, out.variance);
}

static void trace(TsGraph *graph, const TsLearnerConfig *config, const TsParameters *parameters)
{
    int count = ts_parameters_count(parameters);
    TsTensor *gradient = ts_calloc((size_t)count, sizeof *gradient);
    TsTensor squares = ts_constant(graph, TS_F32, ts_scalar, 0);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (!row->trainable)
            continue;
        ts_graph_set_path(graph, row->path);
        gradient[i] = ts_input(graph, ts_learner_gradient_name(row->path).text, row->dtype, row->shape, row->state);
        squares = ts_add(squares, ts_cast(ts_sum_squares(gradient[i]), TS_F32));
    }
    ts_graph_set_path(graph, "learner");
    TsTensor norm = ts_sqrt(squares);
    TsTensor factor = ts_clip_factor(norm, (TsClipFactor){.clip = config->clip, .skip_above = config->skip_above});
    TsTensor rate = ts_input(graph, "rate", TS_F32, ts_scalar, ts_replicated);
    TsTensor step = ts_input(graph, "step", TS_I64, ts_scalar, ts_replicated);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        ts_graph_set_path(graph, row->path);
        if (row->trainable)
            trace_update(graph, config, row, gradient[i], rate, factor, step);
    }
    ts_output("norm", norm, ts_replicated);
    ts_output("factor", factor, ts_replicated);
    ts_free(gradient);
}

TsStatus ts_learner_create(TsLearner **learner, const TsLearnerConfig *config, const TsParameters *parameters,
                           const TsBatch *arrays, int threads)
{
    const TsMesh *mesh = ts_parameters_mesh(parameters);
    TsLearner *made = ts_calloc(1, sizeof *made);
    *made = (TsLearner){.config = config,
                        .mesh = mesh,
                        .gradients = ts_batch_create(),
                        .state = ts_batch_create(),
                        .scalars = ts_batch_create()};
    *learner = NULL;
    TsGraph *graph = ts_graph_create();
    trace(graph, config, parameters);
    TsGroup *group = mesh ? ts_mesh_all(mesh) : NULL;
    TsStatus status = ts_program_compile(&made->program, graph, (TsCompileOptions){.mesh = mesh, .threads = threads});
    if (group)
        status = ts_comm_agree(group, status);
    if (status) {
        ts_learner_free(&made);
        return status;
    }
    TsArrayOptions reduced = {.shared = group && ts_group_size(group) > 1};
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (row->trainable)
            ts_batch_put(made->gradients, ts_learner_gradient_name(row->path).text,
                         ts_array_create(mesh, row->dtype, row->shape, row->state, reduced));
    }
    ts_bind_batch(made->program, arrays);
    ts_bind_batch(made->program, made->gradients);
    ts_bind_new(made->program, made->state, TS_BIND_STATE, mesh);
    ts_batch_put(made->scalars, "rate", ts_array_create(mesh, TS_F32, ts_scalar, ts_replicated, (TsArrayOptions){0}));
    ts_batch_put(made->scalars, "step", ts_array_create(mesh, TS_I64, ts_scalar, ts_replicated, (TsArrayOptions){0}));
    ts_bind_batch(made->program, made->scalars);
    ts_bind_new(made->program, made->scalars, TS_BIND_OUTPUT, mesh);
    *learner = made;
    return TS_OK;
}

void ts_learner_free(TsLearner **learner)
{
    if (!*learner)
        return;
    ts_program_free(&(*learner)->program);
    ts_batch_free(&(*learner)->gradients);
    ts_batch_free(&(*learner)->state);
    ts_batch_free(&(*learner)->scalars);
    ts_free(*learner);
    *learner = NULL;
}

TsBatch *ts_learner_gradients(const TsLearner *learner)
{
    return learner->gradients;
}

TsBatch *ts_learner_state(const TsLearner *learner)
{
    return learner->state;
}

TsLearnerReport ts_learner_step(TsLearner *learner, int64_t step, int64_t run_steps)
{
    const TsAdamwConfig *adamw = learner->config->optimizer.value;
    double rate = adamw->rate * ts_schedule_factor(learner->config->schedule, step, run_steps);
    *(float *)ts_batch_find(learner->scalars, "rate")->data = (float)rate;
    *(int64_t *)ts_batch_find(learner->scalars, "step")->data = step;
    ts_program_run(learner->program);
    return (TsLearnerReport){.rate = rate,
                             .gradient_norm = (double)*(float *)ts_batch_find(learner->scalars, "norm")->data,
                             .factor = (double)*(float *)ts_batch_find(learner->scalars, "factor")->data};
}

void ts_learner_record(TsLearner *learner, TsTimeline *timeline)
{
    ts_program_record(learner->program, timeline);
}
