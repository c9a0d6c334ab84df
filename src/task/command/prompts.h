/* SPDX-License-Identifier: Apache-2.0
 *
 * Prompts: what `tessera decode` continues, from its command line or from a file.
 *
 * A file whose name ends in .jsonl or .json has an object a line, of which "prompt" must be there:
 *
 *     {"prompt": "ship", "max_decode_steps": 40, "unguided": "", "anything": "else is an error"}
 *
 * any other file a prompt a line, of which none is empty.
 */
#pragma once

#include "comm/group.h"

typedef struct TsPromptText {
    char *text;        /* owned */
    char *unguided;    /* owned; NULL: the configuration's */
    int64_t max_steps; /* negative: the configuration's */
    int64_t line;      /* of the file, from 1; 0: it comes from elsewhere */
} TsPromptText;

typedef struct TsPromptTexts {
    int64_t count, capacity;
    TsPromptText *prompt; /* (count), owned */
} TsPromptTexts;

/* Copies the text to the end. */
void ts_prompt_texts_add(TsPromptTexts *texts, const char *text);

/* Adds those of a file. An error names file and line. Collective on group: rank 0 reads; the same on all ranks. */
TS_MUST_USE TsStatus ts_prompt_texts_read(TsPromptTexts *texts, TsGroup *group, const char *path);

void ts_prompt_texts_free(TsPromptTexts *texts);
