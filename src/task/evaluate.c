/* SPDX-License-Identifier: Apache-2.0 */
#include "task/evaluate.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ckpt/checkpoint.h"
#include "comm/collectives.h"
#include "model/sharding.h"
#include "task/evaluator.h"

/* The parameters of the newest checkpoint that verifies. Collective. */
static TsStatus restore(const TsJob *job)
{
    TsCheckpoint *checkpoint = NULL;
    TS_TRY(ts_checkpoint_latest(&checkpoint, job->group, job->keys->run.dir));
    if (!checkpoint)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint: train it first", job->keys->run.dir);
    TsBatch *kept = ts_job_kept(job);
    TsStatus status = ts_checkpoint_restore(checkpoint, kept, (TsRestoreOptions){.allow_unused = true});
    if (!status)
        ts_log(TS_LOG_INFO, "step %lld of %s, on %d rank%s", (long long)ts_checkpoint_step(checkpoint),
               job->keys->run.dir, ts_group_size(job->group), ts_group_size(job->group) == 1 ? "" : "s");
    ts_batch_free(&kept);
    ts_checkpoint_close(&checkpoint);
    return status;
}

/* The loader of a part by name; NULL where the task has no such data. */
static TsStatus find_part(TsLoader **loader, const TsTask *task, const char *part)
{
    *loader = NULL;
    if (strcmp(part, "validation") == 0)
        *loader = task->validation;
    else if (strcmp(part, "test") == 0)
        *loader = task->test;
    else if (strcmp(part, "train") == 0)
        *loader = task->train_in_order;
    else
        return ts_status_error(TS_CODE_INVALID, "there is no part %s: train, validation, test", part);
    return TS_OK;
}

static TsStatus open_restored(TsJob **job, TsGroup *group, const TsConfig *config)
{
    TS_TRY(ts_job_open(job, group, config, (TsJobOptions){0}));
    TsStatus status = restore(*job);
    if (status)
        ts_job_close(job);
    return status;
}

/* ---- evaluation ---- */

static void print_scores(const TsJob *job, const TsTask *task, const TsScores *scores)
{
    for (int i = 0; i < scores->count && ts_group_rank(job->group) == 0; i++)
        printf("%s\t%s\t%.6g\t%.0f\n", task->name, scores->score[i].name, scores->score[i].scalar.value,
               scores->score[i].scalar.weight);
}

static void print_confusion(const TsJob *job, const TsTask *task, const TsObservations *observations)
{
    int64_t width = observations->width;
    if (observations->kind != TS_OBSERVES_CLASSES)
        return;
    int64_t *matrix = ts_calloc((size_t)(width * width) + 1, sizeof *matrix);
    ts_confusion_matrix(matrix, observations, ts_mesh_group(job->mesh, ts_batch_axes()));
    for (int64_t i = 0; i < width * width && ts_group_rank(job->group) == 0; i++) {
        if (i % width == 0)
            printf("%s\tconfusion %lld", task->name, (long long)(i / width));
        printf("\t%lld%s", (long long)matrix[i], i % width == width - 1 ? "\n" : "");
    }
    ts_free(matrix);
}

static TsStatus evaluate_task(const TsJob *job, const TsTask *task, TsLoader *data, TsEvalOptions options)
{
    TsEvaluator *evaluator = NULL;
    TsScores scores = {0};
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, task, data)));
    ts_evaluator_run(evaluator, &scores, NULL, NULL);
    if (options.baselines && task->kind->baseline)
        task->kind->baseline(task, &scores, data, job->group);
    print_scores(job, task, &scores);
    if (options.confusion)
        print_confusion(job, task, ts_evaluator_observations(evaluator));
    ts_evaluator_free(&evaluator);
    return ts_comm_agree(job->group, ts_group_rank(job->group) || fflush(stdout) == 0
                                         ? TS_OK
                                         : ts_status_error(TS_CODE_IO, "the scores could not be printed"));
}

TsStatus ts_evaluate(TsGroup *group, const TsConfig *config, TsEvalOptions options)
{
    TsJob *job = NULL;
    const TsTask *only = NULL;
    TS_TRY(open_restored(&job, group, config));
    TsStatus status = options.task ? ts_job_find_task(&only, job, options.task) : TS_OK;
    int evaluated = 0;
    for (int i = 0; i < job->task_count && !status; i++) {
        TsLoader *data = NULL;
        if (only && job->tasks[i] != only)
            continue;
        status = find_part(&data, job->tasks[i], options.part);
        if (!status && data) {
            status = evaluate_task(job, job->tasks[i], data, options);
            evaluated++;
        }
    }
    if (!status && evaluated == 0)
        status = ts_status_error(TS_CODE_NOT_FOUND, "no task has data for %s", options.part);
    ts_job_close(&job);
    return status;
}

/* ---- prediction ---- */

/* The rows of a batch on the rank that predicted them, as lines of text with their place. */
typedef struct Rows {
    const TsTask *task;
    bool as_json;
    int64_t *places; /* (count) of the examples, in the part */
    TsText lines;    /* each ends with a line feed */
    int64_t count, capacity;
    const char *header; /* of TSV; owned */
} Rows;

