/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/config_origin.h"
#include "base/memory.h"

/* What a table's own check says, with its place. */
static TsStatus checked(const TsConfigTable *table, const void *value, const TsOrigin *origin)
{
    TsStatus status = table->check ? table->check(value) : TS_OK;
    if (!status)
        return TS_OK;
    char *place = ts_origin_where(origin, NULL);
    status = ts_status_annotate(status, "%s", place);
    ts_free(place);
    return status;
}

/* ---- binding one value ---- */

static TsStatus bind_value(TsConfig *config, const TsKey *key, void *field, const TsYaml *node, const TsOrigin *origin);

static TsStatus unexpected(const TsKey *key, const TsYaml *node, const TsOrigin *origin)
{
    TsText expected = {0}, found = {0};
    const char *nearest = NULL;
    ts_key_describe(&expected, key);
    if (node->kind == TS_YAML_LIST)
        ts_text_append(&found, "a list of %lld", (long long)node->count);
    else if (node->kind == TS_YAML_MAP)
        ts_text_append(&found, node->count ? "keys with values" : "no keys");
    else if (ts_yaml_is_null(node))
        ts_text_append(&found, "nothing");
    else
        ts_text_append_shown(&found, node->text);
    if (key->kind == TS_KIND_ENUM && node->kind == TS_YAML_SCALAR) {
        size_t count = 0;
        while (key->words[count])
            count++;
        nearest = ts_text_nearest(node->text, key->words, count);
    }
    TsStatus status = ts_origin_error(origin, NULL, "expected %s, found %s%s%s%s", expected.data, found.data,
                                      nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    ts_text_free(&expected);
    ts_text_free(&found);
    return status;
}

static bool in_range(TsRange range, double value)
{
    if (!range.is_set)
        return true;
    bool above = range.above_lowest ? value > range.lowest : value >= range.lowest;
    return above && (range.below_highest ? value < range.highest : value <= range.highest);
}

static bool read_bool(bool *value, const char *text)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < 6; i++)
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    return false;
}

static bool read_word(int *value, const char *const *words, const char *text)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0) {
            *value = i;
            return true;
        }
    return false;
}

/* Reads a scalar into the field; false if it is not what the key takes. */
static bool read_scalar(const TsKey *key, void *field, const TsYaml *node)
{
    const char *text = node->text;
    int64_t *whole = field;
    double *real = field;
    TsInterval *interval = field;
    if (key->takes_auto && node->plain && strcmp(text, "auto") == 0) {
        if (key->kind == TS_KIND_INT || key->kind == TS_KIND_BYTES)
            *whole = TS_AUTO;
        else
            *real = TS_AUTO;
        return true;
    }
    switch (key->kind) {
    case TS_KIND_BOOL:
        return node->plain && read_bool(field, text);
    case TS_KIND_INT:
        return node->plain && ts_unit_read_int(whole, text, key->unit) && in_range(key->range, (double)*whole);
    case TS_KIND_REAL:
        return node->plain && ts_unit_read_real(real, text, key->unit) && (key->takes_inf || isfinite(*real)) &&
               in_range(key->range, *real);
    case TS_KIND_STRING:
        *(const char **)field = text;
        return in_range(key->range, (double)strlen(text));
    case TS_KIND_ENUM:
        return read_word(field, key->words, text);
    case TS_KIND_BYTES:
        return ts_unit_read_bytes(whole, text) && in_range(key->range, (double)*whole);
    case TS_KIND_SECONDS:
        return ts_unit_read_seconds(real, text) && in_range(key->range, *real);
    case TS_KIND_INTERVAL:
        return ts_unit_read_interval(interval, text) &&
               (interval->unit == TS_NEVER || in_range(key->range, interval->count));
    default:
        return false;
    }
}

static TsStatus bind_scalar(const TsKey *key, void *field, const TsYaml *node, const TsOrigin *origin)
{
    bool fits = node->kind == TS_YAML_SCALAR && !ts_yaml_is_null(node) && read_scalar(key, field, node);
    return fits ? TS_OK : unexpected(key, node, origin);
}

/* ---- binding structs ---- */

/* The names of a table's keys, with `type` in place of a flat choice. */
static void add_names(const char **names, size_t *count, const TsConfigTable *table)
{
    for (const TsKey *key = table ? table->keys : NULL; key && key->name; key++)
        names[(*count)++] = key->flat ? "type" : key->name;
}

static size_t key_count(const TsConfigTable *table)
{
    size_t count = 0;
    for (const TsKey *key = table ? table->keys : NULL; key && key->name; key++)
        count++;
    return count;
}

