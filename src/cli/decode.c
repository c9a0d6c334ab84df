/* SPDX-License-Identifier: Apache-2.0
 *
 * tessera decode CONFIG... --prompt TEXT | --input FILE [--output FILE] [--seed N] [--task NAME] [key=value...]
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/unit.h"
#include "cli/command.h"
#include "task/command/decoding.h"
#include "task/job.h"

typedef struct DecodeWords {
    TsDecodeRequest request;
    const char **sources; /* (source_count), owned */
    int source_count;
    const char **prompts; /* owned */
} DecodeWords;

/* The option that takes the next word, read; false where `option` is none. */
static bool take_value(DecodeWords *read, const char *option, const char *value, TsStatus *status)
{
    TsDecodeRequest *request = &read->request;
    const char **place = strcmp(option, "--task") == 0     ? &request->task
                         : strcmp(option, "--input") == 0  ? &request->input
                         : strcmp(option, "--output") == 0 ? &request->output
                         : strcmp(option, "--prompt") == 0 ? &read->prompts[request->prompt_count]
                                                           : NULL;
    if (!place && strcmp(option, "--seed") != 0)
        return false;
    if (!value)
        *status = ts_status_error(TS_CODE_INVALID, "decode: %s needs a value", option);
    else if (place)
        *place = value;
    else if (!ts_unit_read_int(&request->seed, value, NULL) || request->seed < 0)
        *status = ts_status_error(TS_CODE_INVALID, "decode: --seed %s: a whole number, 0 or above", value);
    request->prompt_count += strcmp(option, "--prompt") == 0;
    return true;
}

static TsStatus read_words(DecodeWords *read, int count, const char *const *words)
{
    for (int i = 0; i < count; i++) {
        TsStatus status = TS_OK;
        if (take_value(read, words[i], i + 1 < count ? words[i + 1] : NULL, &status))
            i++;
        else if (strcmp(words[i], "--stream") == 0)
            read->request.stream = true;
        else if (strcmp(words[i], "--json") == 0)
            read->request.json = true;
        else if (words[i][0] == '-')
            status = ts_status_error(TS_CODE_INVALID, "decode: unknown option %s; see tessera help decode", words[i]);
        else
            read->sources[read->source_count++] = words[i];
        TS_TRY(status);
    }
    if (read->source_count == 0)
        return ts_status_error(TS_CODE_INVALID, "decode: which configuration? See tessera help decode");
    if (read->request.prompt_count == 0 && !read->request.input)
        return ts_status_error(TS_CODE_INVALID, "decode: --prompt TEXT or --input FILE is needed");
    return TS_OK;
}

static TsStatus decode(TsGroup *world, int count, const char *const *words)
{
    DecodeWords read = {.sources = ts_calloc((size_t)count + 1, sizeof *read.sources),
                        .prompts = ts_calloc((size_t)count + 1, sizeof *read.prompts),
                        .request = {.seed = -1, .stream = isatty(STDOUT_FILENO) != 0}};
    TsConfig *config = NULL;
    read.request.prompts = read.prompts;
    TsStatus status = read_words(&read, count, words);
    if (!status)
        status = ts_job_load(&config, world, read.sources, read.source_count);
    if (!status)
        status = ts_decode_run(world, config, &read.request);
    ts_config_free(&config);
    ts_free(read.sources);
    ts_free(read.prompts);
    return status;
}

const TsCommand ts_command_decode = {
    .name = "decode",
    .usage = "CONFIG... --prompt TEXT [--prompt TEXT...] | --input FILE [--output FILE] [--json] [--stream]\n"
             "                      [--seed N] [--task NAME] [key=value...]",
    .help =
        "Continues prompts with the newest checkpoint of run.dir. One seed gives one text, on any number of ranks.\n"
        "A prompt is written as the task learned it (tasks.NAME.join is put behind it), or as decode.prompt says.\n"
        "\n"
        "  --prompt TEXT   is printed with what is added to it; on a terminal (or with --stream) while it grows\n"
        "  --input FILE    prompts, one a line; of FILE.jsonl an object a line: {\"prompt\": \"ship\"}, and where\n"
        "                  wanted \"max_decode_steps\" and \"unguided\". JSON lines come out, one for each prompt\n"
        "  --output FILE   where they are written, when all are there\n"
        "  --json          JSON lines for --prompt too\n"
        "\n"
        "How is said by decode: decode.temperature, top_k, top_p, samples, beams, guidance, stops, eos and others.",
    .run = decode};
