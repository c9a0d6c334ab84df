/* SPDX-License-Identifier: Apache-2.0 */
#include "data/needle.h"

#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "data/json_keys.h"

TsStatus ts_needle_read(TsNeedle *needle, const json_t *json, const char *what)
{
    const json_t *pattern = json_object_get(json, "pattern");
    const char *literal = ts_json_word(pattern, "String"), *regex = ts_json_word(pattern, "Regex");
    if (!literal && !regex)
        return ts_status_error(TS_CODE_INVALID, "%s lacks its pattern", what);
    if (regex)
        return ts_pattern_create(&needle->pattern, regex);
    needle->literal = ts_strdup(literal);
    return TS_OK;
}

void ts_needle_free(TsNeedle *needle)
{
    ts_pattern_free(&needle->pattern);
    ts_free(needle->literal);
    needle->literal = NULL;
}

bool ts_needle_is_there(const TsNeedle *needle)
{
    return needle->pattern || needle->literal;
}

bool ts_needle_find(const TsNeedle *needle, size_t *first, size_t *end, const char *text, size_t text_bytes,
                    size_t from)
{
    if (needle->pattern)
        return ts_pattern_find(needle->pattern, first, end, text, text_bytes, from);
    size_t bytes = strlen(needle->literal);
    const char *found = bytes ? memmem(text + from, text_bytes - from, needle->literal, bytes) : NULL;
    if (!found)
        return false;
    *first = (size_t)(found - text);
    *end = *first + bytes;
    return true;
}