static TsStatus unknown_key(const TsYaml *map, int64_t item, const TsOrigin *origin, const char *const *names,
                            size_t count)
{
    const TsOrigin unknown = {.parent = origin, .name = map->keys[item], .node = map->items[item]};
    const char *nearest = ts_text_nearest(map->keys[item], names, count);
    if (nearest)
        return ts_origin_error(&unknown, NULL, "no such key; did you mean %s?", nearest);
    TsText list = {0};
    for (size_t i = 0; i < count; i++)
        ts_text_append(&list, "%s%s", i ? ", " : "", names[i]);
    TsStatus status = count ? ts_origin_error(&unknown, NULL, "no such key; there are: %s", list.data)
                            : ts_origin_error(&unknown, NULL, "no such key; none is expected here");
    ts_text_free(&list);
    return status;
}

/* Every key of the map must be one of the table or of the variant. Both may be NULL. */
static TsStatus check_known(const TsYaml *map, const TsConfigTable *table, const TsVariant *variant, bool with_type,
                            const TsOrigin *origin)
{
    const TsConfigTable *more = variant ? variant->table : NULL;
    const char **names = ts_alloc((key_count(table) + key_count(more) + 1) * sizeof *names);
    size_t count = 0;
    if (with_type)
        names[count++] = "type";
    add_names(names, &count, table);
    add_names(names, &count, more);
    TsStatus status = TS_OK;
    for (int64_t i = 0; i < map->count && !status; i++) {
        bool known = false;
        for (size_t j = 0; j < count && !known; j++)
            known = strcmp(names[j], map->keys[i]) == 0;
        if (!known)
            status = unknown_key(map, i, origin, names, count);
    }
    ts_free(names);
    return status;
}

/* A table's default. That it does not fit is a bug of the table. */
static void bind_fallback(TsConfig *config, const TsKey *key, void *field, const TsOrigin *origin)
{
    const TsYaml *node;
    TsStatus status = ts_yaml_parse(config->pool, &node, "default", key->fallback, strlen(key->fallback));
    if (!status)
        status = bind_value(config, key, field, node, origin);
    TS_CHECK(!status, "the default of %s: %s", key->name, ts_status_message(status));
}

static TsStatus bind_struct(TsConfig *config, const TsConfigTable *table, void *value, const TsYaml *map,
                            const TsOrigin *origin);

static TsStatus bind_key(TsConfig *config, const TsKey *key, void *value, const TsYaml *map, const TsOrigin *parent)
{
    void *field = (char *)value + key->offset;
    const TsYaml *node = map ? ts_yaml_get(map, key->name) : NULL;
    if (node && ts_yaml_is_null(node))
        node = NULL;
    const TsOrigin *origin =
        ts_origin_add(config, (TsOrigin){.address = field, .parent = parent, .name = key->name, .node = node});
    if (node)
        return bind_value(config, key, field, node, origin);
    if (key->required)
        return ts_origin_error(parent, key->name, "missing: %s", key->help);
    if (key->kind == TS_KIND_STRUCT)
        return bind_struct(config, key->table, field, NULL, origin);
    if (key->fallback)
        bind_fallback(config, key, field, origin);
    return TS_OK;
}

static const TsVariant *find_variant(const TsVariants *variants, const char *name)
{
    for (int64_t i = 0; i < variants->count; i++)
        if (strcmp(variants->items[i].name, name) == 0)
            return &variants->items[i];
    return NULL;
}

