/* SPDX-License-Identifier: Apache-2.0 */
#include "task/mixture/own.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"
#include "tensor/kernels/gram.h"
#include "tensor/relocate.h"

/* What lies on one group: all NULL where nothing was cut yet. */
typedef struct Place {
    TsParameters *table; /* the job's, on the mesh of the group */
    TsLearner *learner;  /* NULL: nothing of what lies here learns */
    TsBatch *own;        /* the parameters that lie here, by path */
    TsBatch *arrays;     /* them, and what is shared, lent */
    int *task;           /* (gradients of the learner) whose it is */
} Place;

struct TsOwn {
    TsJob *job;
    TsLearner *leader;
    int rows;
    int *owner;   /* (rows) the only task that binds it, which learns; -1: it is shared */
    bool *shared; /* (rows) */
    TsBatch *none;
    Place place;
    bool gathered, with_state; /* all ranks have values: of the parameters, and of the state */
    TsTimeline *timeline;
};

/* ---- making ---- */

static int owner_of(const TsJob *job, const char *path)
{
    int owner = -1;
    for (int task = 0; task < job->task_count; task++)
        if (ts_parameters_find(job->own[task], path)) {
            if (owner >= 0)
                return -1;
            owner = task;
        }
    return owner >= 0 && job->tasks[owner]->train && !job->tasks[owner]->kind->solve ? owner : -1;
}

TsOwn *ts_own_create(TsJob *job)
{
    TsOwn *own = ts_calloc(1, sizeof *own);
    size_t rows = (size_t)ts_parameters_count(job->parameters);
    *own = (TsOwn){.job = job,
                   .rows = (int)rows,
                   .owner = ts_calloc(rows + 1, sizeof *own->owner),
                   .shared = ts_calloc(rows + 1, sizeof *own->shared),
                   .none = ts_batch_create()};
    for (int i = 0; i < own->rows; i++) {
        own->owner[i] = owner_of(job, ts_parameters_at(job->parameters, i)->path);
        own->shared[i] = own->owner[i] < 0;
    }
    return own;
}

void ts_own_lead(TsOwn *own, TsLearner *learner)
{
    own->leader = learner;
}

static void free_place(Place *place)
{
    ts_learner_free(&place->learner);
    ts_batch_free(&place->arrays);
    ts_batch_free(&place->own);
    ts_parameters_free(&place->table);
    ts_free(place->task);
    *place = (Place){.table = NULL};
}

void ts_own_free(TsOwn **own)
{
    TsOwn *ended = *own;
    if (!ended)
        return;
    free_place(&ended->place);
    ts_batch_free(&ended->none);
    ts_free(ended->owner);
    ts_free(ended->shared);
    ts_free(ended);
    *own = NULL;
}

const bool *ts_own_shared(const TsOwn *own)
{
    return own->shared;
}

int ts_own_home(const TsCut *cut, int task)
{
    return cut->group_of[task] >= 0 ? cut->group_of[task] : task % cut->groups;
}

/* ---- a cut ---- */

static TsStatus copy_table(TsParameters **table, const TsJob *job, const TsMesh *mesh)
{
    *table = ts_parameters_create(mesh);
    TS_TRY(ts_parameters_shard(*table, &job->sharding));
    for (int i = 0; i < ts_parameters_count(job->parameters); i++) {
        TsParameter row = *ts_parameters_at(job->parameters, i);
        row.placement = row.declared;
        TS_TRY(ts_parameters_declare(*table, row));
        if (!row.trainable)
            ts_parameters_freeze(*table, row.path);
    }
    return TS_OK;
}

/* The Learner of the rows that lie here; none where none of them learns. */
static TsStatus create_learner(Place *place, const TsOwn *own, const bool *here, const bool *active)
{
    const TsJob *job = own->job;
    int learn = 0;
    place->task = ts_calloc((size_t)own->rows + 1, sizeof *place->task);
    for (int i = 0; i < own->rows; i++)
        if (here[i] && ts_parameters_at(place->table, i)->trainable)
            place->task[learn++] = own->owner[i]; /* as the Learner puts gradients in */
    if (!learn)
        return TS_OK;
    TS_TRY(ts_learner_create(&place->learner, (TsLearnerSetting){.config = &job->keys->learner,
                                                                 .parameters = place->table,
                                                                 .arrays = place->own,
                                                                 .users = (const TsParameters *const *)job->own,
                                                                 .user_count = job->task_count,
                                                                 .fine_tune = &job->keys->fine_tune,
                                                                 .rows = here,
                                                                 .part = TS_LEARNER_FOLLOWS,
                                                                 .together = true,
                                                                 .threads = job->threads}));
    ts_learner_record(place->learner, own->timeline);
    return ts_learner_prepare(place->learner, active);
}

