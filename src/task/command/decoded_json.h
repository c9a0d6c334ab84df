/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoded JSON: the line that `tessera decode` prints of a prompt: its number and text, and what was added to it, or of
 * several samples a list. docs/decoding.md says what each key is.
 */
#pragma once

#include <jansson.h>

#include "model/model.h"

/* Of prompt `index` of all, `at` of those that were decoded together. Not collective. Owned by the caller. */
json_t *ts_decoded_json(const TsDecoded *decoded, const TsDecodeText *text, int64_t index, int64_t at,
                        const char *prompt);
