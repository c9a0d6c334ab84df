/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera decode CONFIG... --prompt TEXT [--seed N] [--task NAME] [key=value...]
 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/unit.h"
#include "ckpt/checkpoint.h"
#include "task/job.h"

typedef struct DecodeWords {
    const char **sources; /* (source_count), owned */
    int source_count;
    const char **prompts; /* (prompt_count), owned */
    int prompt_count;
    const char *task; /* NULL: the first */
    int64_t seed;     /* negative: run.seed */
} DecodeWords;

static TsStatus read_words(DecodeWords *read, int count, const char *const *words)
{
    for (int i = 0; i < count; i++) {
        bool takes_value =
            strcmp(words[i], "--prompt") == 0 || strcmp(words[i], "--seed") == 0 || strcmp(words[i], "--task") == 0;
        if (takes_value && i + 1 == count)
            return ts_status_error(TS_CODE_INVALID, "decode: %s needs a value", words[i]);
        if (strcmp(words[i], "--prompt") == 0)
            read->prompts[read->prompt_count++] = words[++i];
        else if (strcmp(words[i], "--task") == 0)
            read->task = words[++i];
        else if (strcmp(words[i], "--seed") == 0) {
            if (!ts_unit_read_int(&read->seed, words[++i], NULL) || read->seed < 0)
                return ts_status_error(TS_CODE_INVALID, "decode: --seed %s: a whole number, 0 or above", words[i]);
        } else if (words[i][0] == '-')
            return ts_status_error(TS_CODE_INVALID, "decode: unknown option %s; see tessera help decode", words[i]);
        else
            read->sources[read->source_count++] = words[i];
    }
    if (read->source_count == 0)
        return ts_status_error(TS_CODE_INVALID, "decode: which configuration? See tessera help decode");
    if (read->prompt_count == 0)
        return ts_status_error(TS_CODE_INVALID, "decode: --prompt TEXT is needed");
    return TS_OK;
}

/* The parameters of the newest checkpoint that verifies. */
static TsStatus restore(const TsJob *job)
{
    TsCheckpoint *checkpoint = NULL;
    TsBatch *kept = ts_job_kept(job);
    TsStatus status = ts_checkpoint_resume(&checkpoint, job->group, job->keys->run.dir, kept,
                                           (TsRestoreOptions){.allow_unused = true});
    ts_batch_free(&kept);
    if (!status && !checkpoint)
        status = ts_status_error(TS_CODE_NOT_FOUND, "%s has no checkpoint: train it first", job->keys->run.dir);
    ts_checkpoint_close(&checkpoint);
    return status;
}

static char *detokenise(const void *context, const int32_t *tokens, int64_t count_tokens)
{
    return ts_tokenizer_decode(context, NULL, tokens, count_tokens);
}

static TsStatus print(const TsTask *task, const TsDecoded *decoded)
{
    TsDecodeText *text = task->model->process_decode_out(decoded, detokenise, task->tokenizer);
    for (int64_t i = 0; i < text->count; i++)
        printf("%s%s\n", text->prompt[i], text->added[i]);
    ts_decode_text_free(&text);
    return fflush(stdout) == 0 ? TS_OK : ts_status_error(TS_CODE_IO, "the text could not be printed");
}

static TsStatus decode_prompts(const TsJob *job, const TsTask *task, const DecodeWords *read)
{
    size_t count = (size_t)read->prompt_count;
    int32_t **tokens = ts_calloc(count, sizeof *tokens);
    int64_t *lengths = ts_calloc(count, sizeof *lengths);
    for (size_t i = 0; i < count; i++)
        tokens[i] = ts_tokenizer_encode_all(task->tokenizer, &lengths[i], read->prompts[i], strlen(read->prompts[i]));
    TsPrompts prompts = {
        .count = read->prompt_count, .tokens = (const int32_t *const *)tokens, .length_tokens = lengths};
    TsDecodeOptions options = {.max_tokens = job->keys->decode.tokens,
                               .temperature = job->keys->decode.temperature,
                               .seed = (uint64_t)(read->seed >= 0 ? read->seed : job->keys->run.seed),
                               .end = ts_tokenizer_special(task->tokenizer, TS_SPECIAL_END)};
    TsWeights weights = {
        .parameters = job->parameters, .arrays = job->arrays, .dtype = job->dtype, .threads = job->threads};
    TsDecoded *decoded = NULL;
    TsStatus status =
        ts_comm_agree(job->group, task->model->decode(&decoded, task->options, weights, prompts, options));
    if (!status)
        status = ts_comm_agree(job->group, ts_group_rank(job->group) == 0 ? print(task, decoded) : TS_OK);
    ts_decoded_free(&decoded);
    for (size_t i = 0; i < count; i++)
        ts_free(tokens[i]);
    ts_free(tokens);
    ts_free(lengths);
    return status;
}

static TsStatus find_task(const TsTask **task, const TsJob *job, const char *name)
{
    for (int i = 0; i < job->task_count; i++)
        if (!name || strcmp(job->tasks[i]->name, name) == 0) {
            *task = job->tasks[i];
            return (*task)->model && (*task)->model->decode
                       ? TS_OK
                       : ts_status_error(TS_CODE_UNSUPPORTED, "tasks.%s does not decode text", (*task)->name);
        }
    return ts_status_error(TS_CODE_NOT_FOUND, "decode: there is no task %s", name);
}

static TsStatus decode_config(TsGroup *world, const TsConfig *config, const DecodeWords *read)
{
    TsJob *job = NULL;
    const TsTask *task = NULL;
    TS_TRY(ts_job_open(&job, world, config, (TsJobOptions){.without_data = true}));
    TsStatus status = find_task(&task, job, read->task);
    if (!status)
        status = restore(job);
    if (!status)
        status = decode_prompts(job, task, read);
    ts_job_close(&job);
    return status;
}

static TsStatus decode(TsGroup *world, int count, const char *const *words)
{
    DecodeWords read = {.sources = ts_calloc((size_t)count + 1, sizeof *read.sources),
                        .prompts = ts_calloc((size_t)count + 1, sizeof *read.prompts),
                        .seed = -1};
    TsConfig *config = NULL;
    TsStatus status = read_words(&read, count, words);
    if (!status)
        status = ts_job_load(&config, world, read.sources, read.source_count);
    if (!status)
        status = decode_config(world, config, &read);
    ts_config_free(&config);
    ts_free(read.sources);
    ts_free(read.prompts);
    return status;
}

const TsCommand ts_command_decode = {
    .name = "decode",
    .usage = "CONFIG... --prompt TEXT [--prompt TEXT...] [--seed N] [--task NAME] [key=value...]",
    .help =
        "Continues prompts with the newest checkpoint of run.dir. One seed gives one text, on any number of ranks.\n"
        "decode.tokens and decode.temperature say how much and how freely.",
    .run = decode};
