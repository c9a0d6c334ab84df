/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/predict.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/collectives.h"
#include "data/table.h"
#include "model/sharding.h"
#include "task/evaluator.h"
#include "task/run/restored.h"
#include "task/run/stop.h"

/* The rows of batches on the rank that predicted them, as lines of JSON with their place. */
typedef struct Rows {
    const TsTask *task;
    int64_t *places; /* (count) of the examples, in the part */
    TsText lines;    /* each ends with a line feed */
    int64_t count, capacity;
} Rows;

static void visit(void *visitor, const TsBatch *given, const TsBatch *batch, int64_t row, int64_t example)
{
    Rows *rows = visitor;
    json_t *cells = json_pack("{s:I}", "example", (json_int_t)example);
    rows->task->kind->predict(rows->task, cells, given, batch, row);
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity ? 2 * rows->capacity : 256;
        rows->places = ts_realloc(rows->places, (size_t)rows->capacity * sizeof *rows->places);
    }
    rows->places[rows->count++] = example;
    char *text = json_dumps(cells, JSON_COMPACT | JSON_REAL_PRECISION(9));
    ts_text_append(&rows->lines, "%s\n", text ? text : "{}");
    free(text); /* jansson's */
    json_decref(cells);
}

/* One line on its way to the file. */
typedef struct Line {
    TsTableRow row; /* the first */
    int64_t place;
} Line;

static int by_place(const void *a, const void *b)
{
    int64_t one = ((const Line *)a)->place, other = ((const Line *)b)->place;
    return one < other ? -1 : one > other;
}

/* A rank's lines, found in its text. */
static void add_lines(Line *lines, int64_t *count, const int64_t *places, int64_t place_count, const char *text)
{
    for (int64_t i = 0; i < place_count; i++) {
        size_t bytes = strcspn(text, "\n") + 1;
        lines[(*count)++] = (Line){{text, bytes}, places[i]};
        text += bytes;
    }
}

/* What all ranks have, on rank 0: sizes first, then places and text. Collective on the group. */
static TsStatus write_rows(const Rows *rows, TsGroup *group, const char *out)
{
    int size = ts_group_size(group), rank = ts_group_rank(group);
    int64_t mine[2] = {rows->count, (int64_t)rows->lines.size_bytes}, all_count = rows->count, count = 0;
    int64_t *sizes = ts_calloc(2 * (size_t)size, sizeof *sizes);
    int64_t **places = ts_calloc((size_t)size, sizeof *places);
    char **texts = ts_calloc((size_t)size, sizeof *texts);
    for (int r = 1; r < size; r++) {
        if (rank == r)
            ts_send(group, (TsTransfer){.in = mine, .count_elems = 2, .dtype = TS_I64, .label = "predictions"}, 0);
        if (rank == 0)
            ts_receive(group,
                       (TsTransfer){.out = sizes + 2 * r, .count_elems = 2, .dtype = TS_I64, .label = "predictions"},
                       r);
        int64_t words = ((rank == 0 ? sizes[2 * r + 1] : mine[1]) + 3) / 4;
        if (rank == r) {
            int32_t *text = ts_calloc((size_t)words + 1, sizeof *text);
            if (mine[1])
                memcpy(text, rows->lines.data, (size_t)mine[1]);
            ts_send(group,
                    (TsTransfer){.in = rows->places, .count_elems = mine[0], .dtype = TS_I64, .label = "predictions"},
                    0);
            ts_send(group, (TsTransfer){.in = text, .count_elems = words, .dtype = TS_I32, .label = "predictions"}, 0);
            ts_free(text);
        } else if (rank == 0) {
            places[r] = ts_calloc((size_t)sizes[2 * r] + 1, sizeof(int64_t));
            texts[r] = ts_calloc((size_t)words + 1, sizeof(int32_t));
            ts_receive(
                group,
                (TsTransfer){.out = places[r], .count_elems = sizes[2 * r], .dtype = TS_I64, .label = "predictions"},
                r);
            ts_receive(group,
                       (TsTransfer){.out = texts[r], .count_elems = words, .dtype = TS_I32, .label = "predictions"}, r);
            all_count += sizes[2 * r];
        }
    }
    TsStatus status = TS_OK;
    if (rank == 0) {
        Line *lines = ts_calloc((size_t)all_count + 1, sizeof *lines);
        TsTableRow *table = ts_calloc((size_t)all_count + 1, sizeof *table);
        add_lines(lines, &count, rows->places, rows->count, rows->lines.data ? rows->lines.data : "");
        for (int r = 1; r < size; r++)
            add_lines(lines, &count, places[r], sizes[2 * r], texts[r]);
        qsort(lines, (size_t)count, sizeof *lines, by_place);
        for (int64_t i = 0; i < count; i++)
            table[i] = lines[i].row;
        status = ts_table_write(out, table, count);
        ts_free(table);
        ts_free(lines);
    }
    for (int r = 0; r < size; r++) {
        ts_free(places[r]);
        ts_free(texts[r]);
    }
    ts_free(places);
    ts_free(texts);
    ts_free(sizes);
    return status;
}

static TsStatus predict_task(const TsJob *job, const TsTask *task, TsLoader *data, const char *out)
{
    TsEvaluator *evaluator = NULL;
    TsScores scores;
    Rows rows = {.task = task};
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, task, data)));
    TsStatus status = ts_evaluator_run(evaluator, &scores, visit, &rows);
    TsGroup *group = ts_mesh_group(job->mesh, ts_batch_axes()); /* the others hold the same rows */
    bool writes = ts_group_rank(job->group) == 0;
    int32_t in[2] = {writes, 0}, with_root[2] = {0};
    ts_all_reduce(group, (TsTransfer){.out = with_root,
                                      .in = in,
                                      .count_elems = 2,
                                      .dtype = TS_I32,
                                      .reduction = TS_MAX,
                                      .label = "predictions"});
    if (!status && with_root[0])
        status = write_rows(&rows, group, out);
    ts_free(rows.places);
    ts_text_free(&rows.lines);
    ts_evaluator_free(&evaluator);
    return ts_comm_agree(job->group, status);
}

TsStatus ts_predict(TsGroup *group, const TsConfig *config, TsPredictOptions options)
{
    TsJob *job = NULL;
    const TsTask *task = NULL;
    TsLoader *data = NULL;
    const TsMap *tasks = &((const TsJobConfig *)ts_config_value(config))->tasks;
    if (!options.task && tasks->count > 1)
        return ts_status_error(TS_CODE_INVALID, "predict: which of the %lld tasks? --task NAME",
                               (long long)tasks->count);
    ts_stop_watch();
    TS_TRY(ts_restored_open(&job, group, config,
                            (TsRestoredOptions){.files = options.files, .only = options.task, .by_example = true}));
    TsStatus status = TS_OK;
    if (options.task)
        status = ts_job_find_task(&task, job, options.task);
    else
        task = job->tasks[0];
    if (!status && !task->kind->predict)
        status = ts_status_error(TS_CODE_UNSUPPORTED, "tasks.%s predicts nothing of an example", task->name);
    if (!status)
        status = ts_restored_part(&data, task, options.files.count ? "train" : options.part);
    if (!status && !data)
        status = ts_status_error(TS_CODE_NOT_FOUND, "tasks.%s has no data for %s", task->name, options.part);
    if (!status)
        status = predict_task(job, task, data, options.out);
    ts_job_close(&job);
    return status;
}
