/* SPDX-License-Identifier: Apache-2.0 */
#include "task/job.h"

#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/transformer.h"
#include "task/run/fit.h"
#include "task/learner/freeze.h"

/* The trunk of a task: its own, or that of the job. */
static const TsChoice *backbone_of(const TsJob *job, int64_t index)
{
    const TsTaskConfig *task = (const TsTaskConfig *)job->keys->tasks.items + index;
    return task->backbone.variant ? &task->backbone : &job->keys->backbone;
}

/* How many tokens the task's tokenizer has. */
static TsStatus count_tokens(int64_t *tokens, const TsJob *job, int64_t index)
{
    const TsTaskConfig *task = (const TsTaskConfig *)job->keys->tasks.items + index;
    const TsTaskKind *kind = task->kind.variant->extra;
    TsTokenizer *tokenizer = NULL;
    const TsChoice *asked = &kind->data(task->kind.value)->tokenizer;
    TsStatus status = ts_comm_agree(job->group, ts_tokenizer_make(&tokenizer, *asked));
    if (status) {
        TsStatus located = ts_config_error(job->config, asked, "%s", ts_status_message(status));
        ts_status_free(&status);
        return located;
    }
    *tokens = ts_tokenizer_vocab(tokenizer);
    ts_tokenizer_free(&tokenizer);
    return TS_OK;
}

/* vocab (tasks): that of each one's trunk: as it is given, or that of the tokenizers of all tasks that have this trunk.
 * Collective. */
static TsStatus resolve_vocabs(int64_t *vocab, const TsJob *job)
{
    const TsMap *map = &job->keys->tasks;
    int64_t first = -1; /* task on the trunk of the job */
    for (int64_t i = 0; i < map->count; i++) {
        const TsChoice *choice = backbone_of(job, i);
        const TsTransformer *backbone = choice->value;
        int64_t needed = 0;
        TS_TRY(count_tokens(&needed, job, i));
        vocab[i] = backbone->vocab == TS_AUTO ? needed : backbone->vocab;
        if (vocab[i] < needed)
            return ts_config_error(job->config, &backbone->vocab, "fewer than the tokenizer of tasks.%s has: %lld",
                                   map->names[i], (long long)needed);
        if (choice != &job->keys->backbone)
            continue;
        if (first >= 0 && vocab[first] != vocab[i])
            return ts_config_error(job->config, backbone,
                                   "vocab: the tokenizers of tasks.%s and tasks.%s have %lld and %lld tokens: give "
                                   "them the same, or say backbone.vocab",
                                   map->names[first], map->names[i], (long long)vocab[first], (long long)vocab[i]);
        first = first < 0 ? i : first;
    }
    return TS_OK;
}

static TsStatus create_tasks(TsJob *job, TsJobOptions options)
{
    const TsMap *map = &job->keys->tasks;
    const TsTaskConfig *items = map->items;
    int64_t *vocab = ts_calloc((size_t)map->count, sizeof *vocab);
    char *prepared = ts_format("%s/prepared", job->keys->run.dir);
    TsStatus status = resolve_vocabs(vocab, job);
    job->tasks = ts_calloc((size_t)map->count, sizeof(TsTask *));
    for (int64_t i = 0; i < map->count && !status; i++) {
        bool left_out = options.files.count && options.only && strcmp(options.only, map->names[i]) != 0;
        TsTaskSetting setting = {.group = job->group,
                                 .mesh = job->mesh,
                                 .config = job->config,
                                 .metrics = &items[i].metrics,
                                 .backbone = backbone_of(job, i),
                                 .vocab = vocab[i],
                                 .name = map->names[i],
                                 .prepared_dir = prepared,
                                 .seed = (uint64_t)job->keys->run.seed,
                                 .without_data = options.without_data || left_out,
                                 .by_example = options.by_example,
                                 .kept = json_object_get(options.kept, map->names[i]),
                                 .train_micros = job->micros.train,
                                 .evaluation_micros = job->micros.evaluation};
        if (!left_out)
            setting.files = options.files;
        status = ts_task_create(&job->tasks[i], items[i].kind, setting);
        job->task_count += !status;
    }
    ts_free(prepared);
    ts_free(vocab);
    return status;
}

