/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/follow.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/directory.h"
#include "comm/collectives.h"
#include "task/evaluator.h"
#include "task/run/progress.h"
#include "task/run/restored.h"
#include "task/run/run_record.h"
#include "task/run/stop.h"
#include "task/run/summaries.h"

static const double LOOKS_S = 0.5; /* between two looks at the directory */

typedef struct Follower {
    TsGroup *group;
    const TsConfig *config;
    const TsJobConfig *keys;
    TsFollowOptions options;
    TsJob *job;               /* NULL until there is a checkpoint */
    TsEvaluator **evaluators; /* (job->task_count); NULL where there is nothing to evaluate */
    TsSummaries *summaries;
    int64_t step; /* that was evaluated last; -1: none */
} Follower;

/* What rank 0 sees of the run, on all ranks. */
typedef struct Sight {
    int64_t step; /* of the newest committed checkpoint; -1: none */
    int64_t ended, late;
} Sight;

static int64_t newest_committed(const char *run_dir)
{
    char *root = ts_directory_root(run_dir);
    int64_t *steps = NULL, count = 0, newest = -1;
    TsStatus status = ts_directory_list(&steps, &count, root, false);
    for (int64_t i = 0; !status && i < count && newest < 0; i++) {
        char *path = ts_directory_path(root, steps[i]);
        if (ts_directory_holds(path, TS_CHECKPOINT_COMMIT))
            newest = steps[i];
        ts_free(path);
    }
    ts_status_free(&status); /* what cannot be listed now may be there the next time */
    ts_free(steps);
    ts_free(root);
    return newest;
}

/* Collective. */
static Sight look(const Follower *follower, double since_s)
{
    Sight sight = {.step = -1};
    const char *dir = follower->keys->run.dir;
    if (ts_group_rank(follower->group) == 0) {
        sight.ended = ts_run_record_ended(dir); /* first: what it committed before is then seen */
        sight.step = newest_committed(dir);
        sight.late = ts_progress_now() - since_s > follower->options.timeout_s;
    }
    ts_broadcast(follower->group,
                 (TsTransfer){.out = &sight, .in = &sight, .count_elems = 3, .dtype = TS_I64, .label = "follow"}, 0);
    return sight;
}

/* ---- evaluation ---- */

static TsStatus open(Follower *follower)
{
    const TsTask *only = NULL;
    TS_TRY(ts_restored_open(&follower->job, follower->group, follower->config, (TsRestoredOptions){0}));
    TsJob *job = follower->job;
    if (follower->options.task)
        TS_TRY(ts_job_find_task(&only, job, follower->options.task));
    follower->evaluators = ts_calloc((size_t)job->task_count + 1, sizeof(TsEvaluator *));
    TsStatus status = TS_OK;
    int evaluated = 0;
    for (int i = 0; i < job->task_count && !status; i++)
        if (job->tasks[i]->validation && (!only || job->tasks[i] == only)) {
            status = ts_evaluator_create(&follower->evaluators[i], job, job->tasks[i], job->tasks[i]->validation);
            evaluated++;
        }
    if (!status && !evaluated)
        status = ts_status_error(TS_CODE_NOT_FOUND, "no task has data for validation");
    if (!status)
        status = ts_summaries_create(&follower->summaries, job->group, follower->keys->run.dir,
                                     follower->keys->tasks.names, job->task_count, 0);
    return ts_comm_agree(follower->group, status);
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* On rank 0: to standard output and to evaluations.jsonl. */
static TsStatus tell(const Follower *follower, const char *task, const TsScores *scores)
{
    json_t *object = json_pack("{s:s, s:I}", "kind", "eval", "step", (json_int_t)follower->step);
    char *path = ts_format("%s/evaluations.jsonl", follower->keys->run.dir);
    for (int i = 0; i < scores->count; i++) {
        const TsWeightedScalar *scalar = &scores->score[i].scalar;
        char *name = ts_format("%s/%s", task, scores->score[i].name);
        printf("%lld\t%s\t%s\t%.6g\t%.0f\n", (long long)follower->step, task, scores->score[i].name, scalar->value,
               scalar->weight);
        json_object_set_new(object, name, real(scalar->value));
        ts_free(name);
    }
    char *line = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    FILE *file = fopen(path, "ab");
    bool good = file && fprintf(file, "%s\n", line) > 0;
    good = file && fclose(file) == 0 && good;
    TsStatus status =
        good && fflush(stdout) == 0 ? TS_OK : ts_status_error(TS_CODE_IO, "%s: %s", path, strerror(errno));
    free(line); /* jansson's */
    json_decref(object);
    ts_free(path);
    return status;
}

static TsStatus evaluate(Follower *follower)
{
    TsJob *job = follower->job;
    for (int i = 0; i < job->task_count; i++) {
        TsScores scores;
        if (!follower->evaluators[i])
            continue;
        TS_TRY(ts_evaluator_run(follower->evaluators[i], &scores, NULL, NULL));
        ts_summaries_scores(follower->summaries, i, follower->step, &scores);
        TS_TRY(ts_comm_agree(job->group,
                             ts_group_rank(job->group) == 0 ? tell(follower, job->tasks[i]->name, &scores) : TS_OK));
    }
    return TS_OK;
}

/* Evaluates the newest checkpoint, if it is one that was not seen. */
static TsStatus take(Follower *follower)
{
    int64_t step = -1;
    if (!follower->job)
        TS_TRY(open(follower));
    TS_TRY(ts_restored_again(follower->job, &step));
    if (step <= follower->step)
        return TS_OK;
    follower->step = step;
    return evaluate(follower);
}

static TsStatus follow(Follower *follower)
{
    double since_s = ts_progress_now();
    for (;;) {
        Sight sight = look(follower, since_s);
        int why = ts_stop_agreed(follower->group);
        if (why)
            return ts_stop_error(why);
        if (sight.step > follower->step) {
            TS_TRY(take(follower));
            since_s = ts_progress_now();
        } else if (sight.ended || follower->step >= follower->keys->run.steps) {
            ts_log(TS_LOG_INFO, "the run has ended; step %lld was evaluated last", (long long)follower->step);
            return TS_OK;
        } else if (sight.late) {
            ts_log(TS_LOG_INFO, "no new checkpoint for %g s; step %lld was evaluated last", follower->options.timeout_s,
                   (long long)follower->step);
            return TS_OK;
        }
        nanosleep(&(struct timespec){.tv_sec = (time_t)LOOKS_S, .tv_nsec = (long)(1e9 * fmod(LOOKS_S, 1))}, NULL);
    }
}

TsStatus ts_follow(TsGroup *group, const TsConfig *config, TsFollowOptions options)
{
    Follower follower = {
        .group = group, .config = config, .keys = ts_config_value(config), .options = options, .step = -1};
    ts_stop_watch();
    TsStatus status = follow(&follower);
    for (int i = 0; follower.evaluators && i < follower.job->task_count; i++)
        ts_evaluator_free(&follower.evaluators[i]);
    ts_free(follower.evaluators);
    ts_summaries_free(&follower.summaries);
    ts_job_close(&follower.job);
    return status;
}
