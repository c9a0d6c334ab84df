/* SPDX-License-Identifier: Apache-2.0
 *
 * Pattern: a regular expression as Perl has them, for the configuration: which parameters a rule is about.
 *
 * It is searched for: "bias" is found in "layer_00/bias"; ^ and $ pin it to the ends. Not collective.
 */
#pragma once

#include <stdbool.h>

#include "base/status.h"

typedef struct TsPattern TsPattern;

/* An error that names the place in `text` where it cannot be read. Owned by the caller: ts_pattern_free. */
TS_MUST_USE TsStatus ts_pattern_create(TsPattern **pattern, const char *text);

/* Sets *pattern to NULL; NULL is fine. */
void ts_pattern_free(TsPattern **pattern);

/* Whether it is found in `subject`. */
bool ts_pattern_found(const TsPattern *pattern, const char *subject);
