/* SPDX-License-Identifier: Apache-2.0
 *
 * The beginning of a run: tasks, mixture and Learner are made, errors of the config are found, and what was saved is
 * gone on with. And its end, which gives all back.
 */
#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/version.h"
#include "comm/collectives.h"
#include "task/run/base.h"
#include "task/run/fit.h"
#include "task/run/run_record.h"
#include "task/run/training.h"

/* ---- what is made ---- */

static TsStatus create_evaluators(TsTraining *training)
{
    TsJob *job = training->job;
    const TsTaskConfig *keys = training->keys->tasks.items;
    training->evaluators = ts_calloc((size_t)job->task_count, sizeof(TsEvaluator *));
    for (int i = 0; i < job->task_count; i++) {
        if (!job->tasks[i]->validation || training->keys->run.mode == TS_MODE_TRAIN)
            continue;
        TS_TRY(ts_evaluator_create(&training->evaluators[i], job, job->tasks[i], job->tasks[i]->validation));
        ts_evaluator_limit(training->evaluators[i], keys[i].evaluation_batches);
        training->averaged_count += keys[i].evaluation_weight > 0;
    }
    return TS_OK;
}

/* Lends what a checkpoint holds: parameters, and the Learner's state. */
static void collect_kept(TsTraining *training)
{
    TsBatch *state = ts_learner_state(training->learner);
    training->kept = ts_job_kept(training->job);
    for (int i = 0; i < ts_batch_count(state); i++)
        ts_batch_lend(training->kept, ts_batch_name(state, i), ts_batch_array(state, i));
}

/* ---- what must hold ---- */

/* The names of what an evaluation will give, into names (owned by the caller); returns how many. The averages are found
 * as in an evaluation. */
static int list_metrics(const TsTraining *training, char ***names)
{
    int tasks = training->job->task_count, count = 0;
    const TsTaskConfig *keys = training->keys->tasks.items;
    TsScores *scores = ts_calloc((size_t)tasks + 1, sizeof *scores);
    double *weight = ts_calloc((size_t)tasks, sizeof *weight);
    *names = ts_calloc((size_t)(tasks + 1) * TS_MAX_SCORES, sizeof **names);
    for (int i = 0; i < tasks; i++) {
        const char *name[TS_MAX_SCORES];
        int given = training->evaluators[i] ? ts_evaluator_names(training->evaluators[i], name) : 0;
        for (int k = 0; k < given; k++)
            ts_scores_add(&scores[i], name[k], (TsWeightedScalar){0});
        weight[i] = given ? keys[i].evaluation_weight : 0;
    }
    if (training->averaged_count > 1)
        ts_scores_average(&scores[tasks], scores, weight, tasks);
    for (int i = 0; i <= tasks; i++)
        for (int k = 0; k < scores[i].count; k++)
            (*names)[count++] =
                ts_format("%s/%s", i < tasks ? training->job->tasks[i]->name : TS_AVERAGE, scores[i].score[k].name);
    ts_free(scores);
    ts_free(weight);
    return count;
}

/* That an evaluation gives the metric `by`, which `key` names; `all` of every task, if that means something there. */
static TsStatus expect_metric(const TsTraining *training, const char *key, const char *by, bool all)
{
    char **name;
    TsText names = {0};
    int count = list_metrics(training, &name);
    TsEarlyStopConfig stop = {.by = by};
    bool found = false;
    for (int i = 0; i < count; i++) {
        ts_text_append(&names, "%s%s", i ? ", " : "", name[i]);
        found |= all ? ts_early_stop_watches(&stop, name[i]) : strcmp(name[i], by) == 0;
        ts_free(name[i]);
    }
    ts_free(name);
    TsStatus status = found ? TS_OK
                            : ts_config_error_at(training->job->config, key, "no evaluation gives %s; there %s %s", by,
                                                 names.data ? "are" : "is", names.data ? names.data : "none");
    ts_text_free(&names);
    return status;
}

/* Names that stand for several tasks. */
static TsStatus check_names(const TsTraining *training)
{
    static const char *const taken[] = {TS_AVERAGE, "all"};
    for (int i = 0; i < training->job->task_count; i++)
        for (int k = 0; k < 2; k++)
            if (strcmp(training->job->tasks[i]->name, taken[k]) == 0) {
                char *key = ts_format("tasks.%s", taken[k]);
                TsStatus status = ts_config_error_at(training->job->config, key,
                                                     "the name means several tasks in names of metrics: take another");
                ts_free(key);
                return status;
            }
    return TS_OK;
}

