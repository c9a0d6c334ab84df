/* SPDX-License-Identifier: Apache-2.0 */
#include "data/json_keys.h"

#include <jansson.h>

const char *ts_json_word(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

bool ts_json_flag(const json_t *json, const char *key, bool fallback)
{
    const json_t *value = json_object_get(json, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}
