/* SPDX-License-Identifier: Apache-2.0 */
#include "task/config.h"

#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/plugin.h"
#include "base/yaml.h"
#include "comm/collectives.h"
#include "task/task.h"

static const char *const precision_words[] = {"f32", "f64", NULL};
static const char *const recompute_words[] = {"nothing", "block", "everything", "auto", NULL};
static const char *const compute_words[] = {"auto", "bf16", NULL};
static const char *const mode_words[] = {"train_and_eval", "train", "eval", "continuous_eval", NULL};
static const char *const progress_words[] = {"auto", "line", "lines", NULL};
static const char *const numerics_words[] = {"fast", "reproducible", NULL};

/* Intervals of this floor count steps or time. */
static TsStatus check_interval(const char *name, TsInterval interval)
{
    if (interval.unit == TS_NEVER || interval.unit == TS_STEPS || interval.unit == TS_SECONDS)
        return TS_OK;
    return ts_status_error(TS_CODE_UNSUPPORTED, "%s: give steps or a time, as in \"100 steps\" or \"10 min\"", name);
}

static TsStatus check_run(const void *value)
{
    const TsRunConfig *run = value;
    if (run->virtual_shards & (run->virtual_shards - 1))
        return ts_status_error(TS_CODE_INVALID, "virtual_shards: %lld is not a power of two",
                               (long long)run->virtual_shards);
    if (run->compute == TS_COMPUTE_BF16 && run->precision != TS_PRECISION_F32)
        return ts_status_error(TS_CODE_INVALID, "compute: bf16 goes with precision f32");
    TS_TRY(check_interval("log", run->log));
    TS_TRY(check_interval("decode_every", run->decode_every));
    TS_TRY(check_interval("histograms", run->histograms));
    return check_interval("evaluate", run->evaluate);
}

static TsStatus check_checkpoint(const void *value)
{
    return check_interval("every", ((const TsCheckpointConfig *)value)->every);
}

static const TsKey run_keys[] = {
    TS_KEY_STRING(TsRunConfig, dir, "where the run is kept", .required = true, .range = TS_AT_LEAST(1)),
    TS_KEY_ENUM(TsRunConfig, mode, mode_words,
                "train without evaluations, or with them; evaluate the newest checkpoint, or each that another job "
                "commits, until that has ended",
                .fallback = "train_and_eval"),
    TS_KEY_INT(TsRunConfig, seed, "of initial weights, data order, dropout", .fallback = "1", .range = TS_AT_LEAST(0)),
    TS_KEY_INT(TsRunConfig, steps, "how long to train", .fallback = "1000", .range = TS_AT_LEAST(1), .unit = "steps"),
    {.name = "timeout",
     .kind = TS_KIND_SECONDS,
     .offset = TS_FIELD(TsRunConfig, timeout_s, double),
     .help = "continuous_eval ends where no new checkpoint came for so long",
     .fallback = "1 h",
     .range = TS_ABOVE(0)},
    {.name = "stop_before",
     .kind = TS_KIND_SECONDS,
     .offset = TS_FIELD(TsRunConfig, stop_before_s, double),
     .help = "the end of the job's time, SLURM_JOB_END_TIME in the environment, to save and to end; 0: not",
     .fallback = "2 min",
     .range = TS_AT_LEAST(0)},
    TS_KEY_INT(TsRunConfig, threads, "of each rank; auto shares the cores among the ranks of a node",
               .fallback = "auto", .takes_auto = true, .range = TS_BETWEEN(1, 1024)),
    TS_KEY_ENUM(TsRunConfig, precision, precision_words, "of parameters, gradients and losses", .fallback = "f32"),
    TS_KEY_ENUM(TsRunConfig, compute, compute_words,
                "what matrix products and activations are in: as parameters are, or bf16 with sums in f32, beside "
                "parameters of f32",
                .fallback = "auto"),
    TS_KEY_ENUM(TsRunConfig, numerics, numerics_words,
                "fast: the same bits again on the same mesh; reproducible: on any number of ranks along data that "
                "divides virtual_shards, with any number of threads",
                .fallback = "fast"),
    TS_KEY_INT(TsRunConfig, virtual_shards,
               "parts of a batch, a power of two, that are computed one by one and summed up in one fixed order where "
               "numerics are reproducible; they divide every batch",
               .fallback = "8", .range = TS_BETWEEN(1, 1 << 16)),
    TS_KEY_INTERVAL(TsRunConfig, log, "how often a progress line is printed", .fallback = "10 steps"),
    TS_KEY_INTERVAL(TsRunConfig, evaluate, "how often the tasks are evaluated, beside at the end",
                    .fallback = "100 steps"),
    TS_KEY_INTERVAL(TsRunConfig, decode_every,
                    "how often decode.prompts are continued, beside before the first step and at the end",
                    .fallback = "never"),
    TS_KEY_INTERVAL(TsRunConfig, histograms,
                    "how often TensorBoard gets histograms of parameters, and of the gradients of that step",
                    .fallback = "never"),
    TS_KEY_ENUM(TsRunConfig, progress, progress_words,
                "one line that is rewritten in place, or a line each time; auto: rewritten on a terminal, which mpirun "
                "hides from the ranks",
                .fallback = "auto"),
    TS_KEYS_END};
