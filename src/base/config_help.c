/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/config.h"
#include "base/memory.h"

/* ---- what one key takes ---- */

static void describe_end(TsText *out, const TsKey *key, double value)
{
    if (key->kind == TS_KIND_BYTES)
        ts_unit_write_bytes(out, (int64_t)value);
    else if (key->kind == TS_KIND_SECONDS)
        ts_unit_write_seconds(out, value);
    else if (key->kind == TS_KIND_INT && fabs(value) < 1e15)
        ts_text_append(out, "%.0f", value);
    else
        ts_unit_write_real(out, value);
}

static void describe_range(TsText *out, const TsKey *key)
{
    const TsRange *range = &key->range;
    if (!range->is_set)
        return;
    const char *what = key->kind == TS_KIND_LIST || key->kind == TS_KIND_MAP ? " items"
                       : key->kind == TS_KIND_STRING                         ? " bytes"
                                                                             : "";
    if (*what && range->lowest == 1 && range->highest == INFINITY) {
        ts_text_append(out, ", not empty");
        return;
    }
    if (range->lowest == range->highest) {
        ts_text_append(out, ", exactly ");
        describe_end(out, key, range->lowest);
        ts_text_append(out, "%s", what);
        return;
    }
    if (range->lowest > -INFINITY) {
        ts_text_append(out, range->above_lowest ? ", above " : ", at least ");
        describe_end(out, key, range->lowest);
    }
    if (range->highest < INFINITY) {
        ts_text_append(out, "%s%s ", range->lowest > -INFINITY ? " and " : ", ",
                       range->below_highest ? "below" : "at most");
        describe_end(out, key, range->highest);
    }
    ts_text_append(out, "%s", what);
}

static void describe_names(TsText *out, const TsKey *key)
{
    if (key->kind == TS_KIND_ENUM) {
        ts_text_append(out, "one of ");
        for (int i = 0; key->words[i]; i++)
            ts_text_append(out, "%s%s", i ? ", " : "", key->words[i]);
        return;
    }
    ts_text_append(out, "%s %s: ", strchr("aeiou", key->variants->what[0]) ? "an" : "a", key->variants->what);
    for (int64_t i = 0; i < key->variants->count; i++)
        ts_text_append(out, "%s%s", i ? ", " : "", key->variants->items[i].name);
}

void ts_key_describe(TsText *out, const TsKey *key)
{
    static const char *const words[] = {[TS_KIND_BOOL] = "true or false",
                                        [TS_KIND_INT] = "a whole number",
                                        [TS_KIND_REAL] = "a number",
                                        [TS_KIND_STRING] = "a string",
                                        [TS_KIND_BYTES] = "bytes such as 2 GiB",
                                        [TS_KIND_SECONDS] = "a time such as 12 h or 30 s",
                                        [TS_KIND_INTERVAL] = "an interval such as 500 steps, 12 h or never",
                                        [TS_KIND_STRUCT] = "keys with values",
                                        [TS_KIND_OPTIONAL] = "keys with values",
                                        [TS_KIND_LIST] = "a list",
                                        [TS_KIND_MAP] = "names with values",
                                        [TS_KIND_ANY] = "anything"};
    if (key->kind == TS_KIND_ENUM || key->kind == TS_KIND_CHOICE)
        describe_names(out, key);
    else
        ts_text_append(out, "%s", words[key->kind]);
    if (key->unit)
        ts_text_append(out, " of %s", key->unit);
    describe_range(out, key);
    if (key->takes_auto)
        ts_text_append(out, ", or auto");
    if (key->takes_inf)
        ts_text_append(out, ", or inf");
    if (key->element && key->element->kind != TS_KIND_STRUCT) {
        ts_text_append(out, "; each %s", key->element->kind == TS_KIND_ANY ? "" : "of them ");
        ts_key_describe(out, key->element);
    }
}

/* ---- every key with its path ---- */

enum { DEEPEST = 16 };

/* A key as help sees it: its path, with NAME and [] where the configuration has names and items of its own. */
typedef struct Visit {
    TsText path;
    const TsVariant *variant; /* whose key it is, or NULL */
    const TsConfigTable *open[DEEPEST];
    int depth;
    void (*see)(void *context, const char *path, const TsKey *key, const TsVariant *variant);
    void *context;
} Visit;

static void visit_table(Visit *visit, const TsConfigTable *table);

static void visit_variants(Visit *visit, const TsVariants *variants)
{
    const TsVariant *outer = visit->variant;
    for (int64_t i = 0; i < variants->count; i++) {
        visit->variant = &variants->items[i];
        visit_table(visit, variants->items[i].table);
    }
    visit->variant = outer;
}