static TsStatus unknown_variant(const TsKey *key, const char *name, const TsOrigin *origin, const char *below)
{
    const TsVariants *variants = key->variants;
    const char **names = ts_alloc((size_t)(variants->count + 1) * sizeof *names);
    TsText list = {0}, shown = {0};
    for (int64_t i = 0; i < variants->count; i++) {
        names[i] = variants->items[i].name;
        ts_text_append(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = ts_text_nearest(name, names, (size_t)variants->count);
    ts_text_append_shown(&shown, name);
    TsStatus status =
        nearest
            ? ts_origin_error(origin, below, "there is no %s %s; did you mean %s?", variants->what, shown.data, nearest)
            : ts_origin_error(origin, below, "there is no %s %s; there are: %s", variants->what, shown.data, list.data);
    ts_text_free(&list);
    ts_text_free(&shown);
    ts_free(names);
    return status;
}

/* Which variant the map (or NULL, or a word) says, or else the fallback; *variant is NULL if neither does. */
static TsStatus choose_variant(const TsKey *key, const TsVariant **variant, const TsYaml *node, const TsOrigin *origin)
{
    const TsYaml *type = node && node->kind == TS_YAML_MAP ? ts_yaml_get(node, "type") : node;
    const char *below = type == node ? NULL : "type", *name = key->fallback;
    *variant = NULL;
    if (type && !ts_yaml_is_null(type)) {
        if (type->kind != TS_YAML_SCALAR)
            return ts_origin_error(origin, below, "expected the name of a %s, found a %s", key->variants->what,
                                   type->kind == TS_YAML_MAP ? "map" : "list");
        name = type->text;
    }
    if (!name && node)
        return ts_origin_error(origin, "type", "missing: which %s", key->variants->what);
    if (!name)
        return TS_OK;
    *variant = find_variant(key->variants, name);
    return *variant ? TS_OK : unknown_variant(key, name, origin, below);
}

/* Binds the keys that the variant has of its own from the map, which may be NULL. */
static TsStatus bind_variant(TsConfig *config, TsChoice *choice, const TsVariant *variant, const TsYaml *map,
                             const TsOrigin *origin)
{
    *choice = (TsChoice){.variant = variant};
    const TsConfigTable *table = variant->table;
    if (!table)
        return TS_OK;
    void *value = ts_pool_calloc(config->pool, 1, table->size_bytes);
    choice->value = value;
    ts_origin_add(config, (TsOrigin){value, origin->parent, origin->name, origin->index, 0, origin->node});
    for (const TsKey *key = table->keys; key && key->name; key++)
        TS_TRY(bind_key(config, key, value, map, origin));
    return checked(table, value, origin);
}

static TsStatus bind_struct(TsConfig *config, const TsConfigTable *table, void *value, const TsYaml *map,
                            const TsOrigin *origin)
{
    const TsKey *flat = NULL;
    const TsVariant *variant = NULL;
    for (const TsKey *key = table->keys; key && key->name; key++)
        flat = key->flat ? key : flat;
    if (flat) {
        TS_TRY(choose_variant(flat, &variant, map, origin));
        if (!variant && flat->required)
            return ts_origin_error(origin, "type", "missing: which %s", flat->variants->what);
    }
    if (map)
        TS_TRY(check_known(map, table, variant, false, origin));
    for (const TsKey *key = table->keys; key && key->name; key++)
        if (!key->flat)
            TS_TRY(bind_key(config, key, value, map, origin));
        else if (variant)
            TS_TRY(bind_variant(config, (TsChoice *)((char *)value + key->offset), variant, map, origin));
    return checked(table, value, origin);
}

/* ---- binding lists, maps and choices ---- */

size_t ts_key_item_bytes(const TsKey *element)
{
    switch (element->kind) {
    case TS_KIND_BOOL:
        return sizeof(bool);
    case TS_KIND_ENUM:
        return sizeof(int);
    case TS_KIND_INTERVAL:
        return sizeof(TsInterval);
    case TS_KIND_STRUCT:
        return element->table->size_bytes;
    case TS_KIND_CHOICE:
        return sizeof(TsChoice);
    case TS_KIND_LIST:
        return sizeof(TsList);
    case TS_KIND_MAP:
        return sizeof(TsMap);
    case TS_KIND_STRING:
    case TS_KIND_OPTIONAL:
    case TS_KIND_ANY:
        return sizeof(void *);
    default:
        return sizeof(int64_t); /* and double */
    }
}

static TsStatus bind_choice(TsConfig *config, const TsKey *key, TsChoice *choice, const TsYaml *node,
                            const TsOrigin *origin)
{
    if (node->kind == TS_YAML_LIST)
        return unexpected(key, node, origin);
    const TsVariant *variant;
    TS_TRY(choose_variant(key, &variant, node, origin));
    const TsYaml *map = node->kind == TS_YAML_MAP ? node : NULL;
    if (map)
        TS_TRY(check_known(map, NULL, variant, true, origin));
    return bind_variant(config, choice, variant, map, origin);
}

static TsStatus bind_list(TsConfig *config, const TsKey *key, TsList *list, const TsYaml *node, const TsOrigin *origin)
{
    if (node->kind != TS_YAML_LIST || !in_range(key->range, (double)node->count))
        return unexpected(key, node, origin);
    size_t bytes = ts_key_item_bytes(key->element);
    char *items = ts_pool_calloc(config->pool, (size_t)node->count, bytes);
    *list = (TsList){.count = node->count, .items = items};
    for (int64_t i = 0; i < node->count; i++) {
        void *item = items + (size_t)i * bytes;
        const TsOrigin *place =
            ts_origin_add(config, (TsOrigin){.address = item, .parent = origin, .index = i, .node = node->items[i]});
        TS_TRY(bind_value(config, key->element, item, node->items[i], place));
    }
    return TS_OK;
}

static TsStatus bind_map(TsConfig *config, const TsKey *key, TsMap *map, const TsYaml *node, const TsOrigin *origin)
{
    if (node->kind != TS_YAML_MAP)
        return unexpected(key, node, origin);
    size_t bytes = ts_key_item_bytes(key->element);
    char *items = ts_pool_calloc(config->pool, (size_t)node->count, bytes);
    const char **names = ts_pool_calloc(config->pool, (size_t)node->count, sizeof *names);
    *map = (TsMap){.names = names, .items = items};
    for (int64_t i = 0; i < node->count; i++) {
        if (ts_yaml_is_null(node->items[i]))
            continue;
        void *item = items + (size_t)map->count * bytes;
        const TsOrigin *place = ts_origin_add(
            config, (TsOrigin){.address = item, .parent = origin, .name = node->keys[i], .node = node->items[i]});
        TS_TRY(bind_value(config, key->element, item, node->items[i], place));
        names[map->count++] = node->keys[i];
    }
    return in_range(key->range, (double)map->count) ? TS_OK : unexpected(key, node, origin);
}

static TsStatus bind_value(TsConfig *config, const TsKey *key, void *field, const TsYaml *node, const TsOrigin *origin)
{
    void *made;
    switch (key->kind) {
    case TS_KIND_STRUCT:
        return node->kind == TS_YAML_MAP ? bind_struct(config, key->table, field, node, origin)
                                         : unexpected(key, node, origin);
    case TS_KIND_OPTIONAL:
        if (node->kind != TS_YAML_MAP)
            return unexpected(key, node, origin);
        made = ts_pool_calloc(config->pool, 1, key->table->size_bytes);
        *(void **)field = made;
        return bind_struct(
            config, key->table, made, node,
            ts_origin_add(config, (TsOrigin){made, origin->parent, origin->name, origin->index, 0, node}));
    case TS_KIND_CHOICE:
        return bind_choice(config, key, field, node, origin);
    case TS_KIND_LIST:
        return bind_list(config, key, field, node, origin);
    case TS_KIND_MAP:
        return bind_map(config, key, field, node, origin);
    case TS_KIND_ANY:
        *(const TsYaml **)field = node;
        return TS_OK;
    default:
        return bind_scalar(key, field, node, origin);
    }
}

/* ---- loading ---- */

bool ts_config_is_override(const char *word)
{
    size_t bytes = strcspn(word, "=/ ");
    return word[bytes] == '=' && bytes > 0;
}

TsStatus ts_config_merge(TsPool *pool, const TsYaml **tree, TsConfigSources sources)
{
    const TsYaml *texts = NULL, *overrides = NULL, *next;
    *tree = NULL;
    for (int64_t i = 0; i < sources.text_count; i++) {
        const TsConfigText *text = &sources.texts[i];
        TS_TRY(ts_yaml_parse(pool, &next, text->name, text->bytes, text->size_bytes));
        if (next->kind != TS_YAML_MAP)
            return ts_yaml_error(next, "expected keys with values, found a %s",
                                 next->kind == TS_YAML_LIST ? "list" : "single word");
        texts = texts ? ts_yaml_merge(pool, texts, next, true) : next;
    }
    for (int64_t i = 0; i < sources.override_count;
         i++) { /* among themselves, so that the order of a type and its options is free */
        TS_TRY(ts_yaml_parse_override(pool, &next, sources.overrides[i]));
        overrides = overrides ? ts_yaml_merge(pool, overrides, next, false) : next;
    }
    if (!texts)
        texts = ts_yaml_map(pool, "command line", 0, 0, NULL, NULL);
    *tree = overrides ? ts_yaml_merge(pool, texts, overrides, true) : texts;
    return TS_OK;
}

TsStatus ts_config_bind(TsConfig **config, const TsConfigTable *root, const TsYaml *tree)
{
    TsConfig *made = ts_calloc(1, sizeof *made);
    made->pool = ts_pool_create();
    made->root = root;
    made->tree = tree;
    made->value = ts_pool_calloc(made->pool, 1, root->size_bytes);
    const TsOrigin *origin = ts_origin_add(made, (TsOrigin){.address = made->value, .node = tree});
    TsStatus status = bind_struct(made, root, made->value, tree, origin);
    ts_origin_sort(made);
    if (status)
        ts_config_free(&made);
    *config = made;
    return status;
}

TsStatus ts_config_load(TsConfig **config, const TsConfigTable *root, TsConfigSources sources)
{
    TsPool *pool = ts_pool_create();
    const TsYaml *tree;
    *config = NULL;
    TsStatus status = ts_config_merge(pool, &tree, sources);
    if (!status)
        status = ts_config_bind(config, root, tree);
    if (status)
        ts_pool_free(&pool);
    else
        (*config)->tree_pool = pool;
    return status;
}

void ts_config_free(TsConfig **config)
{
    if (!*config)
        return;
    ts_free((*config)->origins);
    ts_pool_free(&(*config)->pool);
    ts_pool_free(&(*config)->tree_pool);
    ts_free(*config);
    *config = NULL;
}

const void *ts_config_value(const TsConfig *config)
{
    return config->value;
}

const TsConfigTable *ts_config_table(const TsConfig *config)
{
    return config->root;
}
