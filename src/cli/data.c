/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera data prepare CONFIG... | show CONFIG... [--task NAME] [--part NAME] [--count N]
 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/data_tokenizer.h"
#include "cli/options.h"
#include "task/job.h"

typedef struct DataWords {
    const char *task, *part;
    int64_t count;
} DataWords;

/* ---- show ---- */

static void print_numbers(const TsArray *array, int64_t row)
{
    int64_t width = array->shape.dims > 1 ? array->shape.size[1] : 1;
    for (int64_t i = 0; i < width; i++) {
        int64_t at = row * width + i;
        if (array->dtype == TS_BOOL)
            printf(" %d", ((const bool *)array->data)[at]);
        else if (array->dtype == TS_I32)
            printf(" %d", ((const int32_t *)array->data)[at]);
        else
            printf(" %g", (double)((const float *)array->data)[at]);
    }
    printf("\n");
}

/* The text of a row's tokens, with control characters as they are written in C. */
static void print_text(const TsTokenizer *tokenizer, const TsArray *tokens, int64_t row)
{
    size_t bytes;
    int64_t length = tokens->shape.size[1];
    char *text = ts_tokenizer_decode(tokenizer, &bytes, (const int32_t *)tokens->data + row * length, length);
    printf("  %-10s \"", "text");
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == '"' || text[i] == '\\')
            printf("\\x%02x", (unsigned char)text[i]);
        else
            putchar(text[i]);
    printf("\"\n");
    ts_free(text);
}

static void print_row(const TsTask *task, const TsBatch *batch, int64_t row, int64_t number)
{
    printf("%s, example %lld\n", task->name, (long long)number);
    for (int c = 0; c < ts_batch_count(batch); c++) {
        if (task->tokenizer && strcmp(ts_batch_name(batch, c), "tokens") == 0)
            print_text(task->tokenizer, ts_batch_array(batch, c), row);
        printf("  %-10s", ts_batch_name(batch, c));
        print_numbers(ts_batch_array(batch, c), row);
    }
}

static TsStatus show_part(const TsTask *task, const DataWords *read)
{
    TsLoader *loader = strcmp(read->part, "train") == 0 ? (task->train_in_order ? task->train_in_order : task->train)
                       : strcmp(read->part, "validation") == 0 ? task->validation
                       : strcmp(read->part, "test") == 0       ? task->test
                                                               : NULL;
    if (!loader)
        return ts_status_error(TS_CODE_NOT_FOUND, "tasks.%s has no data for %s", task->name, read->part);
    int64_t place = 0, shown = 0;
    while (shown < read->count) {
        const TsBatch *batch = ts_loader_batch(loader, ts_loader_next(loader, &place));
        for (int64_t row = 0; row < ts_loader_local_rows(loader) && shown < read->count; row++, shown++) {
            if (ts_loader_examples(loader)[row] < 0)
                return TS_OK;
            print_row(task, batch, row, ts_loader_examples(loader)[row]);
        }
    }
    return TS_OK;
}

static TsStatus show(TsGroup *world, const TsConfig *config, const DataWords *read)
{
    TsJob *job = NULL;
    const TsTask *only = NULL;
    if (ts_group_size(world) > 1)
        return ts_status_error(TS_CODE_UNSUPPORTED, "data show: on 1 rank, please: rows are cut among ranks");
    TS_TRY(ts_job_open(&job, world, config, (TsJobOptions){0}));
    TsStatus status = read->task ? ts_job_find_task(&only, job, read->task) : TS_OK;
    for (int i = 0; i < job->task_count && !status; i++)
        if (!only || job->tasks[i] == only)
            status = show_part(job->tasks[i], read);
    ts_job_close(&job);
    return status;
}

/* ---- prepare ---- */

/* Opening a job prepares what is not. */
static TsStatus prepare(TsGroup *world, const TsConfig *config, const DataWords *read)
{
    TsJob *job = NULL;
    (void)read;
    TS_TRY(ts_job_open(&job, world, config, (TsJobOptions){0}));
    for (int i = 0; i < job->task_count && ts_group_rank(world) == 0; i++) {
        const TsTask *task = job->tasks[i];
        printf("%s\t%lld train batches\t%lld validation\t%lld test\n", task->name,
               (long long)(task->train ? ts_loader_batches(task->train) : 0),
               (long long)(task->validation ? ts_loader_batches(task->validation) : 0),
               (long long)(task->test ? ts_loader_batches(task->test) : 0));
    }
    ts_job_close(&job);
    return TS_OK;
}

static TsStatus data(TsGroup *world, int count, const char *const *words)
{
    if (count > 0 && strcmp(words[0], "tokenizer") == 0)
        return ts_data_tokenizer(world, count - 1, words + 1);
    static const struct {
        const char *name;
        TsStatus (*run)(TsGroup *world, const TsConfig *config, const DataWords *read);
    } actions[] = {{"prepare", prepare}, {"show", show}};
    int action = -1;
    for (int i = 0; i < 2 && count > 0; i++)
        if (strcmp(words[0], actions[i].name) == 0)
            action = i;
    if (action < 0)
        return ts_status_error(TS_CODE_INVALID, "data: prepare, show or tokenizer? See tessera help data");
    DataWords read = {.part = "train", .count = 3};
    const TsOption options[] = {{.name = "--task", .value = &read.task},
                                {.name = "--part", .value = &read.part},
                                {.name = "--count", .number = &read.count}};
    TsConfig *config = NULL;
    TsStatus status =
        ts_options_load(&config, world, "data", options, sizeof options / sizeof *options, words + 1, count - 1);
    if (!status)
        status = actions[action].run(world, config, &read);
    ts_config_free(&config);
    /* cppcheck-suppress returnDanglingLifetime ; the words outlive the call, and a message copies them */
    return status;
}

const TsCommand ts_command_data = {
    .name = "data",
    .usage =
        "prepare CONFIG... | show CONFIG... [--task NAME] [--part train|validation|test] [--count N] [key=value...] |\n"
        "       tessera data tokenizer CORPUS... --vocab-size N --output DIR [--special TOKEN...] [--min-count N]",
    .help =
        "Prepares the examples of a configuration, by all ranks together, or prints some as the model sees them.\n"
        "Other commands prepare by themselves what was not prepared, or has changed.\n\n"
        "tokenizer: trains a byte-pair encoding on text files, gzipped or not, and writes tokenizer.json, vocab.json\n"
        "and merges.txt, for {type: pretrained, path: DIR} and for other programs. Ranks share the counting; the\n"
        "merges do not depend on them. --special names tokens that stand for no text (<|endoftext|> if none is\n"
        "given); a pair that is found less often than --min-count (2) is not merged.",
    .run = data};
