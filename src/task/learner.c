/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "model/binding.h"
#include "task/groups.h"
#include "task/unfreeze.h"
#include "tensor/ops.h"

/* ---- keys ---- */

static const TsKey group_keys[] = {
    TS_KEY_STRING(TsOptimizerGroup, parameters, "a regular expression: those in whose path it is found",
                  .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_CHOICE(TsOptimizerGroup, optimizer, &ts_optimizers, "how gradients become updates", .flat = true,
                  .required = true),
    TS_KEY_CHOICE(TsOptimizerGroup, schedule, &ts_schedules, "of the learning rate; left out: learner.schedule"),
    TS_KEYS_END};
static const TsConfigTable group_table = {"optimizer_group", "Another optimizer for some parameters.",
                                          sizeof(TsOptimizerGroup), group_keys, NULL};

static const TsKey ema_keys[] = {
    TS_KEY_REAL(TsEmaConfig, decay, "of the averages; at step t + 1 at most (1 + t) / (10 + t)", .fallback = "0.9999",
                .range = TS_FROM_TO(0, 1)),
    TS_KEY_BOOL(TsEmaConfig, evaluate, "evaluation and decoding use the averages instead of the parameters",
                .fallback = "false"),
    TS_KEYS_END};
static const TsConfigTable ema_table = {"ema", "Exponential moving averages of parameters, beside them.",
                                        sizeof(TsEmaConfig), ema_keys, NULL};

static const TsKey keys[] = {
    TS_KEY_CHOICE(TsLearnerConfig, optimizer, &ts_optimizers, "how gradients become updates", .fallback = "adamw"),
    TS_KEY_CHOICE(TsLearnerConfig, schedule, &ts_schedules, "of the learning rate", .fallback = "constant"),
    TS_KEY_MAP(TsLearnerConfig, optimizers, TS_ELEMENT_STRUCT(&group_table),
               "other optimizers by name, each for the parameters that it names", .fallback = "{}"),
    TS_KEY_LIST(TsLearnerConfig, freeze, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path one is found stay as they are", .fallback = "[]"),
    TS_KEY_LIST(TsLearnerConfig, only, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path none is found stay as they are; instead of freeze",
                .fallback = "[]"),
    TS_KEY_LIST(TsLearnerConfig, no_decay, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path one is found do not decay, as biases and norms never do",
                .fallback = "[]"),
    TS_KEY_OPTIONAL(TsLearnerConfig, ema, &ema_table, "averages of the parameters; left out: none"),
    TS_KEY_REAL(TsLearnerConfig, clip, "the largest global norm of a gradient; 0 is no clipping", .fallback = "1",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLearnerConfig, clip_each, "the largest norm of each parameter's gradient; instead of clip: 0",
                .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsLearnerConfig, skip_above, "a step with a larger norm of the gradient is skipped", .fallback = "inf",
                .takes_inf = true, .range = TS_ABOVE(0)),
    TS_KEY_INT(TsLearnerConfig, skip_limit, "so many skipped steps in a row end the run", .fallback = "20",
               .range = TS_AT_LEAST(1), .unit = "steps"),
    TS_KEY_INT(TsLearnerConfig, accumulate,
               "micro-batches that each rank cuts its part of a batch into, to go through them one after another: the "
               "same step with the activations of one",
               .fallback = "1", .range = TS_BETWEEN(1, 1 << 16), .unit = "micro-batches"),
    TS_KEY_BYTES(TsLearnerConfig, bucket,
                 "small gradients are reduced together up to this size, small parameters gathered; 0: each by itself",
                 .fallback = "4 MiB", .range = TS_BETWEEN(0, 1 << 30)),
    TS_KEYS_END};

static TsStatus check_learner(const void *value)
{
    const TsLearnerConfig *config = value;
    if (config->freeze.count && config->only.count)
        return ts_status_error(TS_CODE_INVALID,
                               "freeze says what stays as it is, only what does not: give one of them");
    if (config->clip > 0 && config->clip_each > 0)
        return ts_status_error(TS_CODE_INVALID, "clip is by the norm of the whole gradient, clip_each by that of each "
                                                "parameter: one of them must be 0");
    return TS_OK;
}

const TsConfigTable ts_learner_table = {"learner", "How parameters learn.", sizeof(TsLearnerConfig), keys,
                                        check_learner};

struct TsLearner {
    TsLearnerSetting setting; /* without `users` */
    const TsMesh *mesh;
    TsGroups groups;
    TsUnfreezing unfreezing;
    bool *uses;           /* (rows, users) */
    bool *used;           /* (rows) by those who learn together */
    bool *active;         /* (users) who learn together, as compiled; NULL: nothing is */
    int *family;          /* (rows): the first row with the same users and beginning: they share their count of steps */
    TsProgram **programs; /* (users), or the one of those who learn together */
    TsProgram *weigh;     /* gives "weights", the norm of the parameters; NULL until it is asked for */
    TsBatch *gradients;   /* inputs "gradient/PATH" */
    TsBatch *state;       /* "optimizer/WHAT/PATH", "average/PATH" */
    TsBatch *scalars;     /* inputs "rate/GROUP", "step/FAMILY", "gate/ENTRY"; outputs "norm", "factor", "weights" */
    TsAverages *averages; /* NULL: none */
};

TsGradientName ts_learner_gradient_name(const char *path)
{
    TsGradientName name;
    snprintf(name.text, sizeof name.text, "gradient/%s", path);
    return name;
}

typedef struct ScalarName {
    char text[32];
} ScalarName;

static ScalarName scalar_name(const char *what, int number)
{
    ScalarName name;
    snprintf(name.text, sizeof name.text, "%s/%d", what, number);
    return name;
}

TsPlacement ts_learner_gradient_placement(const TsParameter *row, bool in_parts)
{
    return in_parts ? ts_partial(row->placement, ts_batch_axes() & ~ts_placement_axes(row->placement)) : row->state;
}

static int program_count(const TsLearner *learner)
{
    return learner->setting.together ? 1 : learner->setting.user_count;
}

/* Whether the program of that number updates the row. */
static bool is_updated(const TsLearner *learner, int row, int program)
{
    bool used =
        learner->setting.together ? learner->used[row] : learner->uses[row * learner->setting.user_count + program];
    return used && ts_parameters_at(learner->setting.parameters, row)->trainable;
}

/* The sum of squares of a gradient: a scalar, or that of each of `parts` parts. */
static TsTensor squares_of(const TsParameter *row, TsTensor x, int parts)
{
    return ts_cast(parts ? ts_sum_squares_parts(x, row->dim, parts) : ts_sum_squares(x), TS_F32);
}

/* The norm of what these are the squares of. Parts are whole on one rank each, and then summed up in one order. */
static TsTensor norm_of(TsTensor squares, int parts)
{
    return ts_sqrt(parts ? ts_sum(ts_constrain(squares, ts_replicated), -1, false) : squares);
}

/* What a step of one user is made of, while it is traced; (rows). */
typedef struct Tracing {
    TsGraph *graph;
    const TsLearner *learner;
    int user, parts; /* 0: sums of squares as they come */
    TsTensor *gradient, *squares;
    TsTensor *gate;  /* (entries of unfreezing) 0 until they learn, then 1 */
    TsTensor factor; /* of all gradients */
} Tracing;

/* x, or nothing as long as the row does not learn yet. */
static TsTensor gated(Tracing *tracing, int row, TsTensor x)
{
    int entry = tracing->learner->unfreezing.of[row];
    if (entry < 0)
        return x;
    if (!tracing->gate[entry].graph)
        tracing->gate[entry] =
            ts_input(tracing->graph, scalar_name("gate", entry).text, TS_F32, ts_scalar, ts_replicated);
    return ts_mul(x, tracing->gate[entry]);
}

/* The norm of the whole gradient. */
static TsTensor trace_norm(Tracing *tracing)
{
    const TsLearner *learner = tracing->learner;
    int parts = tracing->parts;
    TsTensor sum = ts_constant(tracing->graph, TS_F32, parts ? ts_shape(parts) : ts_scalar, 0);
    for (int i = 0; i < ts_parameters_count(learner->setting.parameters); i++) {
        const TsParameter *row = ts_parameters_at(learner->setting.parameters, i);
        if (!is_updated(learner, i, tracing->user))
            continue;
        ts_graph_set_path(tracing->graph, row->path);
        TsTensor gradient = ts_input(tracing->graph, ts_learner_gradient_name(row->path).text, row->dtype, row->shape,
                                     ts_learner_gradient_placement(row, learner->setting.in_parts));
        tracing->gradient[i] = learner->setting.in_parts ? ts_constrain(gradient, row->state) : gradient;
        tracing->squares[i] = gated(tracing, i, squares_of(row, tracing->gradient[i], parts));
        sum = ts_add(sum, tracing->squares[i]);
    }
    ts_graph_set_path(tracing->graph, "learner");
    return norm_of(sum, parts);
}

/* One parameter's update, once the factor of all is known: by its optimizer, and then its average. */
static void trace_row(Tracing *tracing, int i, TsTensor rate, TsTensor step)
{
    const TsLearner *learner = tracing->learner;
    const TsLearnerConfig *config = learner->setting.config;
    const TsParameter *row = ts_parameters_at(learner->setting.parameters, i);
    TsGraph *graph = tracing->graph;
    ts_graph_set_path(graph, row->path);
    TsTensor factor = gated(tracing, i, tracing->factor); /* 0 changes nothing */
    if (config->clip_each > 0)
        factor = ts_mul(factor, ts_clip_factor(norm_of(tracing->squares[i], tracing->parts),
                                               (TsClipFactor){.clip = config->clip_each, .skip_above = INFINITY}));
    const TsChoice *choice = &learner->groups.optimizer[learner->groups.of[i]];
    TsUpdate update = {.graph = graph,
                       .row = row,
                       .options = choice->value,
                       .decay = learner->groups.decay[i],
                       .parameter = ts_parameter(graph, row->path, row->dtype, row->shape, row->placement),
                       .gradient = tracing->gradient[i],
                       .scalars = {.rate = rate, .factor = factor, .step = step},
                       .parts = tracing->parts};
    TsTensor fresh = ((const TsOptimizer *)choice->variant->extra)->trace(&update);
    ts_assign(update.parameter, fresh);
    if (config->ema) {
        TsTensor average = ts_state(graph, ts_average_name(row->path).text, row->dtype, row->shape, row->state);
        ts_assign(average,
                  ts_average(average, fresh, update.scalars, (TsOptimizerRuleOptions){.beta1 = config->ema->decay}));
    }
}

/* The update of what one user binds. */
static void trace(TsGraph *graph, const TsLearner *learner, int user)
{
    const TsLearnerConfig *config = learner->setting.config;
    const TsParameters *parameters = learner->setting.parameters;
    size_t count = (size_t)ts_parameters_count(parameters);
    Tracing tracing = {.graph = graph,
                       .learner = learner,
                       .user = user,
                       .parts = ts_parameters_sharding(parameters)->virtual_shards,
                       .gradient = ts_calloc(count, sizeof(TsTensor)),
                       .squares = ts_calloc(count, sizeof(TsTensor)),
                       .gate = ts_calloc((size_t)learner->unfreezing.count + 1, sizeof(TsTensor))};
    TsTensor *step = ts_calloc(count, sizeof *step);
    TsTensor *rate = ts_calloc((size_t)learner->groups.count, sizeof *rate);
    TsTensor norm = trace_norm(&tracing);
    tracing.factor = ts_clip_factor(norm, (TsClipFactor){.clip = config->clip, .skip_above = config->skip_above});
    for (int i = 0; i < (int)count; i++) {
        if (!is_updated(learner, i, user))
            continue;
        int family = learner->family[i], group = learner->groups.of[i];
        if (family == i)
            step[i] = ts_input(graph, scalar_name("step", i).text, TS_I64, ts_scalar, ts_replicated);
        if (!rate[group].graph)
            rate[group] = ts_input(graph, scalar_name("rate", group).text, TS_F32, ts_scalar, ts_replicated);
        trace_row(&tracing, i, rate[group], step[family]);
    }
    ts_output("norm", norm, ts_replicated);
    ts_output("factor", tracing.factor, ts_replicated);
    ts_free(tracing.gradient);
    ts_free(tracing.squares);
    ts_free(tracing.gate);
    ts_free(step);
    ts_free(rate);
}

static bool same_users(const TsLearner *learner, int one, int other)
{
    if (learner->unfreezing.of[one] != learner->unfreezing.of[other])
        return false;
    size_t users = (size_t)learner->setting.user_count;
    return memcmp(&learner->uses[(size_t)one * users], &learner->uses[(size_t)other * users], users) == 0;
}

/* Who binds what. */
static void find_users(TsLearner *learner, const TsParameters *const *users)
{
    const TsParameters *parameters = learner->setting.parameters;
    int rows = ts_parameters_count(parameters), user_count = learner->setting.user_count;
    learner->uses = ts_calloc((size_t)rows * (size_t)user_count + 1, sizeof *learner->uses);
    learner->family = ts_calloc((size_t)rows + 1, sizeof *learner->family);
    for (int i = 0; i < rows; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        for (int user = 0; user < user_count; user++)
            learner->uses[i * user_count + user] = !users || ts_parameters_find(users[user], row->path);
        bool found = false;
        for (int k = 0; k < i && !found; k++) {
            found = ts_parameters_at(parameters, k)->trainable && same_users(learner, k, i);
            learner->family[i] = k;
        }
        if (!found)
            learner->family[i] = i;
    }
}

static TsStatus compile(TsLearner *learner, int program)
{
    TsGraph *graph = ts_graph_create();
    trace(graph, learner, program);
    TsCompileOptions options = {.mesh = learner->mesh,
                                .threads = learner->setting.threads,
                                .bucket_bytes = ts_learner_bucket_bytes(learner->setting.config),
                                .reproducible =
                                    ts_parameters_sharding(learner->setting.parameters)->virtual_shards > 0};
    return ts_program_compile(&learner->programs[program], graph, options);
}

/* Compiles for those who are active, and agrees on whether that went well. */
static TsStatus compile_together(TsLearner *learner, const bool *active)
{
    int rows = ts_parameters_count(learner->setting.parameters), users = learner->setting.user_count;
    memcpy(learner->active, active, (size_t)users * sizeof *active);
    for (int i = 0; i < rows; i++) {
        learner->used[i] = false;
        for (int user = 0; user < users; user++)
            learner->used[i] |= active[user] && learner->uses[i * users + user];
    }
    ts_program_free(&learner->programs[0]);
    return compile(learner, 0);
}

static TsStatus compile_all(TsLearner *learner)
{
    size_t users = (size_t)learner->setting.user_count;
    if (learner->setting.together) {
        learner->used = ts_calloc((size_t)ts_parameters_count(learner->setting.parameters) + 1, sizeof *learner->used);
        learner->active = ts_calloc(users, sizeof *learner->active);
        bool *active = ts_calloc(users, sizeof *active);
        memset(active, true, users * sizeof *active);
        TsStatus status = compile_together(learner, active);
        ts_free(active);
        return status;
    }
    for (int program = 0; program < learner->setting.user_count; program++)
        TS_TRY(compile(learner, program));
    return TS_OK;
}

static void bind_program(TsLearner *learner, TsProgram *program)
{
    ts_bind_batch(program, learner->setting.arrays);
    ts_bind_batch(program, learner->gradients);
    ts_bind_new(program, learner->state, TS_BIND_STATE, learner->mesh);
    ts_bind_batch(program, learner->scalars);
    ts_bind_new(program, learner->scalars, TS_BIND_OUTPUT, learner->mesh);
}

static void bind(TsLearner *learner)
{
    const TsMesh *mesh = learner->mesh;
    TsGroup *ranks = mesh ? ts_mesh_all(mesh) : NULL;
    TsArrayOptions plain = {0}, reduced = {.shared = ranks && ts_group_size(ranks) > 1};
    const TsParameters *parameters = learner->setting.parameters;
    for (int group = 0; group < learner->groups.count; group++)
        ts_batch_put(learner->scalars, scalar_name("rate", group).text,
                     ts_array_create(mesh, TS_F32, ts_scalar, ts_replicated, plain));
    for (int entry = 0; entry < learner->unfreezing.count; entry++)
        ts_batch_put(learner->scalars, scalar_name("gate", entry).text,
                     ts_array_create(mesh, TS_F32, ts_scalar, ts_replicated, plain));
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (!row->trainable)
            continue;
        ts_batch_put(learner->gradients, ts_learner_gradient_name(row->path).text,
                     ts_array_create(mesh, row->dtype, row->shape,
                                     ts_learner_gradient_placement(row, learner->setting.in_parts), reduced));
        if (learner->family[i] == i)
            ts_batch_put(learner->scalars, scalar_name("step", i).text,
                         ts_array_create(mesh, TS_I64, ts_scalar, ts_replicated, plain));
    }
    for (int program = 0; program < program_count(learner); program++)
        bind_program(learner, learner->programs[program]);
}

/* Which begin as the parameters are now. */
static TsStatus create_averages(TsLearner *learner)
{
    TsLearnerSetting *setting = &learner->setting;
    if (!setting->config->ema)
        return TS_OK;
    TS_TRY(
        ts_averages_create(&learner->averages, setting->parameters, setting->arrays, learner->state, setting->threads));
    ts_averages_begin(learner->averages);
    return TS_OK;
}

static TsStatus learns_something(const TsParameters *parameters)
{
    int count = ts_parameters_count(parameters);
    for (int i = 0; i < count; i++)
        if (ts_parameters_at(parameters, i)->trainable)
            return TS_OK;
    return ts_status_error(TS_CODE_INVALID, "learner: nothing is learned: all %d parameters are frozen", count);
}

int64_t ts_learner_bucket_bytes(const TsLearnerConfig *config)
{
    return config->bucket ? config->bucket : -1;
}

TsStatus ts_learner_create(TsLearner **learner, TsLearnerSetting setting)
{
    TsLearner *made = ts_calloc(1, sizeof *made);
    const TsParameters *const *users = setting.users;
    setting.user_count = users ? setting.user_count : 1;
    setting.users = NULL;
    *made = (TsLearner){.setting = setting,
                        .mesh = ts_parameters_mesh(setting.parameters),
                        .programs = ts_calloc((size_t)setting.user_count, sizeof *made->programs),
                        .gradients = ts_batch_create(),
                        .state = ts_batch_create(),
                        .scalars = ts_batch_create()};
    TsStatus status = ts_unfreezing_create(&made->unfreezing, setting.fine_tune, setting.parameters);
    find_users(made, users);
    if (!status)
        status = learns_something(setting.parameters);
    if (!status)
        status = ts_groups_create(&made->groups, setting.config, setting.parameters);
    if (!status)
        status = compile_all(made);
    if (made->mesh && ts_mesh_all(made->mesh))
        status = ts_comm_agree(ts_mesh_all(made->mesh), status);
    if (!status && (!made->mesh || ts_mesh_all(made->mesh))) { /* else it is only described, and has no arrays */
        bind(made);
        status = create_averages(made);
    }
    if (status)
        ts_learner_free(&made);
    *learner = made;
    return status;
}

void ts_learner_free(TsLearner **learner)
{
    if (!*learner)
        return;
    for (int program = 0; program < program_count(*learner); program++)
        ts_program_free(&(*learner)->programs[program]);
    ts_free((*learner)->programs);
    ts_program_free(&(*learner)->weigh);
    ts_averages_free(&(*learner)->averages);
    ts_groups_free(&(*learner)->groups);
    ts_unfreezing_free(&(*learner)->unfreezing);
    ts_free((*learner)->uses);
    ts_free((*learner)->used);
    ts_free((*learner)->active);
    ts_free((*learner)->family);
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

TsAverages *ts_learner_averages(const TsLearner *learner)
{
    return learner->averages;
}

double ts_learner_states(const TsLearnerConfig *config)
{
    const TsOptimizer *optimizer = config->optimizer.variant->extra;
    return optimizer->states(config->optimizer.value) + (config->ema ? 1 : 0);
}

/* Each family's steps: those of its users, and those of all together. */
static void set_steps(TsLearner *learner, const int64_t *user_steps, int64_t together, int64_t step)
{
    const TsParameters *parameters = learner->setting.parameters;
    int users = learner->setting.user_count;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        if (learner->family[i] != i || !ts_parameters_at(parameters, i)->trainable)
            continue;
        int64_t steps = together;
        for (int user = 0; user < users; user++)
            steps += learner->uses[i * users + user] ? user_steps[user] : 0;
        *(int64_t *)ts_batch_find(learner->scalars, scalar_name("step", i).text)->data =
            ts_unfreezing_steps(&learner->unfreezing, i, steps, step);
    }
}

/* What optimizers do on the host after a step that was not skipped. What can go wrong there is no user's fault. */
static void finish_step(TsLearner *learner, int program, int64_t step)
{
    for (int i = 0; i < ts_parameters_count(learner->setting.parameters); i++) {
        if (!is_updated(learner, i, program))
            continue;
        const TsChoice *choice = &learner->groups.optimizer[learner->groups.of[i]];
        const TsOptimizer *optimizer = choice->variant->extra;
        if (!optimizer->after)
            continue;
        TsStatus status = optimizer->after(
            &(TsAfterUpdate){ts_parameters_at(learner->setting.parameters, i), choice->value, learner->state, step});
        TS_CHECK(!status, "%s", ts_status_message(status));
    }
}

/* Runs the program of that number. */
static TsLearnerReport run(TsLearner *learner, int program, int64_t step, int64_t run_steps)
{
    for (int group = 0; group < learner->groups.count; group++)
        *(float *)ts_batch_find(learner->scalars, scalar_name("rate", group).text)->data =
            (float)ts_groups_rate(&learner->groups, group, step, run_steps);
    for (int entry = 0; entry < learner->unfreezing.count; entry++)
        *(float *)ts_batch_find(learner->scalars, scalar_name("gate", entry).text)->data =
            step >= learner->unfreezing.from[entry] ? 1 : 0;
    ts_program_run(learner->programs[program]);
    if (*(const float *)ts_batch_find(learner->scalars, "factor")->data != 0)
        finish_step(learner, program, step);
    return (TsLearnerReport){.rate = ts_groups_rate(&learner->groups, 0, step, run_steps),
                             .gradient_norm = (double)*(float *)ts_batch_find(learner->scalars, "norm")->data,
                             .factor = (double)*(float *)ts_batch_find(learner->scalars, "factor")->data};
}

TsLearnerReport ts_learner_step(TsLearner *learner, int user, const int64_t *user_steps, int64_t step,
                                int64_t run_steps)
{
    TS_CHECK(user >= 0 && user < learner->setting.user_count && !learner->setting.together, "user %d of %d", user,
             learner->setting.user_count);
    set_steps(learner, user_steps, 0, step);
    return run(learner, user, step, run_steps);
}

TsStatus ts_learner_step_together(TsLearner *learner, TsLearnerReport *report, const bool *active,
                                  const int64_t *user_steps, int64_t steps, int64_t step, int64_t run_steps)
{
    if (memcmp(learner->active, active, (size_t)learner->setting.user_count * sizeof *active) != 0) {
        TsStatus status = compile_together(learner, active);
        if (learner->mesh)
            status = ts_comm_agree(ts_mesh_all(learner->mesh), status);
        TS_TRY(status);
        bind_program(learner, learner->programs[0]);
    }
    set_steps(learner, user_steps, steps, step);
    *report = run(learner, 0, step, run_steps);
    return TS_OK;
}

static void trace_weights(TsGraph *graph, const TsParameters *parameters)
{
    TsTensor sum = ts_constant(graph, TS_F32, ts_scalar, 0);
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (row->trainable)
            sum =
                ts_add(sum, squares_of(row, ts_parameter(graph, row->path, row->dtype, row->shape, row->placement), 0));
    }
    ts_output("weights", ts_sqrt(sum), ts_replicated);
}

double ts_learner_weight_norm(TsLearner *learner)
{
    if (!learner->weigh) {
        TsGraph *graph = ts_graph_create();
        TsCompileOptions options = {.mesh = learner->mesh, .threads = learner->setting.threads};
        trace_weights(graph, learner->setting.parameters);
        TsStatus status = ts_program_compile(&learner->weigh, graph, options);
        TS_CHECK(!status, "%s", ts_status_message(status)); /* a scalar's arena */
        ts_bind_batch(learner->weigh, learner->setting.arrays);
        ts_bind_new(learner->weigh, learner->scalars, TS_BIND_OUTPUT, learner->mesh);
    }
    ts_program_run(learner->weigh);
    return (double)*(float *)ts_batch_find(learner->scalars, "weights")->data;
}

void ts_learner_record(TsLearner *learner, TsTimeline *timeline)
{
    for (int program = 0; program < program_count(learner); program++)
        ts_program_record(learner->programs[program], timeline);
}

const TsProgram *ts_learner_program(const TsLearner *learner, int user)
{
    return learner->programs[user];
}
