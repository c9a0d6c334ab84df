/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/init_from.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/pattern.h"
#include "base/text.h"
#include "ckpt/inspect.h"

enum { NAMES_LISTED = 20 };

static TsStatus check(const void *value)
{
    const TsInitFromConfig *keys = value;
    const TsList *rules = keys->rules.items;
    const char *const *ignore = keys->ignore.items;
    TsPattern *pattern;
    for (int64_t i = 0; i < keys->rules.count; i++) {
        if (rules[i].count != 2)
            return ts_status_error(TS_CODE_INVALID, "rules.%lld: expected [pattern, template], found a list of %lld",
                                   (long long)i, (long long)rules[i].count);
        TS_TRY(ts_pattern_create(&pattern, ((const char *const *)rules[i].items)[0]));
        ts_pattern_free(&pattern);
    }
    for (int64_t i = 0; i < keys->ignore.count; i++) {
        TS_TRY(ts_pattern_create(&pattern, ignore[i]));
        ts_pattern_free(&pattern);
    }
    return TS_OK;
}

static const TsKey word_item = {.kind = TS_KIND_STRING};
static const TsKey rule_item = {.kind = TS_KIND_LIST, .element = &word_item};

static const TsKey keys[] = {
    TS_KEY_STRING(TsInitFromConfig, path, "a checkpoint, or a run, whose newest is taken", .required = true,
                  .range = TS_AT_LEAST(1)),
    TS_KEY_LIST(TsInitFromConfig, rules, &rule_item,
                "[pattern, name in the source]; the first found in a parameter's path counts, $1 is its first group",
                .fallback = "[]"),
    TS_KEY_LIST(TsInitFromConfig, ignore, &word_item,
                "patterns of what keeps its initial values, and of what the source has too much", .fallback = "[]"),
    TS_KEY_INT(TsInitFromConfig, step, "which checkpoint of a run", .fallback = "auto", .takes_auto = true,
               .range = TS_AT_LEAST(0)),
    TS_KEY_BOOL(TsInitFromConfig, load_step, "count steps on from there", .fallback = "false"),
    TS_KEY_BOOL(TsInitFromConfig, load_optimizer, "take the optimizer's state, too", .fallback = "false"),
    TS_KEY_BOOL(TsInitFromConfig, load_ema, "take averages of parameters, too, where both have them",
                .fallback = "true"),
    TS_KEY_BOOL(TsInitFromConfig, allow_unused, "the source may hold more than is asked for", .fallback = "false"),
    TS_KEY_BOOL(TsInitFromConfig, cast, "dtypes may differ", .fallback = "false"),
    TS_KEYS_END};
const TsConfigTable ts_init_from_table = {"init_from", "Initial weights from elsewhere, where the run begins.",
                                          sizeof(TsInitFromConfig), keys, check};

/* ---- what comes from where ---- */

typedef struct Rule {
    TsPattern *pattern;
    const char *text, *source; /* borrowed; source NULL: ignore */
    bool found;
} Rule;

/* Everything of one call. */
typedef struct Work {
    const TsInitFromConfig *keys;
    const TsBatch *arrays;
    const TsCheckpoint *checkpoint;
    int rule_count, ignore_count;
    Rule *rules, *ignore;
    char **sources; /* (arrays) owned; NULL: keeps what it has */
    TsText missing, unused;
    int missing_count, unused_count;
} Work;

/* What an array is: a prefix of its name; NULL where it is not asked for. */
static const char *kind_of(const Work *work, const char *name)
{
    static const char *const kinds[] = {"parameters/", "optimizer/", "average/"};
    const bool wanted[] = {true, work->keys->load_optimizer, work->keys->load_ema};
    for (int i = 0; i < 3; i++)
        if (wanted[i] && strncmp(name, kinds[i], strlen(kinds[i])) == 0)
            return kinds[i];
    return NULL;
}

/* Where the parameter's own path begins in the name of an array: behind "optimizer/mean/", too. */
static const char *path_in(const char *name, const char *kind)
{
    const char *rest = name + strlen(kind), *slash = strchr(rest, '/');
    return strcmp(kind, "optimizer/") == 0 && slash ? slash + 1 : rest;
}

static bool is_ignored(Work *work, const char *path)
{
    bool ignored = false;
    for (int i = 0; i < work->ignore_count; i++)
        if (ts_pattern_found(work->ignore[i].pattern, path))
            ignored = work->ignore[i].found = true;
    return ignored;
}

/* The name of the source of `path`; NULL where no rule is found in it. Owned by the caller. */
static char *source_path(Work *work, const char *path)
{
    for (int i = 0; i < work->rule_count; i++) {
        char *source = ts_pattern_rewrite(work->rules[i].pattern, path, work->rules[i].source);
        if (source) {
            work->rules[i].found = true;
            return source;
        }
    }
    return work->rule_count == 0 ? ts_strdup(path) : NULL;
}

