/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/yaml.h"

static int compare_keys(const void *a, const void *b, void *keys)
{
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    int order = strcmp(((const char *const *)keys)[i], ((const char *const *)keys)[j]);
    return order ? order : (i > j) - (i < j);
}

TsYaml *ts_yaml_map(TsPool *pool, const char *source, int line, int64_t count, const char *const *keys,
                    TsYaml *const *items)
{
    TsYaml *map = ts_pool_calloc(pool, 1, sizeof *map);
    *map = (TsYaml){.kind = TS_YAML_MAP, .source = source, .line = line, .count = count};
    map->items = ts_pool_calloc(pool, (size_t)count, sizeof *map->items);
    map->keys = ts_pool_calloc(pool, (size_t)count, sizeof *map->keys);
    int64_t *sorted = ts_pool_calloc(pool, (size_t)count, sizeof *sorted);
    for (int64_t i = 0; i < count; i++) {
        map->items[i] = items[i];
        map->keys[i] = keys[i];
        sorted[i] = i;
    }
    qsort_r(sorted, (size_t)count, sizeof *sorted, compare_keys, (void *)map->keys);
    map->sorted_keys = sorted;
    return map;
}

int64_t ts_yaml_repeated_key(const TsYaml *map, int64_t *first)
{
    const int64_t *sorted = map->sorted_keys;
    int64_t repeated = -1;
    *first = -1;
    for (int64_t i = 1; i < map->count; i++)
        if (strcmp(map->keys[sorted[i - 1]], map->keys[sorted[i]]) == 0 && (repeated < 0 || sorted[i] < repeated)) {
            *first = sorted[i - 1];
            repeated = sorted[i];
        }
    return repeated;
}

/* The number of the item with this key, or -1. */
static int64_t find_key(const TsYaml *map, const char *key)
{
    for (int64_t low = 0, high = map->count; low < high;) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(key, map->keys[map->sorted_keys[middle]]);
        if (order == 0)
            return map->sorted_keys[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

const TsYaml *ts_yaml_get(const TsYaml *map, const char *key)
{
    int64_t i = map->kind == TS_YAML_MAP ? find_key(map, key) : -1;
    return i < 0 ? NULL : map->items[i];
}

const TsYaml *ts_yaml_find(const TsYaml *tree, const char *path, bool *whole)
{
    const TsYaml *node = tree;
    char key[TS_YAML_NAME_BYTES + 1];
    *whole = true;
    while (*path) {
        size_t bytes = strcspn(path, ".");
        const TsYaml *next = NULL;
        if (bytes < sizeof key) {
            memcpy(key, path, bytes);
            key[bytes] = '\0';
            next = ts_yaml_get(node, key);
        }
        if (!next) {
            *whole = false;
            break;
        }
        node = next;
        path += bytes + (path[bytes] == '.');
    }
    return node;
}

bool ts_yaml_is_null(const TsYaml *node)
{
    return node->kind == TS_YAML_SCALAR && node->plain &&
           (!node->text[0] || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

/* What an optimizer, say, is: `adamw` and `{type: adamw}` mean the same. NULL: it does not say. */
static const char *type_of(const TsYaml *node)
{
    const TsYaml *type = node->kind == TS_YAML_SCALAR ? node : ts_yaml_get(node, "type");
    return type && type->kind == TS_YAML_SCALAR && !ts_yaml_is_null(type) ? type->text : NULL;
}

const TsYaml *ts_yaml_merge(TsPool *pool, const TsYaml *under, const TsYaml *over, bool by_type)
{
    if (over->kind != TS_YAML_MAP || (under->kind != TS_YAML_MAP && !(by_type && type_of(under))))
        return over;
    if (by_type && type_of(under) && type_of(over) && strcmp(type_of(under), type_of(over)) != 0)
        return over;
    const char *type_key = "type";
    TsYaml *type_item = (TsYaml *)under;
    if (under->kind == TS_YAML_SCALAR)
        under = ts_yaml_map(pool, under->source, under->line, 1, &type_key, &type_item);
    int64_t count = 0;
    size_t most = (size_t)(under->count + over->count);
    const char **keys = ts_pool_calloc(pool, most, sizeof *keys);
    TsYaml **items = ts_pool_calloc(pool, most, sizeof *items);
    for (int64_t i = 0; i < under->count; i++) {
        const TsYaml *item = ts_yaml_get(over, under->keys[i]);
        item = item ? ts_yaml_merge(pool, under->items[i], item, by_type) : under->items[i];
        keys[count] = under->keys[i];
        items[count++] = (TsYaml *)item;
    }
    for (int64_t i = 0; i < over->count; i++)
        if (find_key(under, over->keys[i]) < 0) {
            keys[count] = over->keys[i];
            items[count++] = over->items[i];
        }
    return ts_yaml_map(pool, over->source, over->line, count, keys, items);
}

void ts_yaml_append_place(TsText *out, const TsYaml *node)
{
    ts_text_append(out, "%s", node->source);
    if (node->line)
        ts_text_append(out, ":%d", node->line);
}

TsStatus ts_yaml_error(const TsYaml *node, const char *format, ...)
{
    TsText text = {0};
    va_list arguments;
    va_start(arguments, format);
    char *message = ts_format_list(format, arguments);
    va_end(arguments);
    ts_yaml_append_place(&text, node);
    TsStatus status = ts_status_error(TS_CODE_INVALID, "%s: %s", text.data, message);
    ts_text_free(&text);
    ts_free(message);
    return status;
}