/* Goes below a key or an element whose path has been appended. */
static void visit_below(Visit *visit, const TsKey *key)
{
    if (key->table)
        visit_table(visit, key->table);
    if (key->variants)
        visit_variants(visit, key->variants);
    if (key->element) {
        size_t bytes = visit->path.size_bytes;
        ts_text_append(&visit->path, key->kind == TS_KIND_MAP ? ".NAME" : "[]");
        visit_below(visit, key->element);
        ts_text_cut(&visit->path, bytes);
    }
}

static void visit_table(Visit *visit, const TsConfigTable *table)
{
    for (int i = 0; i < visit->depth; i++)
        if (visit->open[i] == table) /* a table inside itself, such as a mixture of mixtures */
            return;
    if (!table || visit->depth == DEEPEST)
        return;
    visit->open[visit->depth++] = table;
    const TsVariant *outer = visit->variant;
    for (const TsKey *key = table->keys; key && key->name; key++) {
        size_t bytes = visit->path.size_bytes;
        if (!key->flat)
            ts_text_append(&visit->path, "%s%s", bytes ? "." : "", key->name);
        size_t named_bytes = visit->path.size_bytes;
        if (key->kind == TS_KIND_CHOICE)
            ts_text_append(&visit->path, "%stype", named_bytes ? "." : "");
        visit->see(visit->context, visit->path.data, key, visit->variant);
        ts_text_cut(&visit->path, named_bytes);
        visit->variant = NULL;
        visit_below(visit, key);
        visit->variant = outer;
        ts_text_cut(&visit->path, bytes);
    }
    visit->depth--;
}

static void visit_all(const TsConfigTable *root, void *context,
                      void (*see)(void *context, const char *path, const TsKey *key, const TsVariant *variant))
{
    Visit visit = {.see = see, .context = context};
    ts_text_append(&visit.path, "%s", "");
    visit_table(&visit, root);
    ts_text_free(&visit.path);
}

/* "(a whole number, at least 1; default 2)" */
static void describe_whole(TsText *out, const TsKey *key)
{
    ts_key_describe(out, key);
    if (key->required)
        ts_text_append(out, "; required");
    else if (key->fallback)
        ts_text_append(out, "; default %s", key->fallback);
}

/* ---- help ---- */

typedef struct Search {
    TsText *out;
    const char *path;  /* NULL: every key */
    bool by_last_part; /* `rate` finds learner.optimizer.rate */
    int64_t found;
    TsText last_parts; /* of all keys, each ending with a NUL: candidates for the nearest */
} Search;

