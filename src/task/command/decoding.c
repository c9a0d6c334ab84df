/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/decoding.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/decode.h"
#include "task/run/base.h"
#include "task/command/decoded_json.h"
#include "task/kinds/kinds.h"
#include "task/command/prompt_tokens.h"
#include "task/command/prompts.h"
#include "task/run/restored.h"
#include "task/run/stop.h"
#include "task/command/stream.h"

static TsStatus check_keys(const void *value)
{
    const TsDecodeConfig *keys = value;
    if (keys->beams > 0 && keys->stops.count)
        return ts_status_error(TS_CODE_INVALID, "beams do not go with stops: hypotheses end by tokens");
    if (keys->beams > 0 && keys->samples > 1)
        return ts_status_error(TS_CODE_INVALID, "beams do not go with samples: there are as many hypotheses as beams");
    if (keys->prompt && !strstr(keys->prompt, "{prompt}"))
        return ts_status_error(TS_CODE_INVALID, "prompt: \"%s\" has no {prompt} in it", keys->prompt);
    if (keys->min_decode_steps > keys->max_decode_steps)
        return ts_status_error(TS_CODE_INVALID, "min_decode_steps: %lld is more than max_decode_steps: %lld",
                               (long long)keys->min_decode_steps, (long long)keys->max_decode_steps);
    return TS_OK;
}

static const TsKey decode_keys[] = {
    TS_KEY_INT(TsDecodeConfig, max_decode_steps, "that are added to a prompt, at most", .fallback = "200",
               .range = TS_BETWEEN(1, 1 << 24), .unit = "tokens"),
    TS_KEY_INT(TsDecodeConfig, min_decode_steps, "that are added before a text may end", .fallback = "0",
               .range = TS_BETWEEN(0, 1 << 24), .unit = "tokens"),
    TS_KEY_REAL(TsDecodeConfig, temperature, "of sampling; 0 always takes the likeliest", .fallback = "0.8",
                .range = TS_AT_LEAST(0)),
    TS_KEY_INT(TsDecodeConfig, top_k, "samples are of the likeliest so many; 0: of all", .fallback = "0",
               .range = TS_AT_LEAST(0), .unit = "tokens"),
    TS_KEY_REAL(TsDecodeConfig, top_p, "and of the likeliest that together reach this, at the temperature",
                .fallback = "1", .range = TS_BETWEEN(0, 1)),
    TS_KEY_INT(TsDecodeConfig, samples, "of each prompt, the likeliest first", .fallback = "1",
               .range = TS_BETWEEN(1, 65536)),
    TS_KEY_INT(TsDecodeConfig, beams, "hypotheses of a search for the likeliest text; 0: sampling", .fallback = "0",
               .range = TS_BETWEEN(0, 65536)),
    TS_KEY_REAL(TsDecodeConfig, length_penalty, "beams score sum(log p) / ((5 + L) / 6)^length_penalty",
                .fallback = "0.6", .range = TS_AT_LEAST(0)),
    TS_KEY_BOOL(TsDecodeConfig, early_exit, "beams stop when so many have ended, whatever may come to be likelier",
                .fallback = "false"),
    TS_KEY_REAL(TsDecodeConfig, guidance,
                "how far scores are led away from those of the unguided prompt, in parts of their difference; 1: as "
                "they are",
                .fallback = "1", .range = TS_AT_LEAST(0)),
    TS_KEY_STRING(TsDecodeConfig, unguided, "the prompt that guidance leads away from", .fallback = "\"\""),
    TS_KEY_LIST(TsDecodeConfig, eos, TS_ELEMENT(TS_KIND_INT), "tokens that end a text; left out: the tokenizer's end",
                .fallback = "[]"),
    TS_KEY_LIST(TsDecodeConfig, stops, TS_ELEMENT(TS_KIND_STRING), "where one of these stands, the text ends before it",
                .fallback = "[]"),
    TS_KEY_STRING(TsDecodeConfig, prompt, "how a prompt is written, as in \"{prompt}: \"; left out: as it was learned",
                  .range = TS_AT_LEAST(1)),
    TS_KEY_LIST(TsDecodeConfig, prompts, TS_ELEMENT(TS_KIND_STRING), "what training continues, every run.decode_every",
                .fallback = "[]"),
    TS_KEY_INT(TsDecodeConfig, batch, "prompts that are continued together", .fallback = "16",
               .range = TS_BETWEEN(1, 1 << 20)),
    TS_KEYS_END};
const TsConfigTable ts_decode_table = {"decode", "How text is continued.", sizeof(TsDecodeConfig), decode_keys,
                                       check_keys};