/* A cell's text in TSV: objects and lists as JSON, tabs and line feeds as blanks. */
static void append_cell(TsText *line, const json_t *value)
{
    if (json_is_string(value)) {
        size_t begin = line->size_bytes;
        ts_text_append_bytes(line, json_string_value(value), json_string_length(value));
        for (size_t i = begin; i < line->size_bytes; i++)
            if (line->data[i] == '\t' || line->data[i] == '\n' || line->data[i] == '\r')
                line->data[i] = ' ';
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    ts_text_append(line, "%s", text ? text : "");
    free(text); /* jansson's */
}

static void append_row(Rows *rows, json_t *cells)
{
    const char *name;
    json_t *value;
    if (rows->as_json) {
        char *text = json_dumps(cells, JSON_COMPACT | JSON_REAL_PRECISION(9));
        ts_text_append(&rows->lines, "%s\n", text ? text : "{}");
        free(text); /* jansson's */
        return;
    }
    TsText header = {0};
    bool first = true;
    json_object_foreach(cells, name, value)
    {
        if (!rows->header)
            ts_text_append(&header, "%s%s", first ? "" : "\t", name);
        if (!first)
            ts_text_append(&rows->lines, "\t");
        append_cell(&rows->lines, value);
        first = false;
    }
    ts_text_append(&rows->lines, "\n");
    if (!rows->header)
        rows->header = header.data;
}

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
    append_row(rows, cells);
    json_decref(cells);
}

/* One line on its way to the file. */
typedef struct Line {
    int64_t place;
    const char *text;
    size_t bytes;
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
        lines[(*count)++] = (Line){places[i], text, bytes};
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
        TsText text = {0};
        add_lines(lines, &count, rows->places, rows->count, rows->lines.data ? rows->lines.data : "");
        for (int r = 1; r < size; r++)
            add_lines(lines, &count, places[r], sizes[2 * r], texts[r]);
        qsort(lines, (size_t)count, sizeof *lines, by_place);
        if (rows->header)
            ts_text_append(&text, "%s\n", rows->header);
        for (int64_t i = 0; i < count; i++)
            ts_text_append_bytes(&text, lines[i].text, lines[i].bytes);
        if (out)
            status = ts_file_write(out, text.data ? text.data : "", text.size_bytes);
        else if (fwrite(text.data ? text.data : "", 1, text.size_bytes, stdout) != text.size_bytes || fflush(stdout))
            status = ts_status_error(TS_CODE_IO, "the predictions could not be printed");
        ts_text_free(&text);
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

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), wanted = strlen(ending);
    return length >= wanted && strcmp(text + length - wanted, ending) == 0;
}

static TsStatus predict_task(const TsJob *job, const TsTask *task, TsLoader *data, const char *out)
{
    TsEvaluator *evaluator = NULL;
    TsScores scores;
    Rows rows = {.task = task, .as_json = !out || ends_with(out, ".jsonl")};
    TS_TRY(ts_comm_agree(job->group, ts_evaluator_create(&evaluator, job, task, data)));
    ts_evaluator_run(evaluator, &scores, visit, &rows);
    TsGroup *group = ts_mesh_group(job->mesh, ts_batch_axes()); /* the others hold the same rows */
    bool writes = ts_group_rank(job->group) == 0;
    int32_t in[2] = {writes, 0}, with_root[2] = {0};
    ts_all_reduce(group, (TsTransfer){.out = with_root,
                                      .in = in,
                                      .count_elems = 2,
                                      .dtype = TS_I32,
                                      .reduction = TS_MAX,
                                      .label = "predictions"});
    TsStatus status = with_root[0] ? write_rows(&rows, group, out) : TS_OK;
    ts_free(rows.places);
    ts_free((char *)rows.header);
    ts_text_free(&rows.lines);
    ts_evaluator_free(&evaluator);
    return ts_comm_agree(job->group, status);
}

TsStatus ts_predict(TsGroup *group, const TsConfig *config, TsPredictOptions options)
{
    TsJob *job = NULL;
    const TsTask *task = NULL;
    TsLoader *data = NULL;
    TS_TRY(open_restored(&job, group, config));
    TsStatus status = TS_OK;
    if (options.task)
        status = ts_job_find_task(&task, job, options.task);
    else if (job->task_count > 1)
        status = ts_status_error(TS_CODE_INVALID, "predict: which of the %d tasks? --task NAME", job->task_count);
    else
        task = job->tasks[0];
    if (!status && !task->kind->predict)
        status = ts_status_error(TS_CODE_UNSUPPORTED, "tasks.%s predicts nothing of an example", task->name);
    if (!status)
        status = find_part(&data, task, options.part);
    if (!status && !data)
        status = ts_status_error(TS_CODE_NOT_FOUND, "tasks.%s has no data for %s", task->name, options.part);
    if (!status)
        status = predict_task(job, task, data, options.out);
    ts_job_close(&job);
    return status;
}
