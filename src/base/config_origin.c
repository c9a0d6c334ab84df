/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config_origin.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/memory.h"

const TsOrigin *ts_origin_add(TsConfig *config, TsOrigin origin)
{
    if (config->origin_count == config->origin_capacity) {
        config->origin_capacity = config->origin_capacity ? 2 * config->origin_capacity : 64;
        config->origins = ts_realloc(config->origins, (size_t)config->origin_capacity * sizeof *config->origins);
    }
    TsOrigin *kept = ts_pool_calloc(config->pool, 1, sizeof *kept);
    *kept = origin;
    kept->number = config->origin_count;
    config->origins[config->origin_count++] = kept;
    return kept;
}

static int compare_origins(const void *a, const void *b)
{
    const TsOrigin *x = *(TsOrigin *const *)a, *y = *(TsOrigin *const *)b;
    if (x->address != y->address)
        return (uintptr_t)x->address < (uintptr_t)y->address ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

void ts_origin_sort(TsConfig *config)
{
    qsort(config->origins, (size_t)config->origin_count, sizeof *config->origins, compare_origins);
}

static void append_path(TsText *text, const TsOrigin *origin)
{
    if (!origin->parent)
        return;
    append_path(text, origin->parent);
    if (!origin->name)
        ts_text_append(text, "[%lld]", (long long)origin->index);
    else
        ts_text_append(text, "%s%s", origin->parent->parent ? "." : "", origin->name);
}

char *ts_origin_where(const TsOrigin *origin, const char *below)
{
    const TsOrigin *given = origin;
    while (!given->node)
        given = given->parent;
    TsText text = {0};
    ts_yaml_append_place(&text, given->node);
    ts_text_append(&text, origin->parent || below ? ": " : "");
    append_path(&text, origin);
    ts_text_append(&text, "%s%s", origin->parent && below ? "." : "", below ? below : "");
    return text.data;
}

TsStatus ts_origin_error(const TsOrigin *origin, const char *below, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *message = ts_format_list(format, arguments), *place = ts_origin_where(origin, below);
    va_end(arguments);
    TsStatus status = ts_status_error(TS_CODE_INVALID, "%s: %s", place, message);
    ts_free(message);
    ts_free(place);
    return status;
}

TsStatus ts_config_error(const TsConfig *config, const void *field, const char *format, ...)
{
    const TsOrigin *found = NULL; /* the last one at this address: the innermost */
    for (int64_t low = 0, high = config->origin_count; low < high;) {
        int64_t middle = low + (high - low) / 2;
        const TsOrigin *origin = config->origins[middle];
        if ((uintptr_t)origin->address <= (uintptr_t)field) {
            found = origin->address == field ? origin : found;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    va_list arguments;
    va_start(arguments, format);
    char *message = ts_format_list(format, arguments);
    va_end(arguments);
    TsStatus status =
        found ? ts_origin_error(found, NULL, "%s", message) : ts_status_error(TS_CODE_INVALID, "%s", message);
    ts_free(message);
    return status;
}

TsStatus ts_config_error_at(const TsConfig *config, const char *path, const char *format, ...)
{
    bool whole;
    const TsYaml *node = ts_yaml_find(config->tree, path, &whole);
    va_list arguments;
    va_start(arguments, format);
    char *message = ts_format_list(format, arguments);
    va_end(arguments);
    TsStatus status = ts_yaml_error(node, "%s: %s", path, message);
    ts_free(message);
    return status;
}

bool ts_config_is_given(const TsConfig *config, const char *path)
{
    bool whole;
    const TsYaml *node = ts_yaml_find(config->tree, path, &whole);
    return whole && !ts_yaml_is_null(node);
}
