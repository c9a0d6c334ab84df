/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/apart.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "model/binding.h"
#include "task/learner/learner.h"
#include "tensor/kernels/gram.h"
#include "tensor/program.h"

/* A parameter that learns, and who binds it. */
typedef struct Row {
    const TsParameter *parameter;
    int *users; /* (count), rising */
    int count;
    TsArray **gradients; /* (count) where optimizer state lies */
    bool counts;         /* this rank is the first of those that hold the same block */
} Row;

struct TsApart {
    TsApartSetting setting; /* without `users` */
    const TsMesh *mesh;
    Row *rows; /* (row_count) */
    int row_count;
    TsBatch **gradients; /* (users) where optimizer state lies */
    TsBatch **parts;     /* (users) in parts; NULL: this rank never ran the task */
    TsBatch *nothing;    /* zeros in place of parts; NULL until they are needed */
    TsProgram **gather;  /* (users) in parts: "gradient/PATH" of parts to "sum/PATH" */
    const void **vectors;
    double *small, *room, *sums; /* (users, users), (ts_gram_room), (parts, users, users) */
    double *factor;              /* (users) */
};

/* ---- making ---- */

static bool is_first_holder(const TsMesh *mesh, const TsParameter *row)
{
    bool first = true;
    if (!mesh)
        return true;
    TsPlacement state = ts_placement_simplify(row->state, ts_mesh_shape(mesh));
    for (int axis = 1; axis < TS_AXES; axis++)
        if (!(ts_placement_axes(state) & TS_AXIS_BIT(axis)))
            first &= ts_mesh_coord(mesh, (TsAxis)axis) == (axis == state.at_axis ? state.at_coord : 0);
    return first;
}

static int find_users(int *users, const TsApartSetting *setting, const char *path)
{
    int count = 0;
    for (int user = 0; user < setting->user_count; user++)
        if (ts_parameters_find(setting->users[user], path))
            users[count++] = user;
    return count;
}

static TsArray *new_array(const TsApart *apart, const TsParameter *row, bool in_parts)
{
    return ts_array_create(apart->mesh, row->dtype, row->shape, ts_learner_gradient_placement(row, in_parts),
                           (TsArrayOptions){0});
}

static void find_rows(TsApart *apart, const TsApartSetting *setting)
{
    int count = ts_parameters_count(setting->parameters);
    apart->rows = ts_calloc((size_t)count + 1, sizeof *apart->rows);
    for (int i = 0; i < count; i++) {
        Row *row = &apart->rows[apart->row_count];
        row->parameter = ts_parameters_at(setting->parameters, i);
        if (!row->parameter->trainable || (setting->rows && !setting->rows[i]))
            continue;
        row->users = ts_calloc((size_t)setting->user_count, sizeof *row->users);
        row->gradients = ts_calloc((size_t)setting->user_count, sizeof(TsArray *));
        row->count = find_users(row->users, setting, row->parameter->path);
        row->counts = is_first_holder(apart->mesh, row->parameter);
        for (int k = 0; k < row->count; k++) {
            row->gradients[k] = new_array(apart, row->parameter, false);
            ts_batch_put(apart->gradients[row->users[k]], ts_learner_gradient_name(row->parameter->path).text,
                         row->gradients[k]);
        }
        apart->row_count++;
    }
}

static bool binds(const Row *row, int user)
{
    for (int k = 0; k < row->count; k++)
        if (row->users[k] == user)
            return true;
    return false;
}

/* Sums a task's parts over ranks, each cut on the way. */
static TsStatus compile_gather(TsApart *apart, int user)
{
    TsGraph *graph = ts_graph_create();
    char sum[256];
    for (int i = 0; i < apart->row_count; i++) {
        const TsParameter *row = apart->rows[i].parameter;
        if (!binds(&apart->rows[i], user))
            continue;
        ts_graph_set_path(graph, row->path);
        TsTensor parts = ts_input(graph, ts_learner_gradient_name(row->path).text, row->dtype, row->shape,
                                  ts_learner_gradient_placement(row, true));
        snprintf(sum, sizeof sum, "sum/%s", row->path);
        ts_output(sum, parts, row->state);
    }
    TS_TRY(ts_program_compile(&apart->gather[user], graph,
                              (TsCompileOptions){.mesh = apart->mesh, .threads = apart->setting.threads}));
    for (int i = 0; i < apart->row_count; i++) {
        const char *path = apart->rows[i].parameter->path;
        if (!binds(&apart->rows[i], user))
            continue;
        snprintf(sum, sizeof sum, "sum/%s", path);
        ts_program_bind(apart->gather[user], sum,
                        ts_batch_find(apart->gradients[user], ts_learner_gradient_name(path).text));
    }
    return TS_OK;
}