/* The metrics that decide something are known before the first step. */
static TsStatus expect_metrics(const TsTraining *training)
{
    const TsKeepConfig *keep = &training->keys->checkpoint.keep;
    const TsEarlyStopConfig *stop = training->keys->early_stop;
    TS_TRY(check_names(training));
    if (keep->best > 0)
        TS_TRY(expect_metric(training, "checkpoint.keep.by", keep->by, false));
    return stop ? expect_metric(training, "early_stop.by", stop->by, true) : TS_OK;
}

/* ---- where the run stands ---- */

/* Lends what can have initial weights from elsewhere: the Learner's state, and all parameters but those that fine_tune
 * puts in. */
static TsBatch *collect_initialized(const TsTraining *training)
{
    TsBatch *arrays = ts_batch_create(), *state = ts_learner_state(training->learner);
    const TsBatch *parameters = training->job->arrays;
    for (int i = 0; i < ts_batch_count(parameters); i++) {
        char *name = ts_format("parameters/%s", ts_batch_name(parameters, i));
        if (!ts_fine_tune_adds(ts_batch_name(parameters, i)))
            ts_batch_lend(arrays, name, ts_batch_array(parameters, i));
        ts_free(name);
    }
    for (int i = 0; i < ts_batch_count(state); i++)
        ts_batch_lend(arrays, ts_batch_name(state, i), ts_batch_array(state, i));
    return arrays;
}

/* Averages begin with the initial weights, but for those that were taken from elsewhere too, by `record`. Collective.
 */
static void begin_averages(const TsTraining *training, const json_t *record)
{
    TsAverages *averages = ts_learner_averages(training->learner);
    const TsBatch *state = ts_learner_state(training->learner);
    if (!averages)
        return;
    void **taken = ts_calloc((size_t)ts_batch_count(state) + 1, sizeof *taken);
    for (int i = 0; i < ts_batch_count(state); i++) {
        const TsArray *array = ts_batch_array(state, i);
        const char *name = ts_batch_name(state, i);
        if (strncmp(name, "average/", strlen("average/")) != 0 ||
            !json_object_get(json_object_get(record, "arrays"), name))
            continue;
        taken[i] = ts_alloc(ts_array_local_bytes(array) + 1);
        memcpy(taken[i], array->data, ts_array_local_bytes(array));
    }
    ts_averages_begin(averages);
    for (int i = 0; i < ts_batch_count(state); i++)
        if (taken[i]) {
            memcpy(ts_batch_array(state, i)->data, taken[i], ts_array_local_bytes(ts_batch_array(state, i)));
            ts_free(taken[i]);
        }
    ts_free(taken);
}

/* Takes initial weights from elsewhere, if the config says so. */
static TsStatus initialize(TsTraining *training)
{
    TsInitFrom from = {0};
    if (!training->keys->init_from)
        return TS_OK;
    TsBatch *arrays = collect_initialized(training);
    TsStatus status = ts_init_from(&from, training->job->group, training->keys->init_from, arrays);
    ts_batch_free(&arrays);
    if (status)
        return status;
    begin_averages(training, from.record);
    ts_saving_note_initialized(training->saving, from.record);
    if (training->keys->init_from->load_step)
        training->step = from.step;
    return TS_OK;
}

/* Goes on from the newest checkpoint that verifies, if there is one. */
static TsStatus resume(TsTraining *training)
{
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_resume(&checkpoint, training->job->group, training->keys->run.dir, training->kept,
                                (TsRestoreOptions){0}));
    if (!checkpoint)
        return initialize(training);
    TsStatus status = ts_training_unpack(training, checkpoint);
    if (!status)
        status = ts_base_load(training->job, ts_checkpoint_state(checkpoint));
    ts_checkpoint_close(&checkpoint);
    if (status)
        return status;
    ts_log(TS_LOG_INFO, "going on after step %lld", (long long)training->step);
    return TS_OK;
}