static bool has_array(const TsCheckpoint *checkpoint, const char *name)
{
    for (int i = 0; i < ts_checkpoint_count(checkpoint); i++)
        if (strcmp(ts_checkpoint_entry(checkpoint, i).name, name) == 0)
            return true;
    return false;
}

/* The name in the checkpoint that is nearest; NULL where none is. Borrowed. */
static const char *nearest_in(const TsCheckpoint *checkpoint, const char *name)
{
    int count = ts_checkpoint_count(checkpoint);
    const char **names = ts_calloc((size_t)count + 1, sizeof *names);
    for (int i = 0; i < count; i++)
        names[i] = ts_checkpoint_entry(checkpoint, i).name;
    const char *nearest = ts_text_nearest(name, names, (size_t)count);
    ts_free(names);
    return nearest;
}

static void add(TsText *list, int *count, const char *format, const char *name, const char *detail)
{
    if ((*count)++ < NAMES_LISTED) {
        ts_text_append(list, "%s%s", *count > 1 ? ", " : "", name);
        if (detail)
            ts_text_append(list, format, detail);
    }
}

static void find_source(Work *work, int index)
{
    const char *name = ts_batch_name(work->arrays, index), *kind = kind_of(work, name);
    if (!kind || is_ignored(work, path_in(name, kind)))
        return;
    const char *path = path_in(name, kind);
    char *source = source_path(work, path);
    if (!source) {
        add(&work->missing, &work->missing_count, "", name, NULL);
        return;
    }
    char *whole = ts_format("%.*s%s", (int)(path - name), name, source);
    ts_free(source);
    if (has_array(work->checkpoint, whole)) {
        work->sources[index] = whole;
        return;
    }
    if (strcmp(kind, "average/") != 0) {
        const char *nearest = nearest_in(work->checkpoint, whole);
        char *detail = nearest ? ts_format("%s; did you mean %s?", whole, nearest) : ts_strdup(whole);
        add(&work->missing, &work->missing_count, " (from %s)", name, detail);
        ts_free(detail);
    }
    ts_free(whole);
}

static void find_unused(Work *work)
{
    for (int i = 0; i < ts_checkpoint_count(work->checkpoint); i++) {
        const char *name = ts_checkpoint_entry(work->checkpoint, i).name, *kind = kind_of(work, name);
        bool used = !kind || strcmp(kind, "average/") == 0;
        for (int k = 0; k < ts_batch_count(work->arrays) && !used; k++)
            used = work->sources[k] && strcmp(work->sources[k], name) == 0;
        if (!used && !is_ignored(work, path_in(name, kind)))
            add(&work->unused, &work->unused_count, "", name, NULL);
    }
}

static TsStatus compile(Rule *rule, const char *pattern, const char *source)
{
    *rule = (Rule){.text = pattern, .source = source};
    return ts_pattern_create(&rule->pattern, pattern);
}

static TsStatus compile_all(Work *work)
{
    const TsList *rules = work->keys->rules.items;
    const char *const *ignore = work->keys->ignore.items;
    work->rules = ts_calloc((size_t)work->keys->rules.count + 1, sizeof *work->rules);
    work->ignore = ts_calloc((size_t)work->keys->ignore.count + 1, sizeof *work->ignore);
    for (int64_t i = 0; i < work->keys->rules.count; i++) {
        const char *const *words = rules[i].items;
        TS_TRY(compile(&work->rules[work->rule_count++], words[0], words[1]));
    }
    for (int64_t i = 0; i < work->keys->ignore.count; i++)
        TS_TRY(compile(&work->ignore[work->ignore_count++], ignore[i], NULL));
    return TS_OK;
}

static TsStatus expect_all_found(const Work *work)
{
    for (int i = 0; i < work->rule_count + work->ignore_count; i++) {
        const Rule *rule = i < work->rule_count ? &work->rules[i] : &work->ignore[i - work->rule_count];
        if (!rule->found)
            return ts_status_error(TS_CODE_INVALID, "init_from.%s: \"%s\" is found in no name",
                                   i < work->rule_count ? "rules" : "ignore", rule->text);
    }
    return TS_OK;
}