/* Makes what lies on this rank's group, without its values. */
static TsStatus make_place(Place *place, const TsOwn *own, const TsPartition *partition, const TsCut *cut,
                           const bool *active)
{
    const TsMesh *mesh = ts_partition_mesh(partition);
    int part = ts_partition_part(partition);
    *place = (Place){.own = ts_batch_create(), .arrays = ts_batch_create()};
    TS_TRY(copy_table(&place->table, own->job, mesh));
    bool *here = ts_calloc((size_t)own->rows + 1, sizeof *here);
    for (int i = 0; i < own->rows; i++) {
        const TsParameter *row = ts_parameters_at(place->table, i);
        here[i] = own->owner[i] >= 0 && ts_own_home(cut, own->owner[i]) == part;
        TsArray *array = ts_batch_find(own->job->arrays, row->path);
        if (here[i]) {
            array = ts_array_create(mesh, row->dtype, row->shape, row->placement, (TsArrayOptions){0});
            ts_batch_put(place->own, row->path, array);
        }
        if (here[i] || own->shared[i])
            ts_batch_lend(place->arrays, row->path, array);
    }
    TsStatus status = create_learner(place, own, here, active);
    ts_free(here);
    return status;
}

/* ---- what moves ---- */

/* The row that a name of the Learner's state ends in, "optimizer/mean/PATH"; -1: none that is own. */
static int own_row_of(const TsOwn *own, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < own->rows; i++) {
        const char *path = ts_parameters_at(own->job->parameters, i)->path;
        size_t tail = strlen(path);
        if (!own->shared[i] && length > tail && name[length - tail - 1] == '/' &&
            strcmp(name + length - tail, path) == 0)
            return i;
    }
    return -1;
}

/* All arrays of what is own: of the parameters, and then of the state; (count) each. On all ranks: of the job and of
 * the leading Learner, with values or without. Here: of a place. */
typedef struct Listing {
    TsArray **all;
    char **name;
    int parameters, count;
} Listing;

static Listing list_all(const TsOwn *own)
{
    TsBatch *state = ts_learner_state(own->leader);
    size_t room = (size_t)own->rows + (size_t)ts_batch_count(state) + 1;
    Listing list = {.all = ts_calloc(room, sizeof *list.all), .name = ts_calloc(room, sizeof *list.name)};
    for (int i = 0; i < own->rows; i++)
        if (!own->shared[i]) {
            const char *path = ts_parameters_at(own->job->parameters, i)->path;
            list.name[list.count] = ts_strdup(path);
            list.all[list.count++] = ts_batch_find(own->job->arrays, path);
        }
    list.parameters = list.count;
    for (int i = 0; i < ts_batch_count(state); i++)
        if (own_row_of(own, ts_batch_name(state, i)) >= 0) {
            list.name[list.count] = ts_strdup(ts_batch_name(state, i));
            list.all[list.count++] = ts_batch_array(state, i);
        }
    return list;
}

static void free_listing(Listing *list)
{
    for (int k = 0; k < list->count; k++)
        ts_free(list->name[k]);
    ts_free(list->name);
    ts_free(list->all);
}

/* What of the k-th lies at a place; NULL: it does not. */
static TsArray *array_at(const Place *place, const Listing *list, int k)
{
    if (k < list->parameters)
        return ts_batch_find(place->own, list->name[k]);
    return place->learner ? ts_batch_find(ts_learner_state(place->learner), list->name[k]) : NULL;
}

/* Of the first `count`: from one place to another; NULL is the arrays on all ranks. */
static void move(const TsOwn *own, const Place *from, const Place *to, const Listing *list, int count)
{
    TsRelocation *relocation = ts_calloc((size_t)count + 1, sizeof *relocation);
    for (int k = 0; k < count; k++)
        relocation[k] = (TsRelocation){.from = from ? array_at(from, list, k) : list->all[k],
                                       .to = to ? array_at(to, list, k) : list->all[k]};
    ts_relocate(own->job->group, relocation, count, "mixture/own");
    ts_free(relocation);
}