/* Everything that one call works with. */
typedef struct Decoding {
    const TsJob *job;
    const TsBatch *arrays; /* the parameters, by path */
    const TsTask *task;
    const TsDecodeRequest *request;
    const TsDecodeConfig *keys;
    TsPromptTexts texts;
    TsWeights weights;
    TsDecodeOptions options;
    int32_t *ends; /* owned */
    bool plain;    /* text for people */
    TsText lines;  /* for the output file */
    TsTextStream stream;
    int32_t *streamed; /* tokens of the prompt that is streamed, with room for what is added; borrowed */
    int64_t streamed_tokens;
    TsWeightedScalar log_probability, bytes, ended; /* of all batches together, on rank 0 */
} Decoding;

/* ---- output ---- */

static char *detokenise(const void *task, const int32_t *tokens, int64_t count_tokens)
{
    return ts_tokenizer_decode(((const TsTask *)task)->tokenizer, NULL, tokens, count_tokens);
}

static char *name_values(const void *task, const float *values, int64_t positions)
{
    return ((const TsTask *)task)->kind->name_values(task, values, positions);
}

/* A text with what was added; of a head the prompt and what it is called, with a tab between, or the filled text. */
static void print_plain(const Decoding *d, const TsDecoded *decoded, const TsDecodeText *text, int64_t first)
{
    for (int64_t row = 0; row < decoded->count; row++) {
        TsText clean = {0};
        const char *prompt = d->texts.prompt[first + row / decoded->each].text;
        if (!decoded->values)
            ts_text_append_utf8(&clean, text->prompt[row], strlen(text->prompt[row]), false);
        else if (d->task->kind->name_values)
            ts_text_append(&clean, "%s\t", prompt);
        ts_text_append_utf8(&clean, text->added[row], strlen(text->added[row]), false);
        if (isfinite(decoded->score[row]))
            printf("%s\n", clean.data ? clean.data : "");
        ts_text_free(&clean);
    }
}

/* Takes the object. */
static void put_line(Decoding *d, json_t *object)
{
    if (d->request->objects) {
        json_array_append_new(d->request->objects, object);
        return;
    }
    char *line = json_dumps(object, JSON_REAL_PRECISION(9));
    if (d->request->output)
        ts_text_append(&d->lines, "%s\n", line);
    else
        printf("%s\n", line);
    free(line); /* jansson's */
    json_decref(object);
}

/* On rank 0. */
static TsStatus put_out(Decoding *d, const TsDecoded *decoded, int64_t first)
{
    TsDetokeniser detokeniser = {
        .tokens = detokenise, .values = d->task->kind->name_values ? name_values : NULL, .context = d->task};
    TsDecodeText *text = d->task->model->process_decode_out(decoded, detokeniser);
    if (d->streamed)
        printf("\n");
    else if (d->plain)
        print_plain(d, decoded, text, first);
    for (int64_t i = 0; !d->plain && i < decoded->prompts; i++)
        put_line(d, ts_decoded_json(decoded, text, first + i, i, d->texts.prompt[first + i].text));
    d->log_probability = ts_weighted_scalar_merge(d->log_probability, text->log_probability);
    d->bytes = ts_weighted_scalar_merge(d->bytes, text->added_bytes);
    d->ended = ts_weighted_scalar_merge(d->ended, text->ended);
    ts_decode_text_free(&text);
    return fflush(stdout) == 0 ? TS_OK : ts_status_error(TS_CODE_IO, "the text could not be printed");
}

/* Shows what was added so far, on rank 0. */
static void show(void *context, int64_t prompt, const int32_t *added, int64_t count_tokens, bool ended)
{
    Decoding *d = context;
    (void)prompt;
    int64_t whole = d->streamed_tokens + count_tokens;
    memcpy(d->streamed + d->streamed_tokens, added, (size_t)count_tokens * sizeof *added);
    char *text = ts_decode_added_text(d->streamed, d->streamed_tokens, whole, detokenise, d->task);
    for (int i = 0; i < d->options.stop_count; i++) {
        char *stop = d->options.stops[i][0] ? strstr(text, d->options.stops[i]) : NULL;
        if (stop)
            *stop = 0;
    }
    ts_text_stream_show(&d->stream, text, !ended);
    ts_free(text);
}

/* ---- running ---- */

/* Prepares to stream the one prompt there is: its own text first. */
static void begin_stream(Decoding *d, int32_t **tokens, int64_t count)
{
    *tokens = ts_realloc(*tokens, (size_t)(count + d->keys->max_decode_steps + 1) * sizeof **tokens);
    d->streamed = *tokens;
    d->streamed_tokens = count;
    d->stream = (TsTextStream){.file = stdout};
    char *text = detokenise(d->task, *tokens, count);
    ts_text_stream_show(&d->stream, text, false);
    ts_free(text);
    d->stream = (TsTextStream){.file = stdout, .stops = d->options.stops, .stop_count = d->options.stop_count};
    d->options.listener = show;
    d->options.listener_context = d;
}

