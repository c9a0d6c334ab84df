/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/probe.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "task/run/base.h"
#include "task/closed_form/solve.h"
#include "task/evaluator.h"
#include "task/run/init_from.h"
#include "task/run/run_dir.h"
#include "task/run/saving.h"

typedef struct Probe {
    TsJob *job;
    TsRunDir *dir;
    TsSaving *saving;
    json_t *state; /* of the checkpoint that was gone on from, or new; owned */
    int64_t step;  /* of that; -1: none */
} Probe;

/* ---- the backbone ---- */

/* The parameters that are not those of solutions, as checkpoints name them; lent. */
static TsBatch *trained_of(const TsBatch *kept)
{
    TsBatch *trained = ts_batch_create();
    for (int i = 0; i < ts_batch_count(kept); i++)
        if (!strstr(ts_batch_name(kept, i), "/solution/"))
            ts_batch_lend(trained, ts_batch_name(kept, i), ts_batch_array(kept, i));
    return trained;
}

/* From the run's newest checkpoint, else from init_from, else as they begin. */
static TsStatus take_backbone(Probe *probe)
{
    TsJob *job = probe->job;
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_latest(&checkpoint, job->group, job->keys->run.dir));
    TsBatch *kept = checkpoint ? ts_job_evaluated(job) : ts_job_kept(job), *trained = trained_of(kept);
    TsStatus status = TS_OK;
    probe->step = -1;
    if (checkpoint) {
        probe->step = ts_checkpoint_step(checkpoint);
        status = ts_checkpoint_restore(checkpoint, trained, (TsRestoreOptions){.allow_unused = true});
        if (!status)
            status = ts_base_load(job, ts_checkpoint_state(checkpoint));
        probe->state = json_deep_copy(ts_checkpoint_state(checkpoint));
    } else if (job->keys->init_from) {
        TsInitFrom from = {0};
        status = ts_init_from(&from, job->group, job->keys->init_from, trained);
        if (!status)
            ts_saving_note_initialized(probe->saving, from.record);
    }
    ts_checkpoint_close(&checkpoint);
    ts_batch_free(&trained);
    ts_batch_free(&kept);
    return status;
}

/* ---- the checkpoint ---- */

/* All parameters, at the step behind the last one; a run that goes on with training has its own state. */
static TsStatus save(Probe *probe)
{
    TsBatch *kept = ts_job_kept(probe->job);
    json_t *state = probe->state ? probe->state : json_object();
    int64_t step = probe->step + 1;
    json_object_set_new(state, "seed", json_integer(probe->job->keys->run.seed));
    json_object_set_new(state, "step", json_integer(step));
    json_object_set_new(state, "kept", ts_job_keep(probe->job));
    if (!probe->state)
        ts_saving_pack(probe->saving, state);
    TsStatus status = ts_saving_save(probe->saving, step, kept, state);
    if (!status)
        status = ts_saving_wait(probe->saving);
    if (!probe->state)
        json_decref(state);
    ts_batch_free(&kept);
    return status;
}

/* ---- scores ---- */

static void print_scores(const TsTask *task, const char *part, const TsScores *scores)
{
    for (int i = 0; i < scores->count; i++)
        if (scores->score[i].scalar.weight > 0)
            printf("%s\t%s\t%s\t%.6g\t%.0f\n", task->name, part, scores->score[i].name, scores->score[i].scalar.value,
                   scores->score[i].scalar.weight);
}

static TsStatus evaluate(const TsJob *job, const TsTask *task, TsLoader *data, const char *part)
{
    TsEvaluator *evaluator = NULL;
    TsScores scores;
    if (!data)
        return TS_OK;
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, task, data)));
    TsStatus status = ts_evaluator_run(evaluator, &scores, NULL, NULL);
    if (!status && ts_group_rank(job->group) == 0)
        print_scores(task, part, &scores);
    ts_evaluator_free(&evaluator);
    return status;
}

static TsStatus report(const TsJob *job, const char *only)
{
    TsStatus status = TS_OK;
    for (int i = 0; i < job->task_count && !status; i++) {
        const TsTask *task = job->tasks[i];
        if (!task->kind->solve || (only && strcmp(only, task->name) != 0))
            continue;
        status = evaluate(job, task, task->validation, "validation");
        if (!status)
            status = evaluate(job, task, task->test, "test");
    }
    if (!status && ts_group_rank(job->group) == 0 && fflush(stdout) != 0)
        status = ts_status_error(TS_CODE_IO, "the scores could not be printed");
    return ts_comm_agree(job->group, status);
}

/* ---- all of it ---- */

static TsStatus check_tasks(const TsJob *job, const char *only)
{
    const TsTask *task = NULL;
    if (only) {
        TS_TRY(ts_job_find_task(&task, job, only));
        return task->kind->solve
                   ? TS_OK
                   : ts_status_error(TS_CODE_INVALID, "probe: tasks.%s is trained, not solved: tessera train", only);
    }
    return ts_solve_is_needed(job) ? TS_OK
                                   : ts_status_error(TS_CODE_INVALID, "probe: no task is solved: of type ridge, "
                                                                      "logistic, pca, kmeans or anomaly");
}

static TsStatus run(Probe *probe, TsGroup *group, const TsConfig *config, TsProbeOptions options)
{
    TS_TRY(ts_job_open(&probe->job, group, config, (TsJobOptions){0}));
    TsJob *job = probe->job;
    TS_TRY(check_tasks(job, options.task));
    TS_TRY(ts_run_dir_open(&probe->dir, group, job->keys->run.dir, config, options.force));
    TS_TRY(ts_saving_create(&probe->saving, group, &job->keys->checkpoint, probe->dir));
    TS_TRY(take_backbone(probe));
    TS_TRY(ts_run_dir_write_config(probe->dir));
    TS_TRY(ts_solve(job, (TsSolveOptions){.arrays = job->arrays, .only = options.task, .keeps = true, .tells = true}));
    TS_TRY(save(probe));
    return report(job, options.task);
}

TsStatus ts_probe(TsGroup *group, const TsConfig *config, TsProbeOptions options)
{
    Probe probe = {.job = NULL};
    TsStatus status = run(&probe, group, config, options);
    json_decref(probe.state);
    ts_saving_free(&probe.saving);
    ts_run_dir_close(&probe.dir);
    ts_job_close(&probe.job);
    return status;
}