TsStatus ts_apart_create(TsApart **apart, TsApartSetting setting)
{
    size_t users = (size_t)setting.user_count;
    int segments = ts_parameters_sharding(setting.parameters)->virtual_shards;
    TsApart *made = ts_calloc(1, sizeof *made);
    *made = (TsApart){.setting = setting,
                      .mesh = ts_parameters_mesh(setting.parameters),
                      .gradients = ts_calloc(users, sizeof(TsBatch *)),
                      .parts = ts_calloc(users, sizeof(TsBatch *)),
                      .gather = ts_calloc(users, sizeof(TsProgram *)),
                      .vectors = ts_calloc(users, sizeof(void *)),
                      .small = ts_calloc(users * users, sizeof *made->small),
                      .room = ts_calloc((size_t)ts_gram_room(setting.user_count), sizeof *made->room),
                      .sums = ts_calloc((size_t)(segments ? segments : 1) * users * users, sizeof *made->sums),
                      .factor = ts_calloc(users, sizeof *made->factor)};
    for (size_t user = 0; user < users; user++)
        made->gradients[user] = ts_batch_create();
    find_rows(made, &setting);
    made->setting.users = NULL;
    TsStatus status = TS_OK;
    for (int user = 0; user < setting.user_count && setting.in_parts && !status; user++)
        status = compile_gather(made, user);
    if (made->mesh)
        status = ts_comm_agree(ts_mesh_all(made->mesh), status);
    if (status)
        ts_apart_free(&made);
    *apart = made;
    return status;
}

void ts_apart_free(TsApart **apart)
{
    TsApart *ended = *apart;
    if (!ended)
        return;
    for (int user = 0; user < ended->setting.user_count; user++) {
        ts_program_free(&ended->gather[user]);
        ts_batch_free(&ended->gradients[user]);
        ts_batch_free(&ended->parts[user]);
    }
    for (int i = 0; i < ended->row_count; i++) {
        ts_free(ended->rows[i].users);
        ts_free(ended->rows[i].gradients);
    }
    ts_batch_free(&ended->nothing);
    ts_free(ended->rows);
    ts_free(ended->gradients);
    ts_free(ended->parts);
    ts_free(ended->gather);
    ts_free(ended->vectors);
    ts_free(ended->small);
    ts_free(ended->room);
    ts_free(ended->sums);
    ts_free(ended->factor);
    ts_free(ended);
    *apart = NULL;
}

/* ---- a step ---- */

/* Zeros for the rows that `user` binds; for all, where that is negative. */
static TsBatch *new_parts(const TsApart *apart, int user)
{
    TsBatch *parts = ts_batch_create();
    for (int i = 0; i < apart->row_count; i++)
        if (user < 0 || binds(&apart->rows[i], user))
            ts_batch_put(parts, ts_learner_gradient_name(apart->rows[i].parameter->path).text,
                         new_array(apart, apart->rows[i].parameter, true));
    return parts;
}

TsBatch *ts_apart_gradients(TsApart *apart, int user)
{
    if (!apart->setting.in_parts)
        return apart->gradients[user];
    if (!apart->parts[user])
        apart->parts[user] = new_parts(apart, user);
    return apart->parts[user];
}

void ts_apart_begin(TsApart *apart)
{
    for (int user = 0; user < apart->setting.user_count; user++) {
        TsBatch *sums = apart->setting.in_parts ? apart->parts[user] : apart->gradients[user];
        for (int i = 0; sums && i < ts_batch_count(sums); i++) {
            TsArray *array = ts_batch_array(sums, i);
            if (ts_array_local_elems(array))
                memset(array->data, 0, ts_array_local_bytes(array));
        }
    }
}

void ts_apart_gather(TsApart *apart, const bool *active)
{
    for (int user = 0; user < apart->setting.user_count && apart->setting.in_parts; user++) {
        if (!active[user])
            continue;
        if (!apart->parts[user] && !apart->nothing)
            apart->nothing = new_parts(apart, -1);
        ts_bind_batch(apart->gather[user], apart->parts[user] ? apart->parts[user] : apart->nothing);
        ts_program_run(apart->gather[user]);
    }
}