static void introduce(const TsTraining *training)
{
    const TsJob *job = training->job;
    TsText line = {0};
    int ranks = ts_group_size(job->group), nodes = ts_group_nodes(job->group);
    ts_text_append(&line, "tessera %s · %d rank%s on %d host%s · mesh", ts_version(), ranks, ranks == 1 ? "" : "s",
                   nodes, nodes == 1 ? "" : "s");
    const char *between = " ";
    for (int axis = 1; axis < TS_AXES; axis++)
        if (ts_mesh_size(job->mesh, (TsAxis)axis) > 1 || (axis == TS_AXIS_DATA && ranks == 1)) {
            ts_text_append(&line, "%s%s %d", between, ts_axis_name((TsAxis)axis),
                           ts_mesh_size(job->mesh, (TsAxis)axis));
            between = " x ";
        }
    double memory = (double)ts_memory_usage().live_bytes;
    ts_text_append(&line, " · %.1f M parameters · %.4g %s a rank · %d thread%s each",
                   (double)ts_parameters_elems(job->parameters) / 1e6,
                   memory < 1 << 30 ? memory / (1 << 20) : memory / (1 << 30), memory < 1 << 30 ? "MiB" : "GiB",
                   job->threads, job->threads == 1 ? "" : "s");
    ts_log(TS_LOG_INFO, "%s", line.data);
    ts_text_free(&line);
}

/* What watches the run from here on. */
static TsStatus begin_watching(TsTraining *training)
{
    const TsJobConfig *keys = training->keys;
    TsJob *job = training->job;
    training->recording = ts_recording_start(&keys->trace, job->group, training->step);
    training->hosts = ts_hosts_create(job->group);
    training->own_s = ts_calloc((size_t)ts_group_size(job->group), sizeof *training->own_s);
    training->speed = ts_speed_start(job->group, job->dtype, job->threads);
    TS_TRY(ts_comm_agree(job->group, ts_summaries_create(&training->summaries, job->group, keys->run.dir,
                                                         keys->tasks.names, job->task_count, training->step)));
    if (keys->run.decode_every.unit != TS_NEVER) /* at once: prompts that cannot be are known before the first step */
        TS_TRY(ts_training_decode(training));
    training->progress = ts_progress_start(training->step, keys->run.steps, keys->run.progress);
    training->evaluated_s = training->said_s = training->progress.started_s;
    training->decoded_s = training->spread_s = training->progress.started_s;
    return TS_OK;
}

TsStatus ts_training_begin(TsTraining *training, TsGroup *group, const TsConfig *config, TsTrainOptions options)
{
    TS_TRY(ts_fit_explain(ts_job_open(&training->job, group, config, (TsJobOptions){0}), group, config));
    training->keys = training->job->keys;
    training->early_stop.config = training->keys->early_stop;
    TsJob *job = training->job;
    TsStatus compiled = ts_courses_create(&training->courses, job);
    if (!compiled) {
        training->learner = ts_courses_learner(training->courses);
        compiled = create_evaluators(training);
    }
    if (!compiled)
        compiled = ts_fit_check_made(group);
    TS_TRY(ts_fit_explain(ts_comm_agree(group, compiled), group, config)); /* one host alone may lack the memory */
    TS_TRY(expect_metrics(training));
    TS_TRY(ts_training_expect_prompts(training));
    TS_TRY(ts_run_dir_open(&training->dir, group, training->keys->run.dir, config, options.force));
    introduce(training);
    TS_TRY(ts_saving_create(&training->saving, group, &training->keys->checkpoint, training->dir));
    collect_kept(training);
    TS_TRY(resume(training));
    TS_TRY(ts_run_dir_write_config(training->dir));
    TS_TRY(ts_run_record_begin((TsRunStart){
        .run_dir = training->keys->run.dir, .mesh = job->mesh, .threads = job->threads, .step = training->step}));
    training->is_recorded = true;
    return begin_watching(training);
}

void ts_training_end(TsTraining *training)
{
    for (int i = 0; training->evaluators && i < training->job->task_count; i++)
        ts_evaluator_free(&training->evaluators[i]);
    ts_free(training->evaluators);
    ts_timeline_free(&training->recording.timeline);
    ts_hosts_free(&training->hosts);
    ts_free(training->own_s);
    ts_log_progress_end();
    ts_courses_free(&training->courses);
    ts_summaries_free(&training->summaries);
    ts_early_stop_free(&training->early_stop);
    ts_saving_free(&training->saving);
    ts_batch_free(&training->kept);
    ts_run_dir_close(&training->dir);
    ts_job_close(&training->job);
}