static const TsConfigTable run_table = {"run", "One training run.", sizeof(TsRunConfig), run_keys, check_run};

static TsStatus check_memory(const void *value)
{
    const TsMemoryConfig *memory = value;
    if ((memory->recompute == TS_RECOMPUTE_AUTO) == (memory->limit == TS_AUTO))
        return ts_status_error(TS_CODE_INVALID, memory->limit == TS_AUTO
                                                    ? "recompute: auto needs a limit, as in \"limit: 8 GiB\""
                                                    : "a limit is met by recompute: auto alone");
    return TS_OK;
}

static const TsKey memory_keys[] = {
    TS_KEY_ENUM(TsMemoryConfig, recompute, recompute_words,
                "what is computed again in the backward pass instead of being kept: what numbered layers compute from "
                "what they take, that and what stands outside of them, or as little as the limit takes",
                .fallback = "nothing"),
    TS_KEY_BYTES(TsMemoryConfig, limit, "of the activations of a rank, where recompute is auto", .fallback = "auto",
                 .takes_auto = true, .range = TS_AT_LEAST(1)),
    TS_KEYS_END};
static const TsConfigTable memory_table = {"memory", "Memory for time.", sizeof(TsMemoryConfig), memory_keys,
                                           check_memory};

#define AXIS(name, help) TS_KEY_INT(TsMeshConfig, name, help, .fallback = "1", .range = TS_AT_LEAST(1), .unit = "ranks")
static const TsKey mesh_keys[] = {
    AXIS(stage, "ranks along the layers"),
    TS_KEY_INT(TsMeshConfig, data, "ranks along the batch; auto is what the others leave", .fallback = "auto",
               .takes_auto = true, .range = TS_AT_LEAST(1), .unit = "ranks"),
    AXIS(expert, "ranks along experts"),
    AXIS(seq, "ranks along the sequence"),
    AXIS(model, "ranks along heads and widths"),
    TS_KEY_BOOL(TsMeshConfig, sequence_parallel, "between blocks the sequence is cut along model", .fallback = "false"),
    TS_KEYS_END};
static const TsConfigTable mesh_table = {"mesh", "How ranks are laid out; their product is the number of ranks.",
                                         sizeof(TsMeshConfig), mesh_keys, NULL};

static TsStatus check_keep(const void *value)
{
    const TsKeepConfig *keep = value;
    TS_TRY(check_interval("every", keep->every));
    if (keep->best > 0 && !keep->by)
        return ts_status_error(TS_CODE_INVALID, "best: %lld, but no metric is named by `by`", (long long)keep->best);
    return TS_OK;
}

