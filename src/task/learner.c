/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
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
    TS_KEY_LIST(TsLearnerConfig, freeze, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path one is found stay as they are", .fallback = "[]"),
    TS_KEY_LIST(TsLearnerConfig, only, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters in whose path none is found stay as they are; instead of freeze",
                .fallback = "[]"),
    TS_KEY_REAL(TsLearnerConfig, clip, "the largest global norm of a gradient; 0 is no clipping", .fallback = "1",
                .range = TS_AT_LEAST(0)),
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
    return TS_OK;
}

const TsConfigTable ts_learner_table = {"learner", "How parameters learn.", sizeof(TsLearnerConfig), keys,
                                        check_learner};

struct TsLearner {
    TsLearnerSetting setting; /* without `users` */
    const TsMesh *mesh;
    bool *uses;           /* (rows, users) */
    int *family;          /* (rows): the first row with the same users: they share their count of steps */
    TsProgram **programs; /* (users) */
    TsBatch *gradients;   /* inputs "gradient/PATH" */
    TsBatch *state;       /* "optimizer/mean/PATH", "optimizer/variance/PATH" */
    TsBatch *scalars;     /* inputs "rate", "step/FAMILY"; outputs "norm", "factor" */
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

typedef struct StepName {
    char text[32];
} StepName;

static StepName step_name(int family)
{
    StepName name;
    snprintf(name.text, sizeof name.text, "step/%d", family);
    return name;
}

static bool is_updated(const TsLearner *learner, int row, int user)
{
    return ts_parameters_at(learner->setting.parameters, row)->trainable &&
           learner->uses[row * learner->setting.user_count + user];
}

/* The update of what one user binds. */
static void trace(TsGraph *graph, const TsLearner *learner, int user)
{
    const TsLearnerConfig *config = learner->setting.config;
    const TsParameters *parameters = learner->setting.parameters;
    int count = ts_parameters_count(parameters);
    TsTensor *gradient = ts_calloc((size_t)count, sizeof *gradient), *step = ts_calloc((size_t)count, sizeof *step);
    int parts = ts_parameters_sharding(parameters)->virtual_shards; /* 0: sums of squares as they come */
    TsTensor squares = ts_constant(graph, TS_F32, parts ? ts_shape(parts) : ts_scalar, 0);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (!is_updated(learner, i, user))
            continue;
        ts_graph_set_path(graph, row->path);
        gradient[i] = ts_input(graph, ts_learner_gradient_name(row->path).text, row->dtype, row->shape, row->state);
        TsTensor own = parts ? ts_sum_squares_parts(gradient[i], row->dim, parts) : ts_sum_squares(gradient[i]);
        squares = ts_add(squares, ts_cast(own, TS_F32));
        if (learner->family[i] == i)
            step[i] = ts_input(graph, step_name(i).text, TS_I64, ts_scalar, ts_replicated);
    }
    ts_graph_set_path(graph, "learner");
    if (parts) /* each is whole on one rank; then they are summed up in one order */
        squares = ts_sum(ts_constrain(squares, ts_replicated), -1, false);
    TsTensor norm = ts_sqrt(squares);
    TsTensor factor = ts_clip_factor(norm, (TsClipFactor){.clip = config->clip, .skip_above = config->skip_above});
    TsTensor rate = ts_input(graph, "rate", TS_F32, ts_scalar, ts_replicated);
    for (int i = 0; i < count; i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        ts_graph_set_path(graph, row->path);
        if (is_updated(learner, i, user))
            trace_update(graph, config, row, gradient[i], rate, factor, step[learner->family[i]]);
    }
    ts_output("norm", norm, ts_replicated);
    ts_output("factor", factor, ts_replicated);
    ts_free(gradient);
    ts_free(step);
}

