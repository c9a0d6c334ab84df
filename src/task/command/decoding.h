/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoding: prompts in, text out, by the newest checkpoint of a run: what `tessera decode` does.
 *
 * Text for people: each prompt with what was added, a line each; while it grows where that is asked for. For programs:
 * JSON lines, one for each prompt, in their order, each once, whatever the ranks:
 *
 *     {"index": 0, "prompt": "ship", "text": "a vessel ...", "log_probability": -31.2, "tokens": 40, "end": "token"}
 *
 * with several samples or beams "samples": [{"text": ...}, ...], best first, in place of text. "end" says why it ended:
 * token, stop or length.
 */
#pragma once

#include <jansson.h>

#include "base/config.h"
#include "comm/group.h"
#include "tensor/batch.h"

typedef struct TsJob TsJob;
typedef struct TsTask TsTask;

typedef struct TsDecodeConfig {
    int64_t max_decode_steps, min_decode_steps; /* tokens */
    double temperature, top_p;
    int64_t top_k, samples;
    int64_t beams; /* 0: none */
    double length_penalty;
    bool early_exit;
    double guidance;
    const char *unguided; /* what guidance leads away from */
    TsList eos;           /* of int64_t; empty: the tokenizer's */
    TsList stops;         /* of const char * */
    const char *prompt;   /* "{prompt}: "; NULL: as the task learned it */
    int64_t batch;        /* prompts that are decoded together */
    TsList prompts;       /* of const char *: what is continued while training */
} TsDecodeConfig;

/* The keys of `decode:`. */
extern const TsConfigTable ts_decode_table;

typedef struct TsDecodeRequest {
    const char *const *prompts; /* (prompt_count) */
    int prompt_count;
    const char *input;  /* a file of prompts, see prompts.h; NULL: none */
    const char *output; /* where JSON lines are written; NULL: they are printed */
    const char *task;   /* NULL: the first */
    int64_t seed;       /* negative: run.seed */
    bool stream;        /* text is printed as it grows, where there is one prompt with one sample */
    bool json;          /* JSON lines also for prompts of the command line */
    json_t *objects;    /* an array that gets the objects of the lines on rank 0, in place of all output; NULL: none */
} TsDecodeRequest;

/* Whether the task continues text. Not collective. */
bool ts_decode_can(const TsTask *task);

/* Decodes with parameters as they are now: `arrays`, by their paths, as the job has them. Collective on the job's
 * group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_decode_job(const TsJob *job, const TsBatch *arrays, const TsDecodeRequest *request);

/* Decodes with the newest checkpoint of run.dir. Collective on group; the same status on all ranks. */
TS_MUST_USE TsStatus ts_decode_run(TsGroup *group, const TsConfig *config, const TsDecodeRequest *request);