static const TsKey keep_keys[] = {
    TS_KEY_INT(TsKeepConfig, latest, "so many of the newest; 0 keeps all", .fallback = "3",
               .range = TS_BETWEEN(0, 1000000)),
    TS_KEY_INTERVAL(TsKeepConfig, every, "those of a multiple of so many steps, or one in so much time",
                    .fallback = "never"),
    TS_KEY_SECONDS(TsKeepConfig, every_time, "one in so much time, where `every` counts steps; 0: none",
                   .fallback = "0", .range = TS_AT_LEAST(0)),
    TS_KEY_LIST(TsKeepConfig, steps, TS_ELEMENT(TS_KIND_INT), "those of these steps", .fallback = "[]"),
    TS_KEY_INT(TsKeepConfig, best, "so many of the best by a metric", .fallback = "0", .range = TS_BETWEEN(0, 1000000)),
    TS_KEY_STRING(TsKeepConfig, by, "the metric of `best`, TASK/METRIC as evaluation names it, or average/METRIC",
                  .range = TS_AT_LEAST(1)),
    TS_KEY_ENUM(TsKeepConfig, better, ts_better_words, "which values of it are better", .fallback = "lower"),
    TS_KEYS_END};
static const TsConfigTable keep_table = {
    "keep", "Which checkpoints stay: any of these rules keeps one. The newest stays, and those that another names.",
    sizeof(TsKeepConfig), keep_keys, check_keep};

static const TsKey checkpoint_keys[] = {
    TS_KEY_INTERVAL(TsCheckpointConfig, every, "how often, in steps or time", .fallback = "500 steps"),
    TS_KEY_SECONDS(TsCheckpointConfig, every_time, "and where the last save is so long ago; 0: no", .fallback = "0",
                   .range = TS_AT_LEAST(0)),
    TS_KEY_LIST(TsCheckpointConfig, steps, TS_ELEMENT(TS_KIND_INT), "and after these steps", .fallback = "[]"),
    TS_KEY_BOOL(TsCheckpointConfig, last, "and after the last step", .fallback = "true"),
    TS_KEY_BOOL(TsCheckpointConfig, on_stop, "and when a signal asks for the end, as before a preemption",
                .fallback = "true"),
    TS_KEY_STRUCT(TsCheckpointConfig, keep, &keep_table, "which stay"),
    TS_KEY_BOOL(TsCheckpointConfig, verify, "read back and compare checksums before committing", .fallback = "true"),
    TS_KEY_INT(TsCheckpointConfig, files, "ranks that write one file, where state.h5 is a view of all; 0: one for all",
               .fallback = "0", .range = TS_BETWEEN(0, 1000000), .unit = "ranks"),
    TS_KEY_BOOL(TsCheckpointConfig, asynchronous,
                "train on while it is written, from a copy in memory of what each rank writes", .fallback = "true"),
    TS_KEYS_END};
static const TsConfigTable checkpoint_table = {"checkpoint", "The state of the run on disk.",
                                               sizeof(TsCheckpointConfig), checkpoint_keys, check_checkpoint};

static const TsKey task_keys[] = {
    TS_KEY_CHOICE(TsTaskConfig, kind, &ts_task_kinds, "what kind of task", .flat = true, .required = true),
    TS_KEY_REAL(TsTaskConfig, weight, "how often it is drawn, beside the others", .fallback = "1",
                .range = TS_AT_LEAST(0)),
    TS_KEY_REAL(TsTaskConfig, loss_weight, "factor of its loss where it is drawn", .fallback = "1",
                .range = TS_AT_LEAST(0)),
    TS_KEY_CHOICE(TsTaskConfig, backbone, &ts_backbones, "another trunk than that of the job; left out: that one"),
    TS_KEY_LIST(TsTaskConfig, own, TS_ELEMENT(TS_KIND_STRING),
                "regular expressions: parameters of the backbone in whose path one is found are the task's own, the "
                "others are shared by path; left out: none, or all of a backbone of its own",
                .fallback = "[]"),
    TS_KEY_REAL(TsTaskConfig, evaluation_weight, "what its scores count in the average over tasks; 0: nothing",
                .fallback = "1", .range = TS_AT_LEAST(0)),
    TS_KEY_INT(TsTaskConfig, evaluation_batches, "an evaluation while training ends after so many; 0: with the data",
               .fallback = "0", .range = TS_AT_LEAST(0), .unit = "batches"),
    TS_KEY_LIST(TsTaskConfig, metrics, TS_ELEMENT(TS_KIND_STRING),
                "what its evaluation measures, beside losses; left out: all that fit"),
    TS_KEY_STRUCT(TsTaskConfig, objective, &ts_objective_table, "what is differentiated"),
    TS_KEY_OPTIONAL(TsTaskConfig, vn, &ts_vn_table, "noise of parameters while it is trained; left out: none"),
    TS_KEYS_END};