/* Which of the row's users are active, as vectors: their number. */
static int collect(TsApart *apart, const Row *row, const bool *active, int *users)
{
    int count = 0;
    for (int k = 0; k < row->count; k++)
        if (active[row->users[k]]) {
            apart->vectors[count] = row->gradients[k]->data;
            users[count++] = row->users[k];
        }
    return count;
}

/* Adds the products of elements [first, first + elems) of the vectors to `sums` (users, users). */
static void add_products(TsApart *apart, double *sums, const int *users, int count, TsDtype dtype, int64_t first,
                         int64_t elems)
{
    const void *at[TS_MAX_APART];
    int all = apart->setting.user_count;
    for (int k = 0; k < count; k++)
        at[k] = (const char *)apart->vectors[k] + (size_t)first * ts_dtype_bytes(dtype);
    memset(apart->small, 0, (size_t)count * (size_t)count * sizeof *apart->small);
    ts_gram_kernels(dtype)->gram(apart->small, at, count, elems, apart->room, apart->setting.threads);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            sums[users[i] * all + users[j]] += apart->small[i * count + j];
}

/* The products of a row by fixed parts of the dim that it is cut on, so that sums do not depend on the cut. */
static void add_by_parts(TsApart *apart, const Row *row, const int *users, int count, int parts)
{
    const TsArray *array = row->gradients[0];
    int dim = row->parameter->dim, dims = array->shape.dims;
    size_t squares = (size_t)apart->setting.user_count * (size_t)apart->setting.user_count;
    int64_t size = dims ? array->shape.size[dim] : 1, middle = dims ? array->block.shape.size[dim] : 1;
    int64_t begin = dims ? array->block.first[dim] : 0, outer = 1, inner = 1;
    for (int d = 0; d < dims; d++) {
        outer *= d < dim ? array->block.shape.size[d] : 1;
        inner *= d > dim ? array->block.shape.size[d] : 1;
    }
    for (int part = 0; part < parts; part++) {
        int64_t first = size * part / parts - begin, last = size * (part + 1) / parts - begin;
        first = first > 0 ? first : 0;
        last = last < middle ? last : middle;
        for (int64_t o = 0; o < outer && last > first; o++)
            add_products(apart, apart->sums + (size_t)part * squares, users, count, array->dtype,
                         (o * middle + first) * inner, (last - first) * inner);
    }
}

void ts_apart_gram(TsApart *apart, double *gram, const bool *active)
{
    int users[TS_MAX_APART], all = apart->setting.user_count;
    int parts = ts_parameters_sharding(apart->setting.parameters)->virtual_shards;
    size_t squares = (size_t)all * (size_t)all, room = (size_t)(parts ? parts : 1) * squares;
    memset(apart->sums, 0, room * sizeof *apart->sums);
    for (int i = 0; i < apart->row_count; i++) {
        const Row *row = &apart->rows[i];
        int count = row->counts && row->count > 1 ? collect(apart, row, active, users) : 0;
        if (!count)
            continue;
        if (parts)
            add_by_parts(apart, row, users, count, parts);
        else
            add_products(apart, apart->sums, users, count, row->parameter->dtype, 0,
                         ts_array_local_elems(row->gradients[0]));
    }
    if (apart->mesh)
        ts_all_reduce(ts_mesh_all(apart->mesh), (TsTransfer){.out = apart->sums,
                                                             .in = apart->sums,
                                                             .count_elems = (int64_t)room,
                                                             .dtype = TS_F64,
                                                             .reduction = TS_SUM,
                                                             .label = "mixture/gram"});
    for (size_t k = 0; k < squares; k++) {
        gram[k] = 0;
        for (size_t part = 0; part < room / squares; part++)
            gram[k] += apart->sums[part * squares + k];
    }
}

void ts_apart_combine(TsApart *apart, TsBatch *gradients, const double *coefficient, const double *own,
                      const bool *active)
{
    int users[TS_MAX_APART];
    for (int i = 0; i < apart->row_count; i++) {
        const Row *row = &apart->rows[i];
        int count = collect(apart, row, active, users);
        if (!count)
            continue;
        for (int k = 0; k < count; k++)
            apart->factor[k] = row->count > 1 ? coefficient[users[k]] : own[users[k]];
        TsArray *sum = ts_batch_find(gradients, ts_learner_gradient_name(row->parameter->path).text);
        ts_gram_kernels(sum->dtype)
            ->combine(sum->data, apart->factor, apart->vectors, count, ts_array_local_elems(sum),
                      apart->setting.threads);
    }
}