/* Decides where each array comes from. The same on all ranks. */
static TsStatus decide(Work *work)
{
    TS_TRY(compile_all(work));
    for (int i = 0; i < ts_batch_count(work->arrays); i++)
        find_source(work, i);
    if (!work->keys->allow_unused)
        find_unused(work);
    TS_TRY(expect_all_found(work));
    TsText message = {0};
    if (work->missing_count > 0)
        ts_text_append(&message, "nothing to initialize %d arrays from: %s%s", work->missing_count, work->missing.data,
                       work->missing_count > NAMES_LISTED ? ", …" : "");
    if (work->unused_count > 0)
        ts_text_append(&message, "%snobody asks for %d of its arrays: %s%s", message.size_bytes ? "; " : "",
                       work->unused_count, work->unused.data, work->unused_count > NAMES_LISTED ? ", …" : "");
    TsStatus status =
        message.size_bytes
            ? ts_status_error(TS_CODE_INVALID, "init_from: %s: %s (init_from.ignore and allow_unused let them be)",
                              ts_checkpoint_path(work->checkpoint), message.data)
            : TS_OK;
    ts_text_free(&message);
    return status;
}

/* ---- reading ---- */

/* Reads in as many rounds as one source is asked for by several arrays. Collective. */
static TsStatus read_all(Work *work, TsCheckpoint *checkpoint)
{
    int count = ts_batch_count(work->arrays), left = 0;
    bool *done = ts_calloc((size_t)count + 1, sizeof *done);
    for (int i = 0; i < count; i++)
        left += work->sources[i] != NULL;
    TsStatus status = TS_OK;
    while (left > 0 && !status) {
        TsBatch *round = ts_batch_create();
        for (int i = 0; i < count; i++)
            if (work->sources[i] && !done[i] && !ts_batch_find(round, work->sources[i])) {
                ts_batch_lend(round, work->sources[i], ts_batch_array(work->arrays, i));
                done[i] = true;
                left--;
            }
        status = ts_checkpoint_restore(checkpoint, round,
                                       (TsRestoreOptions){.allow_unused = true, .cast = work->keys->cast});
        ts_batch_free(&round);
    }
    ts_free(done);
    return status;
}

static json_t *record_of(const Work *work)
{
    json_t *arrays = json_object();
    for (int i = 0; i < ts_batch_count(work->arrays); i++)
        if (work->sources[i])
            json_object_set_new(arrays, ts_batch_name(work->arrays, i), json_string(work->sources[i]));
    char *whole = realpath(ts_checkpoint_path(work->checkpoint), NULL); /* the C library's own memory */
    json_t *record = json_pack("{s:s, s:I, s:o}", "path", whole ? whole : ts_checkpoint_path(work->checkpoint), "step",
                               (json_int_t)ts_checkpoint_step(work->checkpoint), "arrays", arrays);
    free(whole);
    return record;
}

static void work_free(Work *work)
{
    for (int i = 0; i < ts_batch_count(work->arrays); i++)
        ts_free(work->sources[i]);
    for (int i = 0; i < work->rule_count; i++)
        ts_pattern_free(&work->rules[i].pattern);
    for (int i = 0; i < work->ignore_count; i++)
        ts_pattern_free(&work->ignore[i].pattern);
    ts_free(work->sources);
    ts_free(work->rules);
    ts_free(work->ignore);
    ts_text_free(&work->missing);
    ts_text_free(&work->unused);
}

static TsStatus take(TsInitFrom *from, TsGroup *group, Work *work, TsCheckpoint *checkpoint)
{
    TS_TRY(decide(work));
    TS_TRY(ts_status_annotate(read_all(work, checkpoint), "init_from"));
    *from = (TsInitFrom){.step = ts_checkpoint_step(checkpoint), .record = record_of(work)};
    if (ts_group_rank(group) == 0)
        ts_log(TS_LOG_INFO, "initialized %zu of %d arrays from %s",
               json_object_size(json_object_get(from->record, "arrays")), ts_batch_count(work->arrays),
               ts_checkpoint_path(checkpoint));
    return TS_OK;
}

TsStatus ts_init_from(TsInitFrom *from, TsGroup *group, const TsInitFromConfig *init_keys, const TsBatch *arrays)
{
    TsCheckpoint *checkpoint = NULL;
    char *path = init_keys->step == TS_AUTO
                     ? ts_strdup(init_keys->path)
                     : ts_format("%s/checkpoints/step_%08lld", init_keys->path, (long long)init_keys->step);
    TsStatus status = ts_checkpoint_open_named(&checkpoint, group, path);
    ts_free(path);
    if (status)
        return ts_status_annotate(status, "init_from");
    Work work = {.keys = init_keys, .arrays = arrays, .checkpoint = checkpoint};
    work.sources = ts_calloc((size_t)ts_batch_count(arrays) + 1, sizeof *work.sources);
    status = take(from, group, &work, checkpoint);
    work_free(&work);
    ts_checkpoint_close(&checkpoint);
    return status;
}