static const TsConfigTable task_table = {"task", "Something to learn.", sizeof(TsTaskConfig), task_keys, NULL};

static const TsKey trace_keys[] = {
    TS_KEY_STRING(TsTraceConfig, file, "where it is written; left out, nothing is recorded", .range = TS_AT_LEAST(1)),
    TS_KEY_INT(TsTraceConfig, from_step, "the first step that is recorded, counted from where the program begins",
               .fallback = "2", .range = TS_AT_LEAST(1)),
    TS_KEY_INT(TsTraceConfig, steps, "how many are recorded", .fallback = "3", .range = TS_BETWEEN(1, 1000),
               .unit = "steps"),
    TS_KEYS_END};
static const TsConfigTable trace_table = {
    "trace", "A timeline of some steps on every rank, in the Chrome trace format, which Perfetto opens.",
    sizeof(TsTraceConfig), trace_keys, NULL};

static const TsKey job_keys[] = {
    TS_KEY_LIST(TsJobConfig, plugins, TS_ELEMENT(TS_KIND_STRING),
                "shared libraries with tasks, adapters, backbones, optimizers, metrics and sources of data of your own",
                .fallback = "[]"),
    TS_KEY_STRUCT(TsJobConfig, run, &run_table, "the run"),
    TS_KEY_STRUCT(TsJobConfig, mesh, &mesh_table, "how ranks are laid out"),
    TS_KEY_CHOICE(TsJobConfig, backbone, &ts_backbones, "the trunk that tasks share", .fallback = "transformer"),
    TS_KEY_STRUCT(TsJobConfig, parameters, &ts_sharding_table, "how parameters lie on the mesh"),
    TS_KEY_STRUCT(TsJobConfig, memory, &memory_table, "what is kept of a forward pass, and what is computed again"),
    TS_KEY_STRUCT(TsJobConfig, fine_tune, &ts_fine_tune_table, "which part of a pre-trained backbone learns"),
    TS_KEY_STRUCT(TsJobConfig, learner, &ts_learner_table, "how parameters learn"),
    TS_KEY_STRUCT(TsJobConfig, guard, &ts_guard_table, "what happens when numbers go bad"),
    TS_KEY_MAP(TsJobConfig, tasks, TS_ELEMENT_STRUCT(&task_table), "what is learned, by name", .required = true,
               .range = TS_AT_LEAST(1)),
    TS_KEY_STRUCT(TsJobConfig, mixture, &ts_mixture_table, "which task is learned when"),
    TS_KEY_STRUCT(TsJobConfig, checkpoint, &checkpoint_table, "the state of the run on disk"),
    TS_KEY_OPTIONAL(TsJobConfig, early_stop, &ts_early_stop_table, "when it ends before run.steps; left out: never"),
    TS_KEY_OPTIONAL(TsJobConfig, init_from, &ts_init_from_table, "initial weights from elsewhere"),
    TS_KEY_STRUCT(TsJobConfig, decode, &ts_decode_table, "how text is continued"),
    TS_KEY_STRUCT(TsJobConfig, trace, &trace_table, "a timeline of some steps; on the command line also trace=FILE"),
    TS_KEY_STRUCT(TsJobConfig, cluster, &ts_cluster_table, "the machine that a plan is for"),
    TS_KEYS_END};
const TsConfigTable ts_job_table = {"job", "A job: what is learned, how, and where it is kept.", sizeof(TsJobConfig),
                                    job_keys, NULL};

/* ---- reading ---- */

/* Rank 0's bytes on every rank, with a NUL behind them: *bytes and *count are replaced. Owned by the caller. */
static void broadcast_bytes(char **bytes, int64_t *count, TsGroup *group)
{
    TsTransfer transfer = {.out = count, .in = count, .count_elems = 1, .dtype = TS_I64, .label = "config"};
    ts_broadcast(group, transfer, 0);
    int64_t words = (*count + 4) / 4; /* the NUL included */
    *bytes = ts_realloc(*bytes, (size_t)words * sizeof(int32_t));
    transfer = (TsTransfer){.out = *bytes, .in = *bytes, .count_elems = words, .dtype = TS_I32, .label = "config"};
    ts_broadcast(group, transfer, 0);
}