static bool same_users(const TsLearner *learner, int one, int other)
{
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

static TsStatus compile(TsLearner *learner)
{
    for (int user = 0; user < learner->setting.user_count; user++) {
        TsGraph *graph = ts_graph_create();
        trace(graph, learner, user);
        TsCompileOptions options = {.mesh = learner->mesh,
                                    .threads = learner->setting.threads,
                                    .bucket_bytes = ts_learner_bucket_bytes(learner->setting.config),
                                    .reproducible =
                                        ts_parameters_sharding(learner->setting.parameters)->virtual_shards > 0};
        TS_TRY(ts_program_compile(&learner->programs[user], graph, options));
    }
    return TS_OK;
}

static void bind(TsLearner *learner)
{
    const TsMesh *mesh = learner->mesh;
    TsGroup *group = mesh ? ts_mesh_all(mesh) : NULL;
    TsArrayOptions plain = {0}, reduced = {.shared = group && ts_group_size(group) > 1};
    const TsParameters *parameters = learner->setting.parameters;
    ts_batch_put(learner->scalars, "rate", ts_array_create(mesh, TS_F32, ts_scalar, ts_replicated, plain));
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (!row->trainable)
            continue;
        ts_batch_put(learner->gradients, ts_learner_gradient_name(row->path).text,
                     ts_array_create(mesh, row->dtype, row->shape, row->state, reduced));
        if (learner->family[i] == i)
            ts_batch_put(learner->scalars, step_name(i).text,
                         ts_array_create(mesh, TS_I64, ts_scalar, ts_replicated, plain));
    }
    for (int user = 0; user < learner->setting.user_count; user++) {
        TsProgram *program = learner->programs[user];
        ts_bind_batch(program, learner->setting.arrays);
        ts_bind_batch(program, learner->gradients);
        ts_bind_new(program, learner->state, TS_BIND_STATE, mesh);
        ts_bind_batch(program, learner->scalars);
        ts_bind_new(program, learner->scalars, TS_BIND_OUTPUT, mesh);
    }
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
    find_users(made, users);
    TsStatus status = learns_something(setting.parameters);
    if (!status)
        status = compile(made);
    if (made->mesh && ts_mesh_all(made->mesh))
        status = ts_comm_agree(ts_mesh_all(made->mesh), status);
    if (status)
        ts_learner_free(&made);
    else if (!made->mesh || ts_mesh_all(made->mesh)) /* else it is only described, and has no arrays */
        bind(made);
    *learner = made;
    return status;
}

void ts_learner_free(TsLearner **learner)
{
    if (!*learner)
        return;
    for (int user = 0; user < (*learner)->setting.user_count; user++)
        ts_program_free(&(*learner)->programs[user]);
    ts_free((*learner)->programs);
    ts_free((*learner)->uses);
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

/* Each family's steps: those of its users together. */
static void set_steps(TsLearner *learner, const int64_t *user_steps)
{
    const TsParameters *parameters = learner->setting.parameters;
    int users = learner->setting.user_count;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        if (learner->family[i] != i || !ts_parameters_at(parameters, i)->trainable)
            continue;
        int64_t steps = 0;
        for (int user = 0; user < users; user++)
            steps += learner->uses[i * users + user] ? user_steps[user] : 0;
        *(int64_t *)ts_batch_find(learner->scalars, step_name(i).text)->data = steps;
    }
}

TsLearnerReport ts_learner_step(TsLearner *learner, int user, const int64_t *user_steps, int64_t step,
                                int64_t run_steps)
{
    const TsLearnerConfig *config = learner->setting.config;
    const TsAdamwConfig *adamw = config->optimizer.value;
    TS_CHECK(user >= 0 && user < learner->setting.user_count, "user %d of %d", user, learner->setting.user_count);
    double rate = adamw->rate * ts_schedule_factor(config->schedule, step, run_steps);
    *(float *)ts_batch_find(learner->scalars, "rate")->data = (float)rate;
    set_steps(learner, user_steps);
    ts_program_run(learner->programs[user]);
    return (TsLearnerReport){.rate = rate,
                             .gradient_norm = (double)*(float *)ts_batch_find(learner->scalars, "norm")->data,
                             .factor = (double)*(float *)ts_batch_find(learner->scalars, "factor")->data};
}

void ts_learner_record(TsLearner *learner, TsTimeline *timeline)
{
    for (int user = 0; user < learner->setting.user_count; user++)
        ts_program_record(learner->programs[user], timeline);
}

const TsProgram *ts_learner_program(const TsLearner *learner, int user)
{
    return learner->programs[user];
}
