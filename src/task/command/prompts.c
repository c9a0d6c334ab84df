/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/prompts.h"

#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/config.h"

enum { MOST_BYTES = 1 << 30 };

static TsPromptText *add(TsPromptTexts *texts, char *text)
{
    if (texts->count == texts->capacity) {
        texts->capacity = 2 * texts->capacity + 8;
        texts->prompt = ts_realloc(texts->prompt, (size_t)texts->capacity * sizeof *texts->prompt);
    }
    texts->prompt[texts->count] = (TsPromptText){.text = text, .max_steps = -1};
    return &texts->prompt[texts->count++];
}

void ts_prompt_texts_add(TsPromptTexts *texts, const char *text)
{
    add(texts, ts_strdup(text));
}

void ts_prompt_texts_free(TsPromptTexts *texts)
{
    for (int64_t i = 0; i < texts->count; i++) {
        ts_free(texts->prompt[i].text);
        ts_free(texts->prompt[i].unguided);
    }
    ts_free(texts->prompt);
    *texts = (TsPromptTexts){0};
}

/* ---- a line ---- */

static TsStatus take_string(char **text, const char *key, const json_t *value)
{
    if (!json_is_string(value))
        return ts_status_error(TS_CODE_INVALID, "\"%s\": expected a text", key);
    ts_free(*text);
    *text = ts_strdup(json_string_value(value));
    return TS_OK;
}

static TsStatus take_key(TsPromptText *prompt, const char *key, const json_t *value)
{
    static const char *const known[] = {"prompt", "max_decode_steps", "unguided"};
    if (strcmp(key, "prompt") == 0)
        return take_string(&prompt->text, key, value);
    if (strcmp(key, "unguided") == 0)
        return take_string(&prompt->unguided, key, value);
    if (strcmp(key, "max_decode_steps") == 0) {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return ts_status_error(TS_CODE_INVALID, "\"max_decode_steps\": expected a whole number, 0 or above");
        prompt->max_steps = json_integer_value(value);
        return TS_OK;
    }
    const char *near = ts_text_nearest(key, known, sizeof known / sizeof *known);
    return ts_status_error(TS_CODE_INVALID,
                           "\"%s\" is no key of a prompt%s%s%s: they are prompt, max_decode_steps and unguided", key,
                           near ? ", did you mean \"" : "", near ? near : "", near ? "\"" : "");
}

static TsStatus take_object(TsPromptText *prompt, json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return ts_status_error(TS_CODE_INVALID, "is not a JSON object: expected {\"prompt\": ...}");
    json_object_foreach(object, key, value) TS_TRY(take_key(prompt, key, value));
    return prompt->text ? TS_OK : ts_status_error(TS_CODE_INVALID, "has no \"prompt\"");
}

static TsStatus take_json(TsPromptTexts *texts, const char *line, size_t bytes)
{
    json_error_t error;
    json_t *object = json_loadb(line, bytes, 0, &error);
    if (!object)
        return ts_status_error(TS_CODE_INVALID, "is not JSON: %s at byte %d", error.text, error.position);
    TsStatus status = take_object(add(texts, NULL), object);
    json_decref(object);
    return status;
}

/* ---- a file ---- */

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}

static TsStatus take_lines(TsPromptTexts *texts, const char *bytes, size_t count, const char *path)
{
    bool json = ends_with(path, ".jsonl") || ends_with(path, ".json");
    int64_t number = 0;
    for (size_t at = 0; at < count;) {
        const char *end = memchr(bytes + at, '\n', count - at);
        size_t next = end ? (size_t)(end - bytes) + 1 : count, length = (end ? next - 1 : next) - at;
        const char *line = bytes + at;
        length -= length && line[length - 1] == '\r';
        number++;
        at = next;
        if (length == 0)
            continue;
        TsStatus status = TS_OK;
        if (json)
            status = take_json(texts, line, length);
        else
            add(texts, ts_format("%.*s", (int)length, line));
        if (status)
            return ts_status_annotate(status, "%s:%lld", path, (long long)number);
        texts->prompt[texts->count - 1].line = number;
    }
    return TS_OK;
}

TsStatus ts_prompt_texts_read(TsPromptTexts *texts, TsGroup *group, const char *path)
{
    char *bytes = NULL;
    int64_t count = 0;
    TS_TRY(ts_job_read(&bytes, &count, group, path, MOST_BYTES));
    TsStatus status = take_lines(texts, bytes, (size_t)count, path);
    ts_free(bytes);
    return status;
}