TsStatus ts_job_read(char **bytes, int64_t *count, TsGroup *group, const char *path, size_t most_bytes)
{
    size_t size_bytes = 0;
    bool reads = ts_group_rank(group) == 0;
    *bytes = NULL;
    TS_TRY(ts_comm_agree(group, reads ? ts_file_read(bytes, &size_bytes, path, most_bytes) : TS_OK));
    *count = (int64_t)size_bytes;
    broadcast_bytes(bytes, count, group);
    return TS_OK;
}

/* "trace=FILE" for "trace.file=FILE"; NULL for other words. Owned by the caller. */
static char *long_form(const char *word)
{
    const char *file = strncmp(word, "trace=", 6) == 0 ? word + 6 : NULL;
    return file && *file != '{' ? ts_format("trace.file=%s", file) : NULL;
}

/* An error, the same on all ranks, where a rank was started with other words than rank 0. */
static TsStatus check_words(TsGroup *group, const char *const *words, int count)
{
    TsText mine = {0};
    for (int i = 0; i < count; i++)
        ts_text_append(&mine, "%s%s", i ? " " : "", words[i]);
    char *first = ts_strdup(mine.data ? mine.data : "");
    int64_t length = (int64_t)strlen(first);
    broadcast_bytes(&first, &length, group);
    first[length] = 0;
    TsStatus status = TS_OK;
    if (strcmp(first, mine.data ? mine.data : "") != 0)
        status = ts_status_error(TS_CODE_INVALID,
                                 "rank %d was started with \"%s\", rank 0 with \"%s\": a job is one for "
                                 "all ranks",
                                 ts_group_rank(group), mine.data ? mine.data : "", first);
    ts_free(first);
    ts_text_free(&mine);
    return ts_comm_agree(group, status);
}

/* Loads what `plugins` names, since other keys may mean something only then. What is wrong with the sources themselves
 * is said when they are read again. */
static TsStatus load_plugins(TsConfigSources sources)
{
    TsPool *pool = ts_pool_create();
    const TsYaml *tree = NULL;
    TsStatus status = ts_config_merge(pool, &tree, sources);
    ts_status_free(&status);
    const TsYaml *list = tree ? ts_yaml_get(tree, "plugins") : NULL;
    for (int64_t i = 0; list && list->kind == TS_YAML_LIST && i < list->count && !status; i++)
        if (list->items[i]->kind == TS_YAML_SCALAR) {
            status = ts_plugin_load(list->items[i]->text);
            if (status) {
                TsStatus located = ts_yaml_error(list->items[i], "%s", ts_status_message(status));
                ts_status_free(&status);
                status = located;
            }
        }
    ts_pool_free(&pool);
    return status;
}

TsStatus ts_job_load(TsConfig **config, TsGroup *group, const char *const *words, int count)
{
    TsConfigText *texts = ts_calloc((size_t)count + 1, sizeof *texts);
    const char **overrides = ts_calloc((size_t)count + 1, sizeof *overrides);
    TsConfigSources sources = {.texts = texts, .overrides = overrides};
    char **longer = ts_calloc((size_t)count + 1, sizeof *longer);
    TsStatus status = TS_OK;
    *config = NULL;
    status = check_words(group, words, count);
    for (int i = 0; i < count && !status; i++) {
        char *bytes = NULL;
        int64_t bytes_count = 0;
        if (ts_config_is_override(words[i])) {
            longer[i] = long_form(words[i]);
            overrides[sources.override_count++] = longer[i] ? longer[i] : words[i];
            continue;
        }
        status = ts_job_read(&bytes, &bytes_count, group, words[i], TS_YAML_BYTES);
        if (!status)
            texts[sources.text_count++] = (TsConfigText){words[i], bytes, (size_t)bytes_count};
    }
    if (!status)
        status = ts_comm_agree(group, load_plugins(sources));
    if (!status)
        status = ts_comm_agree(group, ts_config_load(config, &ts_job_table, sources));
    for (int64_t i = 0; i < sources.text_count; i++)
        ts_free((char *)texts[i].bytes);
    for (int i = 0; i < count; i++)
        ts_free(longer[i]);
    ts_free(longer);
    ts_free(texts);
    ts_free(overrides);
    return status;
}

/* ---- what follows from it ---- */