TsStatus ts_own_cut(TsOwn *own, const TsPartition *partition, const TsCut *cut, const bool *active)
{
    Place fresh;
    bool first = !own->place.table;
    TsStatus status = ts_comm_agree(own->job->group, make_place(&fresh, own, partition, cut, active));
    if (!status && first)
        status = ts_learner_keep(own->leader, own->shared);
    if (status) {
        free_place(&fresh);
        return status;
    }
    Listing list = list_all(own);
    move(own, first ? NULL : &own->place, &fresh, &list, list.count);
    for (int k = 0; k < list.count && first; k++)
        ts_array_drop_values(list.all[k]);
    free_listing(&list);
    free_place(&own->place);
    own->place = fresh;
    return TS_OK;
}

void ts_own_gather(TsOwn *own, bool state)
{
    if (!own->place.table || (own->gathered && own->with_state >= state))
        return;
    Listing list = list_all(own);
    own->gathered = true;
    own->with_state |= state;
    int count = state ? list.count : list.parameters;
    for (int k = 0; k < count; k++)
        ts_array_take_values(list.all[k]);
    move(own, &own->place, NULL, &list, count);
    free_listing(&list);
}

void ts_own_scatter(TsOwn *own)
{
    if (!own->place.table)
        return;
    TS_CHECK(own->gathered && own->with_state, "what is scattered was gathered");
    Listing list = list_all(own);
    move(own, NULL, &own->place, &list, list.count);
    free_listing(&list);
}

void ts_own_release(TsOwn *own)
{
    if (!own->gathered)
        return;
    Listing list = list_all(own);
    own->gathered = own->with_state = false;
    for (int k = 0; k < list.count; k++)
        ts_array_drop_values(list.all[k]);
    free_listing(&list);
}

/* ---- steps ---- */

const TsBatch *ts_own_arrays(const TsOwn *own)
{
    return own->place.arrays;
}

TsBatch *ts_own_gradients(const TsOwn *own)
{
    return own->place.learner ? ts_learner_gradients(own->place.learner) : own->none;
}

void ts_own_scale(TsOwn *own, const double *factor)
{
    TsBatch *gradients = ts_own_gradients(own);
    for (int i = 0; i < ts_batch_count(gradients); i++) {
        TsArray *array = ts_batch_array(gradients, i);
        const void *vectors[] = {array->data};
        if (factor[own->place.task[i]] != 1)
            ts_gram_kernels(array->dtype)
                ->combine(array->data, &factor[own->place.task[i]], vectors, 1, ts_array_local_elems(array),
                          own->job->threads);
    }
}

/* The sum over groups of what each has, the same on all its ranks. */
static double sum_over_groups(const TsOwn *own, double mine)
{
    double sum = 0;
    const TsMesh *mesh = own->place.table ? ts_parameters_mesh(own->place.table) : NULL;
    if (!mesh || ts_group_rank(ts_mesh_all(mesh)) != 0)
        mine = 0;
    ts_all_reduce(own->job->group, (TsTransfer){.out = &sum,
                                                .in = &mine,
                                                .count_elems = 1,
                                                .dtype = TS_F64,
                                                .reduction = TS_SUM,
                                                .label = "mixture/squares"});
    return sum;
}

double ts_own_squares(TsOwn *own, TsLearnerTurn turn)
{
    return sum_over_groups(own, own->place.learner ? ts_learner_squares(own->place.learner, turn) : 0);
}

void ts_own_follow(TsOwn *own, double factor, TsLearnerTurn turn)
{
    if (own->place.learner)
        ts_learner_follow(own->place.learner, factor, turn);
}

double ts_own_weight_squares(TsOwn *own)
{
    double norm = own->place.learner ? ts_learner_weight_norm(own->place.learner) : 0;
    return sum_over_groups(own, norm * norm);
}

void ts_own_record(TsOwn *own, TsTimeline *timeline)
{
    own->timeline = timeline;
    if (own->place.learner)
        ts_learner_record(own->place.learner, timeline);
}