/* Says where a prompt of the file came from, in an error about it. */
static TsStatus locate(const Decoding *d, TsStatus status, int64_t first, int64_t count)
{
    for (int64_t i = first; status && i < first + count; i++) {
        char *name = ts_format("prompt %lld ", (long long)i);
        bool about = strncmp(ts_status_message(status), name, strlen(name)) == 0;
        ts_free(name);
        if (about && d->texts.prompt[i].line)
            return ts_status_annotate(status, "%s:%lld", d->request->input, (long long)d->texts.prompt[i].line);
    }
    return status;
}

/* Decodes prompts [first, first + count). */
static TsStatus decode_batch(Decoding *d, int64_t first, int64_t count)
{
    bool guided = d->keys->guidance != 1, limited = false, speaks = ts_group_rank(d->job->group) == 0;
    int32_t **tokens = ts_calloc(2 * (size_t)count, sizeof *tokens);
    int64_t *lengths = ts_calloc(3 * (size_t)count, sizeof *lengths), *steps = lengths + 2 * count;
    for (int64_t i = 0; i < count; i++) {
        const TsPromptText *prompt = &d->texts.prompt[first + i];
        tokens[i] = ts_prompt_tokens(&lengths[i], d->task, d->keys->prompt, prompt->text);
        if (guided)
            tokens[count + i] = ts_prompt_tokens(&lengths[count + i], d->task, d->keys->prompt,
                                                 prompt->unguided ? prompt->unguided : d->keys->unguided);
        steps[i] = prompt->max_steps >= 0 ? prompt->max_steps : d->keys->max_decode_steps;
        limited = limited || prompt->max_steps >= 0;
    }
    if (d->plain && d->request->stream && !d->task->kind->name_values && d->texts.count == 1 && d->keys->samples == 1 &&
        !d->keys->beams && speaks)
        begin_stream(d, &tokens[0], lengths[0]);
    TsPrompts prompts = {.count = count,
                         .tokens = (const int32_t *const *)tokens,
                         .length_tokens = lengths,
                         .first = first,
                         .max_steps = limited ? steps : NULL,
                         .unguided = guided ? (const int32_t *const *)tokens + count : NULL,
                         .unguided_tokens = lengths + count};
    TsDecoded *decoded = NULL;
    TsStatus status = ts_comm_agree(
        d->job->group,
        locate(d, d->task->model->decode(&decoded, d->task->options, d->weights, prompts, d->options), first, count));
    if (!status)
        status = ts_comm_agree(d->job->group, speaks ? put_out(d, decoded, first) : TS_OK);
    ts_decoded_free(&decoded);
    for (int64_t i = 0; i < 2 * count; i++)
        ts_free(tokens[i]);
    ts_free(tokens);
    ts_free(lengths);
    return status;
}

static TsStatus set_options(Decoding *d)
{
    const TsDecodeConfig *keys = d->keys;
    const TsJob *job = d->job;
    int64_t vocab = ts_tokenizer_vocab(d->task->tokenizer);
    int32_t end = ts_tokenizer_special(d->task->tokenizer, TS_SPECIAL_END);
    d->ends = ts_calloc((size_t)keys->eos.count + 1, sizeof *d->ends);
    for (int64_t i = 0; i < keys->eos.count; i++) {
        int64_t token = ((const int64_t *)keys->eos.items)[i];
        if (token < 0 || token >= vocab)
            return ts_config_error(job->config, &keys->eos, "%lld is not a token: they are 0..%lld", (long long)token,
                                   (long long)vocab - 1);
        d->ends[i] = (int32_t)token;
    }
    if (!keys->eos.count)
        d->ends[0] = end;
    d->options = (TsDecodeOptions){.max_decode_steps = keys->max_decode_steps,
                                   .min_decode_steps = keys->min_decode_steps,
                                   .temperature = keys->temperature,
                                   .top_k = keys->top_k,
                                   .top_p = keys->top_p,
                                   .samples = keys->samples,
                                   .seed = (uint64_t)(d->request->seed >= 0 ? d->request->seed : job->keys->run.seed),
                                   .beams = keys->beams,
                                   .length_penalty = keys->length_penalty,
                                   .early_exit = keys->early_exit,
                                   .guidance = keys->guidance,
                                   .ends = d->ends,
                                   .end_count = keys->eos.count ? (int)keys->eos.count : end >= 0,
                                   .stops = (const char *const *)keys->stops.items,
                                   .stop_count = (int)keys->stops.count,
                                   .detokenise = detokenise,
                                   .detokenise_context = d->task};
    return TS_OK;
}

static TsStatus gather_prompts(Decoding *d)
{
    for (int i = 0; i < d->request->prompt_count; i++)
        ts_prompt_texts_add(&d->texts, d->request->prompts[i]);
    if (d->request->input)
        TS_TRY(ts_prompt_texts_read(&d->texts, d->job->group, d->request->input));
    d->plain = !d->request->input && !d->request->output && !d->request->json && !d->request->objects;
    return TS_OK;
}