TsStatus ts_job_mesh(TsMesh **mesh, TsGroup *group, const TsConfig *config)
{
    const TsJobConfig *job = ts_config_value(config);
    int64_t size[TS_AXES] = {
        [TS_AXIS_STAGE] = job->mesh.stage, [TS_AXIS_DATA] = job->mesh.data,   [TS_AXIS_EXPERT] = job->mesh.expert,
        [TS_AXIS_SEQ] = job->mesh.seq,     [TS_AXIS_MODEL] = job->mesh.model, [TS_AXIS_MICRO] = 1};
    int64_t ranks = ts_group_size(group), others = 1;
    *mesh = NULL;
    for (int axis = 1; axis < TS_AXES; axis++) {
        if (axis != TS_AXIS_DATA)
            others *= size[axis];
        if (size[axis] > ranks || others > ranks)
            return ts_config_error_at(config, "mesh", "%s: %lld, but there %s %lld rank%s", ts_axis_name((TsAxis)axis),
                                      (long long)size[axis], ranks == 1 ? "is" : "are", (long long)ranks,
                                      ranks == 1 ? "" : "s");
    }
    if (size[TS_AXIS_DATA] == TS_AUTO)
        size[TS_AXIS_DATA] = ranks / others;
    TsMeshShape shape = {0};
    for (int axis = 1; axis < TS_AXES; axis++)
        shape.size[axis] = (int)size[axis];
    TsStatus status = ts_mesh_create(mesh, group, shape);
    if (!status)
        return TS_OK;
    TsStatus located = ts_config_error_at(config, "mesh", "%s", ts_status_message(status));
    ts_status_free(&status);
    return located;
}

TsAxis ts_job_sequence(const TsJobConfig *job)
{
    return job->mesh.sequence_parallel ? TS_AXIS_MODEL : TS_AXIS_NONE;
}

TsStatus ts_job_micros(TsJobMicros *micros, const TsConfig *config, const TsMesh *mesh)
{
    const TsJobConfig *job = ts_config_value(config);
    int64_t ranks = ts_mesh_size(mesh, TS_AXIS_DATA), shards = job->run.virtual_shards;
    *micros = (TsJobMicros){.train = (int)job->learner.accumulate, .evaluation = 1};
    if (job->run.numerics == TS_NUMERICS_FAST)
        return TS_OK;
    if (shards % ranks)
        return ts_config_error(config, &job->run.virtual_shards, "%lld ranks along data do not divide them",
                               (long long)ranks);
    if (micros->train > shards / ranks)
        return ts_config_error(config, &job->learner.accumulate,
                               "where numerics are reproducible, a rank goes through run.virtual_shards / mesh.data = "
                               "%lld micro-batches: more of them take more virtual shards",
                               (long long)(shards / ranks));
    micros->train = micros->evaluation = (int)(shards / ranks);
    return TS_OK;
}

TsDtype ts_job_dtype(const TsJobConfig *job)
{
    return job->run.compute == TS_COMPUTE_BF16 ? TS_BF16 : job->run.precision == TS_PRECISION_F64 ? TS_F64 : TS_F32;
}

TsMemoryPolicy ts_job_memory(const TsJobConfig *job)
{
    return (TsMemoryPolicy){.recompute = job->memory.recompute,
                            .limit_bytes = job->memory.limit > 0 ? (size_t)job->memory.limit : 0};
}

int ts_job_threads(TsGroup *group, const TsJobConfig *job)
{
    TsMachine machine = ts_machine();
    bool narrower = false;
    int32_t threads = ts_machine_threads(&machine, job->run.threads, ts_group_node_size(group), &narrower);
    int32_t mine[] = {threads, narrower ? machine.allowed_cores : INT32_MAX}, least[2] = {0};
    ts_all_reduce(
        group,
        (TsTransfer){
            .out = least, .in = mine, .count_elems = 2, .dtype = TS_I32, .reduction = TS_MIN, .label = "threads"});
    if (least[1] != INT32_MAX && ts_group_rank(group) == 0) /* once, not from every rank */
        ts_log(TS_LOG_WARNING, "run.threads: %d threads share the %d core%s that a rank may use", least[0], least[1],
               least[1] == 1 ? "" : "s");
    return least[0];
}
