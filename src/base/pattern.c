/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"

struct TsPattern {
    pcre2_code *code;
    pcre2_match_data *match;
};

static void *allocate(size_t size_bytes, void *context)
{
    (void)context;
    return ts_alloc(size_bytes);
}

static void release(void *memory, void *context)
{
    (void)context;
    ts_free(memory);
}

TsStatus ts_pattern_create(TsPattern **pattern, const char *text)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *context = pcre2_compile_context_create(general);
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &code, &at, context);
    pcre2_compile_context_free(context);
    *pattern = NULL;
    if (compiled) {
        (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* where there is no JIT, it is interpreted */
        *pattern = ts_alloc(sizeof **pattern);
        **pattern = (TsPattern){compiled, pcre2_match_data_create_from_pattern(compiled, general)};
    }
    pcre2_general_context_free(general);
    if (compiled)
        return TS_OK;
    PCRE2_UCHAR said[128];
    pcre2_get_error_message(code, said, sizeof said);
    return ts_status_error(TS_CODE_INVALID, "\"%s\" is not a regular expression: %s at character %zu", text,
                           (const char *)said, (size_t)at + 1);
}

void ts_pattern_free(TsPattern **pattern)
{
    if (*pattern) {
        pcre2_match_data_free((*pattern)->match);
        pcre2_code_free((*pattern)->code);
        ts_free(*pattern);
    }
    *pattern = NULL;
}

bool ts_pattern_find(const TsPattern *pattern, size_t *first, size_t *end, const char *text, size_t text_bytes,
                     size_t from)
{
    int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, text_bytes, from, 0, pattern->match, NULL);
    TS_CHECK(found > 0 || found == PCRE2_ERROR_NOMATCH || found == PCRE2_ERROR_MATCHLIMIT ||
                 found == PCRE2_ERROR_JIT_STACKLIMIT,
             "a pattern gives %d on a text of %zu bytes", found, text_bytes);
    if (found <= 0)
        return false;
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(pattern->match);
    *first = ends[0];
    *end = ends[1];
    return true;
}

bool ts_pattern_found(const TsPattern *pattern, const char *subject)
{
    size_t first, end;
    return ts_pattern_find(pattern, &first, &end, subject, strlen(subject), 0);
}

char *ts_pattern_rewrite(const TsPattern *pattern, const char *subject, const char *replacement)
{
    if (!ts_pattern_found(pattern, subject))
        return NULL;
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(pattern->match);
    uint32_t groups = pcre2_get_ovector_count(pattern->match);
    TsText text = {0};
    ts_text_append(&text, "%s", "");
    for (const char *at = replacement; *at; at++) {
        uint32_t group = (uint32_t)(at[1] - '0');
        if (at[0] != '$' || (at[1] != '$' && group > 9)) {
            ts_text_append_bytes(&text, at, 1);
            continue;
        }
        at++;
        if (*at == '$')
            ts_text_append_bytes(&text, at, 1);
        else if (group < groups && ends[2 * group] != PCRE2_UNSET)
            ts_text_append_bytes(&text, subject + ends[2 * group], ends[2 * group + 1] - ends[2 * group]);
    }
    char *rewritten = ts_strdup(text.data);
    ts_text_free(&text);
    return rewritten;
}