/* An error about a rule, with its file and line. */
static TsStatus locate_rule(const TsJob *job, TsStatus status)
{
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(job->config, "parameters.rules", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

TsStatus ts_job_fine_tune(TsParameters *parameters, const TsJob *job, int task)
{
    static const char *const everything[] = {"^backbone/"};
    static const TsList all = {.count = 1, .items = everything};
    const TsTaskConfig *keys = (const TsTaskConfig *)job->keys->tasks.items + task;
    bool own_trunk = keys->backbone.variant && keys->own.count == 0;
    TS_TRY(ts_parameters_own(parameters, own_trunk ? &all : &keys->own, job->tasks[task]->name));
    return ts_parameters_fine_tune(parameters, &job->keys->fine_tune, job->tasks[task]->name);
}

/* Traces a task's predictions once, which fills in its own table. */
static TsStatus declare_own(TsJob *job, int index)
{
    const TsTask *task = job->tasks[index];
    TsGraph *graph = ts_graph_create();
    job->own[index] = ts_parameters_create(job->mesh);
    TsStatus status = locate_rule(job, ts_parameters_shard(job->own[index], &job->sharding));
    if (!status)
        status = ts_job_fine_tune(job->own[index], job, index);
    TsScope scope = {.graph = graph, .parameters = job->own[index], .dtype = job->dtype, .step = TS_NONE};
    TsColumns columns = ts_columns_trace(graph, task->sample);
    task->model->compute_predictions(scope, task->options, &columns);
    if (!status)
        status = ts_graph_status(graph);
    ts_graph_free(&graph);
    const char *unfound = status ? NULL : ts_parameters_own_unfound(job->own[index]);
    if (unfound)
        status = ts_status_error(TS_CODE_INVALID, "own: \"%s\" is found in the path of no parameter of the backbone",
                                 unfound);
    return ts_status_annotate(status, "tasks.%s", task->name);
}

/* That `fine_tune.targets` was found. */
static TsStatus check_fine_tune(const TsJob *job)
{
    bool found = false, traced = false;
    for (int i = 0; i < job->task_count; i++) {
        traced |= job->own[i] != NULL;
        found |= job->own[i] && ts_fine_tune_found(ts_parameters_fine_tuning(job->own[i]));
    }
    return found || !traced ? TS_OK
                            : ts_config_error_at(job->config, "fine_tune.targets",
                                                 "\"%s\" is found in the path of no linear layer of the backbone",
                                                 job->keys->fine_tune.targets);
}

/* Fills the tables: what tasks share is declared once. */
static TsStatus declare_parameters(TsJob *job)
{
    job->parameters = ts_parameters_create(job->mesh);
    TS_TRY(locate_rule(job, ts_parameters_shard(job->parameters, &job->sharding)));
    job->own = ts_calloc((size_t)job->task_count, sizeof(TsParameters *));
    for (int i = 0; i < job->task_count; i++) {
        if (!job->tasks[i]->sample) /* without data it cannot be traced, and is not needed */
            continue;
        TS_TRY(declare_own(job, i));
        for (int k = 0; k < ts_parameters_count(job->own[i]); k++) {
            TsParameter row = *ts_parameters_at(job->own[i], k);
            const TsParameter *first = ts_parameters_find(job->parameters, row.path);
            row.placement = row.declared;
            if (first && backbone_of(job, i) != &job->keys->backbone)
                row.initializer = first->initializer; /* which may follow from the depth of a trunk */
            TS_TRY(ts_status_annotate(ts_parameters_declare(job->parameters, row), "tasks.%s", job->tasks[i]->name));
        }
    }
    TS_TRY(check_fine_tune(job));
    return locate_rule(job, ts_parameters_check_rules(job->parameters));
}

/* Layers cut nothing along these axes: their ranks all do the same. */
static void warn_of_idle_axes(const TsMesh *mesh)
{
    static const TsAxis idle[] = {TS_AXIS_STAGE, TS_AXIS_SEQ};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (ts_mesh_size(mesh, idle[i]) > 1)
            ts_log(TS_LOG_WARNING, "mesh.%s: no layer is cut along it; its %d ranks repeat each other's work",
                   ts_axis_name(idle[i]), ts_mesh_size(mesh, idle[i]));
}

/* That virtual shards are of one size: else what a kernel is given would depend on the mesh. */
static TsStatus check_batches(const TsJob *job)
{
    const TsRunConfig *run = &job->keys->run;
    for (int i = 0; i < job->task_count && run->numerics == TS_NUMERICS_REPRODUCIBLE; i++) {
        const TsTask *task = job->tasks[i];
        const TsLoader *loaders[] = {task->train, task->validation, task->test, task->train_in_order};
        for (size_t k = 0; k < sizeof loaders / sizeof *loaders; k++)
            if (loaders[k] && ts_loader_rows(loaders[k]) % run->virtual_shards) {
                char *key = ts_format("tasks.%s", task->name);
                TsStatus status = ts_config_error_at(
                    job->config, key, "a batch of %lld examples is not divided by the %lld of run.virtual_shards",
                    (long long)ts_loader_rows(loaders[k]), (long long)run->virtual_shards);
                ts_free(key);
                return status;
            }
    }
    return TS_OK;
}

static int last_rank(TsMeshShape shape)
{
    int ranks = 1;
    for (int axis = 1; axis < TS_AXES; axis++)
        ranks *= shape.size[axis] > 1 ? shape.size[axis] : 1;
    return ranks - 1;
}

TsStatus ts_job_open(TsJob **job, TsGroup *group, const TsConfig *config, TsJobOptions options)
{
    TsJob *made = ts_calloc(1, sizeof *made);
    *made = (TsJob){.group = group, .config = config, .keys = ts_config_value(config)};
    made->dtype = ts_job_dtype(made->keys);
    made->sharding = made->keys->parameters;
    if (made->keys->run.numerics == TS_NUMERICS_REPRODUCIBLE)
        made->sharding.virtual_shards = (int)made->keys->run.virtual_shards;
    made->threads = ts_job_threads(group, made->keys);
    TsStatus status = TS_OK;
    if (options.described)
        made->mesh = ts_mesh_describe(*options.described, last_rank(*options.described));
    else
        status = ts_job_mesh(&made->mesh, group, config);
    if (!status && ts_group_rank(group) == 0)
        warn_of_idle_axes(made->mesh);
    if (!status)
        status = ts_job_micros(&made->micros, config, made->mesh);
    if (!status)
        status = create_tasks(made, options);
    if (!status)
        status = check_batches(made);
    if (!status)
        status = declare_parameters(made);
    if (!status)
        status = ts_freeze(made, !options.without_data);
    if (!status && !options.described)
        status =
            ts_comm_agree(group, ts_fit_check(made->parameters, group,
                                              options.without_data ? -1 : ts_learner_states(&made->keys->learner)));
    if (!status && !options.described)
        made->arrays = ts_parameters_initialize(made->parameters, (uint64_t)made->keys->run.seed);
    if (status)
        ts_job_close(&made);
    *job = made;
    return status;
}

void ts_job_close(TsJob **job)
{
    if (!*job)
        return;
    for (int i = 0; i < (*job)->task_count; i++)
        ts_task_free(&(*job)->tasks[i]);
    ts_free((*job)->tasks);
    ts_batch_free(&(*job)->arrays);
    for (int i = 0; (*job)->own && i < (*job)->task_count; i++)
        ts_parameters_free(&(*job)->own[i]);
    ts_free((*job)->own);
    ts_parameters_free(&(*job)->parameters);
    ts_mesh_free(&(*job)->mesh);
    ts_free(*job);
    *job = NULL;
}

json_t *ts_job_keep(const TsJob *job)
{
    json_t *kept = json_object();
    for (int i = 0; i < job->task_count; i++)
        if (job->tasks[i]->kind->keep)
            json_object_set_new(kept, job->tasks[i]->name, job->tasks[i]->kind->keep(job->tasks[i]));
    return kept;
}

TsStatus ts_job_check_keep(const TsJob *job, const json_t *kept)
{
    TsStatus status = TS_OK;
    json_t *now = ts_job_keep(job);
    for (int i = 0; i < job->task_count && !status; i++) {
        const char *name = job->tasks[i]->name;
        const json_t *was = json_object_get(kept, name), *is = json_object_get(now, name);
        if (was && is && !json_equal(json_object_get(was, "classes"), json_object_get(is, "classes")))
            status = ts_status_error(TS_CODE_INVALID,
                                     "tasks.%s: the training data has %zu classes, and not those of the checkpoint "
                                     "(%zu): list them in classes to go on with other data",
                                     name, json_array_size(json_object_get(is, "classes")),
                                     json_array_size(json_object_get(was, "classes")));
    }
    json_decref(now);
    return status;
}

TsParameters *ts_job_parameters_of(const TsJob *job, const TsTask *task)
{
    for (int i = 0; i < job->task_count; i++)
        if (job->tasks[i] == task)
            return job->own[i];
    TS_CHECK(false, "tasks.%s is of another job", task->name);
    return NULL;
}

TsStatus ts_job_find_task(const TsTask **task, const TsJob *job, const char *name)
{
    const char **names = ts_calloc((size_t)job->task_count, sizeof *names);
    *task = NULL;
    for (int i = 0; i < job->task_count; i++) {
        names[i] = job->tasks[i]->name;
        if (strcmp(names[i], name) == 0)
            *task = job->tasks[i];
    }
    const char *nearest = ts_text_nearest(name, names, (size_t)job->task_count);
    TsStatus status = *task ? TS_OK
                      : nearest
                          ? ts_status_error(TS_CODE_NOT_FOUND, "there is no task %s; did you mean %s?", name, nearest)
                          : ts_status_error(TS_CODE_NOT_FOUND, "there is no task %s", name);
    ts_free(names);
    return status;
}

static TsBatch *lend_arrays(const TsJob *job, bool averages)
{
    TsBatch *lent = ts_batch_create();
    for (int i = 0; i < ts_batch_count(job->arrays); i++) {
        const char *path = ts_batch_name(job->arrays, i);
        if (!ts_fine_tune_learns(&job->keys->fine_tune, path))
            continue;
        bool average = averages && ts_parameters_find(job->parameters, path)->trainable;
        char *name = average ? ts_strdup(ts_average_name(path).text) : ts_format("parameters/%s", path);
        ts_batch_lend(lent, name, ts_batch_array(job->arrays, i));
        ts_free(name);
    }
    return lent;
}

TsBatch *ts_job_kept(const TsJob *job)
{
    return lend_arrays(job, false);
}

TsBatch *ts_job_evaluated(const TsJob *job)
{
    const TsEmaConfig *ema = job->keys->learner.ema;
    return lend_arrays(job, ema && ema->evaluate);
}
