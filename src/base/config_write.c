/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/check.h"
#include "base/config.h"

/* Whether other readers of YAML, too, take the bare word for a string. */
static bool is_bare(const char *text)
{
    static const char *const taken[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "auto", NULL};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/";
    for (int i = 0; taken[i]; i++)
        if (strcasecmp(taken[i], text) == 0)
            return false;
    return text[0] && strchr(letters, text[0]) &&
           text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+")] == '\0';
}

static void write_string(TsText *out, const char *text)
{
    if (is_bare(text)) {
        ts_text_append(out, "%s", text);
        return;
    }
    ts_text_append(out, "\"");
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            ts_text_append(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            ts_text_append(out, "\\x%02x", (unsigned)*text);
        else
            ts_text_append_bytes(out, text, 1);
    ts_text_append(out, "\"");
}

/* As it was given, on one line. */
static void write_tree(TsText *out, const TsYaml *node)
{
    if (node->kind == TS_YAML_SCALAR) {
        if (ts_yaml_is_null(node))
            ts_text_append(out, "null");
        else if (node->plain && !strpbrk(node->text, ",[]{}:#\n"))
            ts_text_append(out, "%s", node->text);
        else
            write_string(out, node->text);
        return;
    }
    ts_text_append(out, node->kind == TS_YAML_MAP ? "{" : "[");
    for (int64_t i = 0; i < node->count; i++) {
        ts_text_append(out, i ? ", " : "");
        if (node->kind == TS_YAML_MAP) {
            write_string(out, node->keys[i]);
            ts_text_append(out, ": ");
        }
        write_tree(out, node->items[i]);
    }
    ts_text_append(out, node->kind == TS_YAML_MAP ? "}" : "]");
}

static bool write_scalar(TsText *out, const TsKey *key, const void *field)
{
    const int64_t *whole = field;
    const double *real = field;
    bool is_whole = key->kind == TS_KIND_INT || key->kind == TS_KIND_BYTES;
    bool is_real = key->kind == TS_KIND_REAL || key->kind == TS_KIND_SECONDS;
    if (key->takes_auto && ((is_whole && *whole == TS_AUTO) || (is_real && *real == TS_AUTO)))
        ts_text_append(out, "auto");
    else if (key->kind == TS_KIND_BOOL)
        ts_text_append(out, *(const bool *)field ? "true" : "false");
    else if (key->kind == TS_KIND_INT)
        ts_text_append(out, "%lld", (long long)*whole);
    else if (key->kind == TS_KIND_BYTES)
        ts_unit_write_bytes(out, *whole);
    else if (key->kind == TS_KIND_REAL)
        ts_unit_write_real(out, *real);
    else if (key->kind == TS_KIND_SECONDS)
        ts_unit_write_seconds(out, *real);
    else if (key->kind == TS_KIND_INTERVAL)
        ts_unit_write_interval(out, *(const TsInterval *)field);
    else if (key->kind == TS_KIND_ENUM)
        ts_text_append(out, "%s", key->words[*(const int *)field]);
    else if (key->kind == TS_KIND_STRING)
        write_string(out, *(const char *const *)field);
    else
        return false;
    return true;
}

/* Whether the field says nothing, so that reading it needs no key. */
static bool is_left_out(const TsKey *key, const void *field)
{
    switch (key->kind) {
    case TS_KIND_STRING:
    case TS_KIND_OPTIONAL:
    case TS_KIND_ANY:
        return !*(const void *const *)field;
    case TS_KIND_CHOICE:
        return !((const TsChoice *)field)->variant;
    default:
        return false;
    }
}

/* One `key: value` after another; in block style each on its own lines, `indent` blanks in. */
typedef struct Map {
    TsText *out;
    int indent; /* -1: flow style, {a: 1, b: 2} */
    int64_t count;
} Map;

static void write_value(TsText *out, const TsKey *key, const void *field, int indent);

static void map_begin(Map *map)
{
    if (map->indent < 0)
        ts_text_append(map->out, "{");
}

/* The key, and the blank before its value, unless that is a map in block style, which begins a new line. */
static void map_key(Map *map, const char *name, bool is_block)
{
    if (map->indent < 0)
        ts_text_append(map->out, map->count ? ", " : "");
    else if (map->out->size_bytes)
        ts_text_append(map->out, "\n%*s", map->indent, "");
    write_string(map->out, name);
    ts_text_append(map->out, is_block ? ":" : ": ");
    map->count++;
}

static bool is_block(const TsKey *key, int indent)
{
    return indent >= 0 && (key->kind == TS_KIND_STRUCT || key->kind == TS_KIND_OPTIONAL ||
                           key->kind == TS_KIND_CHOICE || key->kind == TS_KIND_MAP);
}

static void map_end(Map *map)
{
    if (map->indent < 0)
        ts_text_append(map->out, "}");
    else if (map->count == 0)
        ts_text_append(map->out, " {}");
}

static void write_keys(Map *map, const TsConfigTable *table, const void *value)
{
    int below = map->indent < 0 ? -1 : map->indent + 2;
    for (const TsKey *key = table ? table->keys : NULL; key && key->name; key++) {
        const void *field = (const char *)value + key->offset;
        if (is_left_out(key, field))
            continue;
        if (!key->flat) {
            map_key(map, key->name, is_block(key, below));
            write_value(map->out, key, field, below);
            continue;
        }
        const TsChoice *choice = field;
        map_key(map, "type", false);
        write_string(map->out, choice->variant->name);
        write_keys(map, choice->variant->table, choice->value);
    }
}

static void write_struct(TsText *out, const TsConfigTable *table, const void *value, int indent)
{
    Map map = {out, indent, 0};
    map_begin(&map);
    write_keys(&map, table, value);
    map_end(&map);
}

static void write_choice(TsText *out, const TsChoice *choice, int indent)
{
    Map map = {out, indent, 0};
    map_begin(&map);
    map_key(&map, "type", false);
    write_string(out, choice->variant->name);
    write_keys(&map, choice->variant->table, choice->value);
    map_end(&map);
}

static void write_list(TsText *out, const TsKey *element, const TsList *list)
{
    ts_text_append(out, "[");
    for (int64_t i = 0; i < list->count; i++) {
        ts_text_append(out, i ? ", " : "");
        write_value(out, element, (const char *)list->items + (size_t)i * ts_key_item_bytes(element), -1);
    }
    ts_text_append(out, "]");
}

static void write_map(TsText *out, const TsKey *element, const TsMap *items, int indent)
{
    Map map = {out, indent, 0};
    map_begin(&map);
    int below = indent < 0 ? -1 : indent + 2;
    for (int64_t i = 0; i < items->count; i++) {
        map_key(&map, items->names[i], is_block(element, below));
        write_value(out, element, (const char *)items->items + (size_t)i * ts_key_item_bytes(element), below);
    }
    map_end(&map);
}

static void write_value(TsText *out, const TsKey *key, const void *field, int indent)
{
    switch (key->kind) {
    case TS_KIND_STRUCT:
        write_struct(out, key->table, field, indent);
        break;
    case TS_KIND_OPTIONAL:
        write_struct(out, key->table, *(const void *const *)field, indent);
        break;
    case TS_KIND_CHOICE:
        write_choice(out, field, indent);
        break;
    case TS_KIND_LIST:
        write_list(out, key->element, field);
        break;
    case TS_KIND_MAP:
        write_map(out, key->element, field, indent);
        break;
    case TS_KIND_ANY:
        write_tree(out, *(const TsYaml *const *)field);
        break;
    default:
        TS_CHECK(write_scalar(out, key, field), "a key of kind %d", (int)key->kind);
    }
}

void ts_config_write(const TsConfig *config, TsText *out)
{
    TsText text = {0};
    write_struct(&text, ts_config_table(config), ts_config_value(config), 0);
    ts_text_append(out, "%s\n", text.size_bytes ? text.data : "{}");
    ts_text_free(&text);
}
