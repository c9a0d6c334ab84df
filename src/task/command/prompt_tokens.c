/* SPDX-License-Identifier: Apache-2.0 */
#include "task/command/prompt_tokens.h"

#include <string.h>

#include "base/memory.h"

static void append_tokens(const TsTokenizer *tokenizer, int32_t **tokens, int64_t *count, const char *text,
                          size_t bytes)
{
    int64_t more = 0;
    int32_t *added = ts_tokenizer_encode_all(tokenizer, &more, text, bytes);
    *tokens = ts_realloc(*tokens, (size_t)(*count + more + 1) * sizeof **tokens);
    if (more)
        memcpy(*tokens + *count, added, (size_t)more * sizeof **tokens);
    *count += more;
    ts_free(added);
}

/* Bytes of the text without blanks at its end. */
static size_t trimmed(const char *text, size_t bytes)
{
    while (bytes && strchr(" \t\r\n", text[bytes - 1]))
        bytes--;
    return bytes;
}

/* Those of a text in which "<mask>" stands for the token that hides one. */
static void append_masked(const TsTokenizer *tokenizer, int32_t **tokens, int64_t *count, const char *text)
{
    static const char mark[] = "<mask>";
    for (const char *found; (found = strstr(text, mark)); text = found + sizeof mark - 1) {
        append_tokens(tokenizer, tokens, count, text, (size_t)(found - text));
        (*tokens)[(*count)++] = ts_tokenizer_special(tokenizer, TS_SPECIAL_MASK); /* there is room for one more */
    }
    append_tokens(tokenizer, tokens, count, text, strlen(text));
}

/* Tokens of `text` as the task learned prompts: with what stood behind them, unless it is there already. */
static void encode_learned(const TsTask *task, int32_t **tokens, int64_t *count, const char *text)
{
    const char *behind = task->behind_prompt ? task->behind_prompt : "";
    size_t bytes = strlen(text), tail = trimmed(behind, strlen(behind)), head = trimmed(text, bytes);
    if (tail && head >= tail && memcmp(text + head - tail, behind, tail) == 0)
        bytes = head - tail;
    append_tokens(task->tokenizer, tokens, count, text, bytes);
    append_tokens(task->tokenizer, tokens, count, behind, strlen(behind));
}

int32_t *ts_prompt_tokens(int64_t *count, const TsTask *task, const char *frame, const char *text)
{
    int32_t *tokens = ts_calloc(1, sizeof *tokens);
    *count = 0;
    if (frame) {
        const char *mark = strstr(frame, "{prompt}");
        char *whole = ts_format("%.*s%s%s", (int)(mark - frame), frame, text, mark + strlen("{prompt}"));
        append_tokens(task->tokenizer, &tokens, count, whole, strlen(whole));
        ts_free(whole);
    } else if (task->prompt_has_masks) {
        append_masked(task->tokenizer, &tokens, count, text);
    } else {
        encode_learned(task, &tokens, count, text);
    }
    int32_t begin = ts_tokenizer_special(task->tokenizer, TS_SPECIAL_BEGIN);
    int32_t end = ts_tokenizer_special(task->tokenizer, TS_SPECIAL_END);
    tokens = ts_realloc(tokens, (size_t)(*count + 2) * sizeof *tokens);
    if (task->prompt_is_source) {
        if (begin >= 0) {
            memmove(tokens + 1, tokens, (size_t)*count * sizeof *tokens);
            tokens[0] = begin;
            (*count)++;
        }
        if (end >= 0)
            tokens[(*count)++] = end;
    } else if (*count == 0 && (begin >= 0 || end >= 0)) {
        tokens[(*count)++] = begin >= 0 ? begin : end;
    }
    return tokens;
}