/* Whether what the user wrote is this path. NAME stands for any word; [] and [3] may be left out. */
static bool path_matches(const char *pattern, const char *path)
{
    while (*pattern && *path) {
        size_t pattern_bytes = strcspn(pattern, ".["), path_bytes = strcspn(path, ".[");
        bool any = strncmp(pattern, "NAME", pattern_bytes) == 0 && pattern_bytes == 4;
        if (!any && (pattern_bytes != path_bytes || strncmp(pattern, path, path_bytes) != 0))
            return false;
        pattern += pattern_bytes;
        path += path_bytes;
        if (*pattern == '[')
            pattern += strcspn(pattern, "]") + 1;
        if (*path == '[')
            path += strcspn(path, "]") + (strchr(path, ']') != NULL);
        pattern += *pattern == '.';
        path += *path == '.';
    }
    return !*pattern && !*path;
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static bool search_matches(const Search *search, const char *path, const TsKey *key)
{
    if (!search->path)
        return true;
    if (search->by_last_part)
        return strcmp(last_part(path), search->path) == 0 || (key->name && strcmp(key->name, search->path) == 0);
    size_t bytes = strlen(path);
    if (path_matches(path, search->path))
        return true;
    if (key->kind != TS_KIND_CHOICE || bytes < 5) /* learner.optimizer is what its type says */
        return false;
    char *parent = ts_format("%.*s", (int)bytes - 5, path);
    bool matches = path_matches(parent, search->path);
    ts_free(parent);
    return matches;
}

static void list_keys(TsText *out, const TsConfigTable *table)
{
    for (const TsKey *key = table ? table->keys : NULL; key && key->name; key++) {
        ts_text_append(out, "    %-16s %s: ", key->flat ? "type" : key->name, key->help);
        describe_whole(out, key);
        ts_text_append(out, "\n");
    }
}

static void see_key(void *context, const char *path, const TsKey *key, const TsVariant *variant)
{
    Search *search = context;
    const char *last = last_part(path);
    ts_text_append_bytes(&search->last_parts, last, strlen(last) + 1);
    if (!search_matches(search, path, key))
        return;
    search->found++;
    TsText *out = search->out;
    ts_text_append(out, "%s", path);
    if (variant)
        ts_text_append(out, " (of %s)", variant->name);
    ts_text_append(out, search->path ? "\n    %s\n    " : "  %s: ", key->help);
    describe_whole(out, key);
    ts_text_append(out, "\n");
    if (!search->path)
        return;
    const TsKey *inner = key;
    while (inner->element)
        inner = inner->element;
    if (inner->table) {
        ts_text_append(out, "%s%s", inner->table->help, inner->table->keys ? "\n" : "");
        list_keys(out, inner->table);
    }
    for (int64_t i = 0; inner->variants && i < inner->variants->count; i++) {
        ts_text_append(out, "  type: %s  %s\n", inner->variants->items[i].name, inner->variants->items[i].help);
        list_keys(out, inner->variants->items[i].table);
    }
}

static const char *nearest_part(const Search *search)
{
    size_t count = 0, at = 0;
    const char **words = ts_alloc((search->last_parts.size_bytes + 1) * sizeof *words);
    while (at < search->last_parts.size_bytes) {
        words[count++] = search->last_parts.data + at;
        at += strlen(search->last_parts.data + at) + 1;
    }
    const char *nearest = ts_text_nearest(last_part(search->path), words, count);
    ts_free(words);
    return nearest;
}

TsStatus ts_config_help(TsText *out, const TsConfigTable *root, const char *path)
{
    Search search = {.out = out, .path = path};
    visit_all(root, &search, see_key);
    if (!search.found && path) {
        search.by_last_part = true;
        visit_all(root, &search, see_key);
    }
    TsStatus status = TS_OK;
    if (!search.found && path) {
        const char *nearest = nearest_part(&search);
        status = nearest
                     ? ts_status_error(TS_CODE_NOT_FOUND, "there is no key %s; did you mean %s?", path, nearest)
                     : ts_status_error(TS_CODE_NOT_FOUND, "there is no key %s; `tessera help config` lists all", path);
    }
    ts_text_free(&search.last_parts);
    return status;
}

/* ---- the reference page ---- */

typedef struct Page {
    TsText *out;
    const TsConfigTable **tables; /* that have been met, in order; owned */
    int64_t count, capacity;
} Page;

static void meet(Page *page, const TsConfigTable *table)
{
    for (int64_t i = 0; i < page->count; i++)
        if (page->tables[i] == table)
            return;
    if (!table)
        return;
    if (page->count == page->capacity) {
        page->capacity = page->capacity ? 2 * page->capacity : 32;
        page->tables = ts_realloc(page->tables, (size_t)page->capacity * sizeof(*page->tables));
    }
    page->tables[page->count++] = table;
}

static void link_table(Page *page, const TsConfigTable *table)
{
    meet(page, table);
    ts_text_append(page->out, "[%s](#", table->name);
    for (const char *c = table->name; *c; c++) /* as GitHub and GitLab make anchors of headings */
        if (isalnum((unsigned char)*c) || *c == '_' || *c == '-' || *c == ' ')
            ts_text_append(page->out, "%c", *c == ' ' ? '-' : tolower((unsigned char)*c));
    ts_text_append(page->out, ")");
}

static void write_takes(Page *page, const TsKey *key)
{
    const TsKey *inner = key;
    while (inner->element)
        inner = inner->element;
    if (inner->kind == TS_KIND_CHOICE) {
        ts_text_append(page->out, "%s%s: ",
                       inner == key               ? ""
                       : key->kind == TS_KIND_MAP ? "names, each "
                                                  : "a list, each ",
                       inner->variants->what);
        for (int64_t i = 0; i < inner->variants->count; i++) {
            const TsVariant *variant = &inner->variants->items[i];
            ts_text_append(page->out, i ? ", " : "");
            if (variant->table)
                link_table(page, variant->table);
            else
                ts_text_append(page->out, "`%s`", variant->name);
        }
        return;
    }
    ts_key_describe(page->out, key);
    if (inner->table) {
        ts_text_append(page->out, ": ");
        link_table(page, inner->table);
    }
}

static void write_table(Page *page, const TsConfigTable *table)
{
    ts_text_append(page->out, "\n## %s\n\n%s\n", table->name, table->help);
    if (!table->keys || !table->keys->name)
        return;
    ts_text_append(page->out, "\n| key | meaning | takes | default |\n| --- | --- | --- | --- |\n");
    for (const TsKey *key = table->keys; key->name; key++) {
        ts_text_append(page->out, "| `%s` | %s | ", key->flat ? "type" : key->name, key->help);
        write_takes(page, key);
        if (key->required)
            ts_text_append(page->out, " | required |\n");
        else if (key->fallback)
            ts_text_append(page->out, " | `%s` |\n", key->fallback);
        else
            ts_text_append(page->out, " | |\n");
    }
}

void ts_config_markdown(TsText *out, const TsConfigTable *root)
{
    Page page = {.out = out};
    meet(&page, root);
    for (int64_t i = 0; i < page.count; i++) /* writing one meets more */
        write_table(&page, page.tables[i]);
    ts_free(page.tables);
}
