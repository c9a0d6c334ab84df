/* SPDX-License-Identifier: Apache-2.0 */
#include "task/learner/learner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "model/binding.h"
#include "task/learner/learner_internal.h"

TsGradientName ts_learner_gradient_name(const char *path)
{
    TsGradientName name;
    snprintf(name.text, sizeof name.text, "gradient/%s", path);
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

static TsStatus compile_into(TsProgram **program, const TsLearner *learner, TsGraph *graph)
{
    TsCompileOptions options = {.mesh = learner->mesh,
                                .threads = learner->setting.threads,
                                .bucket_bytes = ts_learner_bucket_bytes(learner->setting.config),
                                .reproducible =
                                    ts_parameters_sharding(learner->setting.parameters)->virtual_shards > 0};
    return ts_program_compile(program, graph, options);
}

static TsStatus compile(TsLearner *learner, int program)
{
    TsGraph *graph = ts_graph_create();
    ts_learner_trace(graph, learner, program);
    TS_TRY(compile_into(&learner->programs[program], learner, graph));
    if (learner->setting.part != TS_LEARNER_FOLLOWS)
        return TS_OK;
    graph = ts_graph_create();
    ts_learner_trace_measure(graph, learner, program);
    return compile_into(&learner->measure, learner, graph);
}

/* Compiles for those who are active, and agrees on whether that went well. */
static TsStatus compile_together(TsLearner *learner, const bool *active)
{
    int rows = ts_parameters_count(learner->setting.parameters), users = learner->setting.user_count;
    memmove(learner->active, active, (size_t)users * sizeof *active);
    for (int i = 0; i < rows; i++) {
        learner->used[i] = false;
        for (int user = 0; user < users; user++)
            learner->used[i] |= active[user] && learner->uses[i * users + user];
    }
    ts_program_free(&learner->programs[0]);
    ts_program_free(&learner->measure);
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

/* The programs to all that they take. */
static void bind_programs(TsLearner *learner)
{
    for (int program = 0; program < program_count(learner); program++)
        bind_program(learner, learner->programs[program]);
    if (learner->measure)
        bind_program(learner, learner->measure);
}

static void create_scalar(TsLearner *learner, const char *name, TsDtype dtype)
{
    ts_batch_put(learner->scalars, name,
                 ts_array_create(learner->mesh, dtype, ts_scalar, ts_replicated, (TsArrayOptions){0}));
}

static void bind(TsLearner *learner)
{
    const TsMesh *mesh = learner->mesh;
    TsGroup *ranks = mesh ? ts_mesh_all(mesh) : NULL;
    TsArrayOptions reduced = {.shared = ranks && ts_group_size(ranks) > 1};
    const TsParameters *parameters = learner->setting.parameters;
    for (int group = 0; group < learner->groups.count; group++)
        create_scalar(learner, ts_learner_scalar("rate", group).text, TS_F32);
    for (int entry = 0; entry < learner->unfreezing.count; entry++)
        create_scalar(learner, ts_learner_scalar("gate", entry).text, TS_F32);
    if (learner->setting.part != TS_LEARNER_FOLLOWS) {
        create_scalar(learner, "limit", TS_F32);
        ts_learner_limit(learner, learner->setting.config->skip_above);
    }
    if (learner->setting.part == TS_LEARNER_LEADS)
        create_scalar(learner, "others", TS_F64);
    if (learner->setting.part == TS_LEARNER_FOLLOWS)
        create_scalar(learner, "factor", TS_F32);
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        const TsParameter *row = ts_parameters_at(parameters, i);
        if (!ts_learner_has(learner, i))
            continue;
        ts_batch_put(learner->gradients, ts_learner_gradient_name(row->path).text,
                     ts_array_create(mesh, row->dtype, row->shape,
                                     ts_learner_gradient_placement(row, learner->setting.in_parts), reduced));
        if (learner->family[i] == i)
            create_scalar(learner, ts_learner_scalar("step", i).text, TS_I64);
    }
    bind_programs(learner);
}

/* Which begin as the parameters are now. */
static TsStatus create_averages(TsLearner *learner)
{
    TsLearnerSetting *setting = &learner->setting;
    if (!setting->config->ema || setting->part == TS_LEARNER_FOLLOWS)
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

TsStatus ts_learner_create(TsLearner **learner, TsLearnerSetting setting)
{
    TsLearner *made = ts_calloc(1, sizeof *made);
    const TsParameters *const *users = setting.users;
    const bool *rows = setting.rows;
    size_t count = (size_t)ts_parameters_count(setting.parameters);
    setting.user_count = users ? setting.user_count : 1;
    setting.users = NULL;
    setting.rows = NULL;
    *made = (TsLearner){.setting = setting,
                        .mesh = ts_parameters_mesh(setting.parameters),
                        .rows = ts_calloc(count + 1, sizeof *made->rows),
                        .programs = ts_calloc((size_t)setting.user_count, sizeof *made->programs),
                        .gradients = ts_batch_create(),
                        .state = ts_batch_create(),
                        .scalars = ts_batch_create()};
    for (size_t i = 0; i < count; i++)
        made->rows[i] = !rows || rows[i];
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
    ts_program_free(&(*learner)->measure);
    ts_program_free(&(*learner)->weigh);
    ts_averages_free(&(*learner)->averages);
    ts_groups_free(&(*learner)->groups);
    ts_unfreezing_free(&(*learner)->unfreezing);
    ts_free((*learner)->uses);
    ts_free((*learner)->rows);
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

/* Each family's steps: those of its users, and those of all together. */
static void set_steps(TsLearner *learner, const int64_t *user_steps, int64_t together, int64_t step)
{
    const TsParameters *parameters = learner->setting.parameters;
    int users = learner->setting.user_count;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        if (learner->family[i] != i || !ts_learner_has(learner, i))
            continue;
        int64_t steps = together;
        for (int user = 0; user < users; user++)
            steps += learner->uses[i * users + user] ? user_steps[user] : 0;
        *(int64_t *)ts_batch_find(learner->scalars, ts_learner_scalar("step", i).text)->data =
            ts_unfreezing_steps(&learner->unfreezing, i, steps, step);
    }
}

/* What optimizers do on the host after a step that was not skipped. What can go wrong there is no user's fault. */
static void finish_step(TsLearner *learner, int program, int64_t step)
{
    for (int i = 0; i < ts_parameters_count(learner->setting.parameters); i++) {
        if (!ts_learner_updates(learner, i, program))
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

/* Rates, and what learns only from a step on. */
static void set_rates(TsLearner *learner, int64_t step, int64_t run_steps)
{
    for (int group = 0; group < learner->groups.count; group++)
        *(float *)ts_batch_find(learner->scalars, ts_learner_scalar("rate", group).text)->data =
            (float)ts_groups_rate(&learner->groups, group, step, run_steps);
    for (int entry = 0; entry < learner->unfreezing.count; entry++)
        *(float *)ts_batch_find(learner->scalars, ts_learner_scalar("gate", entry).text)->data =
            step >= learner->unfreezing.from[entry] ? 1 : 0;
}

/* Runs the program of that number. */
static void run(TsLearner *learner, int program, int64_t step, int64_t run_steps)
{
    set_rates(learner, step, run_steps);
    ts_program_run(learner->programs[program]);
    if (*(const float *)ts_batch_find(learner->scalars, "factor")->data != 0)
        finish_step(learner, program, step);
}

static TsLearnerReport report_of(const TsLearner *learner, int64_t step, int64_t run_steps)
{
    return (TsLearnerReport){.rate = ts_groups_rate(&learner->groups, 0, step, run_steps),
                             .gradient_norm = (double)*(float *)ts_batch_find(learner->scalars, "norm")->data,
                             .factor = (double)*(float *)ts_batch_find(learner->scalars, "factor")->data};
}

void ts_learner_limit(TsLearner *learner, double norm)
{
    *(float *)ts_batch_find(learner->scalars, "limit")->data = (float)norm;
}

TsLearnerReport ts_learner_step(TsLearner *learner, int user, const int64_t *user_steps, int64_t step,
                                int64_t run_steps)
{
    TS_CHECK(user >= 0 && user < learner->setting.user_count && !learner->setting.together, "user %d of %d", user,
             learner->setting.user_count);
    set_steps(learner, user_steps, 0, step);
    run(learner, user, step, run_steps);
    return report_of(learner, step, run_steps);
}

/* Compiles once more for who was active last. */
static TsStatus compile_again(TsLearner *learner, const bool *active)
{
    TsStatus status = compile_together(learner, active);
    if (learner->mesh)
        status = ts_comm_agree(ts_mesh_all(learner->mesh), status);
    if (!status)
        bind_programs(learner);
    return status;
}

TsStatus ts_learner_prepare(TsLearner *learner, const bool *active)
{
    size_t users = (size_t)learner->setting.user_count;
    return memcmp(learner->active, active, users * sizeof *active) == 0 ? TS_OK : compile_again(learner, active);
}

TsStatus ts_learner_keep(TsLearner *learner, const bool *rows)
{
    const TsParameters *parameters = learner->setting.parameters;
    for (int i = 0; i < ts_parameters_count(parameters); i++) {
        TsGradientName name = ts_learner_gradient_name(ts_parameters_at(parameters, i)->path);
        if (ts_learner_has(learner, i) && !rows[i])
            ts_batch_drop(learner->gradients, name.text);
        learner->rows[i] = rows[i];
    }
    ts_program_free(&learner->weigh);
    return compile_again(learner, learner->active);
}

TsStatus ts_learner_step_together(TsLearner *learner, TsLearnerReport *report, TsLearnerTurn turn)
{
    TS_TRY(ts_learner_prepare(learner, turn.active));
    set_steps(learner, turn.user_steps, turn.steps, turn.step);
    if (learner->setting.part == TS_LEARNER_LEADS)
        *(double *)ts_batch_find(learner->scalars, "others")->data = turn.others;
    run(learner, 0, turn.step, turn.run_steps);
    *report = report_of(learner, turn.step, turn.run_steps);
    return TS_OK;
}

double ts_learner_squares(TsLearner *learner, TsLearnerTurn turn)
{
    set_rates(learner, turn.step, turn.run_steps);
    ts_program_run(learner->measure);
    return *(const double *)ts_batch_find(learner->scalars, "squares")->data;
}

void ts_learner_follow(TsLearner *learner, double factor, TsLearnerTurn turn)
{
    set_steps(learner, turn.user_steps, turn.steps, turn.step);
    *(float *)ts_batch_find(learner->scalars, "factor")->data = (float)factor;
    run(learner, 0, turn.step, turn.run_steps);
}

double ts_learner_weight_norm(TsLearner *learner)
{
    if (!learner->weigh) {
        TsGraph *graph = ts_graph_create();
        TsCompileOptions options = {.mesh = learner->mesh, .threads = learner->setting.threads};
        ts_learner_trace_weights(graph, learner);
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
