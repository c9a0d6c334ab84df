/* SPDX-License-Identifier: Apache-2.0
 *
 * Pattern: a regular expression as Perl has them: which parameters a rule is about, where a tokenizer cuts.
 *
 * It is searched for: "bias" is found in "layer_00/bias"; ^ and $ pin it to the ends. Classes such as \w and \s are
 * those of Unicode; bytes that are not UTF-8 are never part of what is found. Not collective; not safe from several
 * threads at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct TsPattern TsPattern;

/* An error that names the place in `text` where it cannot be read. Owned by the caller: ts_pattern_free. */
TS_MUST_USE TsStatus ts_pattern_create(TsPattern **pattern, const char *text);

/* Sets *pattern to NULL; NULL is fine. */
void ts_pattern_free(TsPattern **pattern);

/* Whether it is found in `subject`. */
bool ts_pattern_found(const TsPattern *pattern, const char *subject);

/* Whether it is found in text[0, text_bytes) from `from` on, at the first place: text[*first, *end). */
bool ts_pattern_find(const TsPattern *pattern, size_t *first, size_t *end, const char *text, size_t text_bytes,
                     size_t from);

/* `replacement` with $1 to $9 made what the groups of the pattern were found to be in `subject`, $0 the whole of what
 * was found, and $$ a dollar; NULL where the pattern is not found. Owned by the caller: ts_free. */
char *ts_pattern_rewrite(const TsPattern *pattern, const char *subject, const char *replacement);