enum { KEPT_PROGRAMS = 8 }; /* of batches of prompts: two a length */

static TsStatus decode_all(Decoding *d)
{
    const TsJob *job = d->job;
    TsBatch *narrow = NULL;
    TsParameters *parameters = ts_job_parameters_of(job, d->task);
    d->weights =
        (TsWeights){.parameters = parameters, .arrays = d->arrays, .dtype = job->dtype, .threads = job->threads};
    if (job->dtype == TS_BF16) {
        narrow = ts_weights_narrow(parameters, d->arrays);
        d->weights.arrays = narrow;
        d->weights.narrow = true;
    }
    d->weights.programs = ts_program_cache_create(KEPT_PROGRAMS);
    TsStatus status = TS_OK;
    for (int64_t first = 0; first < d->texts.count && !status; first += d->keys->batch) {
        int64_t left = d->texts.count - first;
        int why = ts_stop_agreed(job->group);
        if (why)
            status = ts_stop_error(why);
        else
            status = decode_batch(d, first, left < d->keys->batch ? left : d->keys->batch);
    }
    if (!status && d->request->output)
        status = ts_comm_agree(
            job->group, ts_group_rank(job->group) == 0
                            ? ts_file_write(d->request->output, d->lines.data ? d->lines.data : "", d->lines.size_bytes)
                            : TS_OK);
    if (!status && d->request->output && ts_group_rank(job->group) == 0)
        ts_log(
            TS_LOG_INFO,
            "%s: %.0f texts of %.4g bytes, %.4g tokens each of a log-probability of %.4g; %.3g %% ended by themselves",
            d->request->output, d->bytes.weight, d->bytes.value, d->log_probability.weight / d->bytes.weight,
            d->log_probability.value, 100 * d->ended.value);
    ts_program_cache_free(&d->weights.programs);
    ts_batch_free(&narrow);
    return status;
}

bool ts_decode_can(const TsTask *task)
{
    return task->model && task->model->decode && task->tokenizer && !task->takes_pairs;
}

static TsStatus find_task(const TsTask **task, const TsJob *job, const char *name)
{
    *task = job->tasks[0];
    if (name)
        TS_TRY(ts_job_find_task(task, job, name));
    if ((*task)->takes_pairs)
        return ts_status_error(TS_CODE_UNSUPPORTED,
                               "tasks.%s takes pairs of texts, and prompts are none: tessera predict --file reads such",
                               (*task)->name);
    return ts_decode_can(*task) ? TS_OK
                                : ts_status_error(TS_CODE_UNSUPPORTED, "tasks.%s does not decode text", (*task)->name);
}

static TsStatus prepare(Decoding *d)
{
    TS_TRY(find_task(&d->task, d->job, d->request->task));
    TS_TRY(gather_prompts(d));
    return set_options(d);
}

static void release(Decoding *d)
{
    ts_prompt_texts_free(&d->texts);
    ts_text_free(&d->lines);
    ts_free(d->ends);
}

TsStatus ts_decode_job(const TsJob *job, const TsBatch *arrays, const TsDecodeRequest *request)
{
    Decoding d = {.job = job, .arrays = arrays, .request = request, .keys = &job->keys->decode};
    TsStatus status = prepare(&d);
    if (!status)
        status = decode_all(&d);
    release(&d);
    return status;
}

/* Whether the task that is asked for has a head, which is made of what the checkpoint kept. */
static bool has_head(const TsMap *tasks, const char *name)
{
    const TsTaskConfig *items = tasks->items;
    int64_t asked = 0;
    for (int64_t i = 0; name && i < tasks->count; i++)
        asked = strcmp(tasks->names[i], name) == 0 ? i : asked;
    const TsTaskKind *kind = items[asked].kind.variant->extra;
    return kind->keep != NULL;
}

TsStatus ts_decode_run(TsGroup *group, const TsConfig *config, const TsDecodeRequest *request)
{
    TsJob *job = NULL;
    bool restored = has_head(&((const TsJobConfig *)ts_config_value(config))->tasks, request->task);
    if (restored)
        TS_TRY(ts_restored_open(&job, group, config, (TsRestoredOptions){.without_data = true}));
    else
        TS_TRY(ts_job_open(&job, group, config, (TsJobOptions){.without_data = true}));
    ts_stop_watch();
    Decoding d = {.job = job, .arrays = job->arrays, .request = request, .keys = &job->keys->decode};
    TsStatus status = prepare(&d);
    if (!status && !restored)
        status = ts_base_restore(job, NULL);
    if (!status)
        status = decode_all(&d);
    release(&d);
    ts_job_close(&job);
    return status;
}
