/* SPDX-License-Identifier: Apache-2.0 */
#include "task/closed_form/solve.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/run/progress.h"

bool ts_solve_is_needed(const TsJob *job)
{
    bool any = false;
    for (int i = 0; i < job->task_count; i++)
        any |= job->tasks[i]->kind->solve && job->tasks[i]->train_in_order;
    return any;
}

/* Rank 0 writes it; the same status on all ranks. Collective. */
static TsStatus write_report(const TsJob *job, const TsTask *task, const json_t *report)
{
    TsStatus status = TS_OK;
    if (ts_group_rank(job->group) == 0) {
        char *directory = ts_format("%s/solutions", job->keys->run.dir);
        char *path = ts_format("%s/%s.json", directory, task->name);
        char *text = json_dumps(report, JSON_INDENT(1) | JSON_REAL_PRECISION(9) | JSON_PRESERVE_ORDER);
        status = ts_file_make_directory(directory);
        if (!status)
            status = ts_file_write(path, text, strlen(text));
        free(text); /* jansson's */
        ts_free(directory);
        ts_free(path);
    }
    return ts_comm_agree(job->group, status);
}

static TsStatus solve_task(const TsJob *job, const TsTask *task, TsSolveOptions options)
{
    TsEmbeddings *train = NULL;
    double began_s = ts_progress_now();
    TS_TRY(ts_embeddings_open(&train, (TsEmbeddingsSetting){.job = job,
                                                            .task = task,
                                                            .data = task->train_in_order,
                                                            .part = "train",
                                                            .arrays = options.arrays,
                                                            .keeps = options.keeps}));
    double embedded_s = ts_progress_now();
    TsSolving solving = {.group = job->group,
                         .train = train,
                         .arrays = options.arrays,
                         .threads = job->threads,
                         .seed = (uint64_t)job->keys->run.seed,
                         .report = json_object()};
    TsStatus status = task->kind->solve(task, &solving);
    if (!status && options.tells && ts_group_rank(job->group) == 0)
        ts_log(TS_LOG_INFO, "tasks.%s: %lld examples of %lld columns, %s in %.2f s, solved in %.2f s", task->name,
               (long long)ts_embeddings_count(train), (long long)ts_embeddings_columns(train),
               ts_embeddings_found(train) ? "found" : "computed", embedded_s - began_s, ts_progress_now() - embedded_s);
    if (!status)
        status = write_report(job, task, solving.report);
    json_decref(solving.report);
    ts_embeddings_close(&train);
    return ts_status_annotate(status, "tasks.%s", task->name);
}

TsStatus ts_solve(const TsJob *job, TsSolveOptions options)
{
    TsStatus status = TS_OK;
    for (int i = 0; i < job->task_count && !status; i++) {
        const TsTask *task = job->tasks[i];
        if (task->kind->solve && task->train_in_order && (!options.only || strcmp(options.only, task->name) == 0))
            status = solve_task(job, task, options);
    }
    return status;
}
