/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/check.h"
#include "base/config.h"
#include "base/memory.h"

typedef struct Seen {
    const TsConfigTable **tables; /* owned */
    int64_t count;
} Seen;

static void check_table(Seen *seen, const TsConfigTable *table);

static void check_kind(Seen *seen, const TsConfigTable *table, const TsKey *key)
{
    const char *name = key->name ? key->name : "an element";
    bool is_struct = key->kind == TS_KIND_STRUCT || key->kind == TS_KIND_OPTIONAL;
    bool is_many = key->kind == TS_KIND_LIST || key->kind == TS_KIND_MAP;
    TS_CHECK(!is_struct == !key->table, "%s.%s: a table is for STRUCT and OPTIONAL", table->name, name);
    TS_CHECK((key->kind == TS_KIND_CHOICE) == (key->variants != NULL), "%s.%s: variants are for CHOICE", table->name,
             name);
    TS_CHECK(is_many == (key->element != NULL), "%s.%s: an element is for LIST and MAP", table->name, name);
    TS_CHECK((key->kind == TS_KIND_ENUM) == (key->words != NULL), "%s.%s: words are for ENUM", table->name, name);
    TS_CHECK(!key->flat || key->kind == TS_KIND_CHOICE, "%s.%s: flat is for CHOICE", table->name, name);
    TS_CHECK(!key->takes_auto || key->kind == TS_KIND_INT || key->kind == TS_KIND_REAL || key->kind == TS_KIND_BYTES ||
                 key->kind == TS_KIND_SECONDS,
             "%s.%s: auto is for numbers", table->name, name);
    TS_CHECK(!key->takes_auto || key->kind == TS_KIND_BYTES || key->kind == TS_KIND_SECONDS ||
                 (key->range.is_set && key->range.lowest >= 0),
             "%s.%s: auto needs a range without TS_AUTO in it", table->name, name);
    TS_CHECK(!key->takes_inf || key->kind == TS_KIND_REAL, "%s.%s: inf is for REAL", table->name, name);
    if (key->element)
        check_kind(seen, table, key->element);
    if (key->table)
        check_table(seen, key->table);
    for (int64_t i = 0; key->variants && i < key->variants->count; i++) {
        TS_CHECK(key->variants->items[i].name && key->variants->items[i].help, "%s.%s: a variant without name or help",
                 table->name, name);
        check_table(seen, key->variants->items[i].table);
    }
}

/* Binds the key alone, left out, as the only key of a table: its fallback must read. */
static void check_fallback(const TsConfigTable *table, const TsKey *key)
{
    TS_CHECK(!key->fallback || !(key->required || key->kind == TS_KIND_STRUCT || key->kind == TS_KIND_OPTIONAL),
             "%s.%s: a default where there can be none", table->name, key->name);
    if (!key->fallback)
        return;
    TsKey keys[2] = {*key, TS_KEYS_END};
    TsConfigTable alone = {table->name, table->help, table->size_bytes, keys, NULL};
    TsPool *pool = ts_pool_create();
    TsConfig *config;
    TsStatus status = ts_config_bind(&config, &alone, ts_yaml_map(pool, "check", 0, 0, NULL, NULL));
    TS_CHECK(!status, "%s.%s: %s", table->name, key->name, ts_status_message(status));
    ts_config_free(&config);
    ts_pool_free(&pool);
}

static void check_table(Seen *seen, const TsConfigTable *table)
{
    if (!table)
        return;
    for (int64_t i = 0; i < seen->count; i++) {
        if (seen->tables[i] == table)
            return;
        TS_CHECK(strcmp(seen->tables[i]->name, table->name) != 0, "two tables are named %s", table->name);
    }
    seen->tables = ts_realloc(seen->tables, (size_t)(seen->count + 1) * sizeof *seen->tables);
    seen->tables[seen->count++] = table;
    TS_CHECK(table->name && table->help && table->size_bytes, "table %s: no name, help or size", table->name);
    bool flat = false;
    for (const TsKey *key = table->keys; key && key->name; key++) {
        TS_CHECK(key->help && key->help[0] && !strpbrk(key->help, "\n|"), "%s.%s: help must be one line without |",
                 table->name, key->name);
        for (const TsKey *other = table->keys; other != key; other++)
            TS_CHECK(strcmp(other->name, key->name) != 0, "%s.%s: twice", table->name, key->name);
        TS_CHECK(!(key->flat && flat), "%s.%s: a second flat choice", table->name, key->name);
        flat = flat || key->flat;
        check_kind(seen, table, key);
        check_fallback(table, key);
    }
}

void ts_config_check_tables(const TsConfigTable *root)
{
    Seen seen = {0};
    check_table(&seen, root);
    ts_free(seen.tables);
}
