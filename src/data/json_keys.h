/* SPDX-License-Identifier: Apache-2.0
 *
 * JsonKeys: values of a JSON object by key, with what to take where they are missing or of another type. Used by the
 * readers of pre-trained tokenizers. Not collective.
 */
#pragma once

#include <stdbool.h>

typedef struct json_t json_t;

/* The string there, borrowed until the object goes; NULL where there is none. `json` may be NULL. */
const char *ts_json_word(const json_t *json, const char *key);

/* The boolean there, or the fallback. `json` may be NULL. */
bool ts_json_flag(const json_t *json, const char *key, bool fallback);
