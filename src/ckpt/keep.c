/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/keep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/commit.h"
#include "ckpt/damage.h"
#include "ckpt/directory.h"

/* ---- the rules ---- */

/* One in every so many seconds: the first, and each that is so far from the last that was kept. A clock that was set
 * back keeps one more. */
static void keep_by_time(TsKeepItem *items, int64_t count, double every_s)
{
    double last_s = -INFINITY;
    for (int64_t i = 0; i < count; i++)
        if (fabs(items[i].time_s - last_s) >= every_s) {
            items[i].because |= TS_KEPT_TIME;
            last_s = items[i].time_s;
        }
}

/* Whether a is better than b; of equal ones the newer is. */
static bool better(const TsKeepItem *a, const TsKeepItem *b, bool higher)
{
    if (a->metric != b->metric)
        return higher ? a->metric > b->metric : a->metric < b->metric;
    return a->step > b->step;
}

static void keep_best(TsKeepItem *items, int64_t count, const TsKeepPolicy *policy)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t ahead = 0;
        for (int64_t k = 0; k < count && items[i].has_metric; k++)
            ahead += items[k].has_metric && better(&items[k], &items[i], policy->higher);
        if (items[i].has_metric && ahead < policy->best)
            items[i].because |= TS_KEPT_BEST;
    }
}

static bool is_given(int64_t step, const TsKeepPolicy *policy)
{
    for (int64_t i = 0; i < policy->step_count; i++)
        if (policy->steps[i] == step)
            return true;
    return false;
}

void ts_keep_decide(TsKeepItem *items, int64_t count, const TsKeepPolicy *policy)
{
    for (int64_t i = 0; i < count; i++) {
        TsKeepItem *item = &items[i];
        item->because = (i == count - 1 ? TS_KEPT_NEWEST : 0u) | (item->named ? TS_KEPT_NAMED : 0u) |
                        (is_given(item->step, policy) ? TS_KEPT_GIVEN : 0u);
        if (policy->latest == 0 || count - i <= policy->latest)
            item->because |= TS_KEPT_LATEST;
        if (policy->every_steps > 0 && item->step % policy->every_steps == 0)
            item->because |= TS_KEPT_STEPS;
    }
    if (policy->every_s > 0)
        keep_by_time(items, count, policy->every_s);
    keep_best(items, count, policy);
}

char *ts_keep_words(unsigned because, const TsKeepPolicy *policy)
{
    TsText text = {0};
    const char *between = "";
#define ADD(flag, ...)                                                                                                 \
    if (because & (flag)) {                                                                                            \
        ts_text_append(&text, "%s", between);                                                                          \
        ts_text_append(&text, __VA_ARGS__);                                                                            \
        between = ", ";                                                                                                \
    }
    if (!(because & TS_KEPT_LATEST))
        ADD(TS_KEPT_NEWEST, "newest")
    ADD(TS_KEPT_LATEST, "latest")
    ADD(TS_KEPT_STEPS, "every %lld steps", (long long)policy->every_steps)
    ADD(TS_KEPT_TIME, "every %.6g s", policy->every_s)
    ADD(TS_KEPT_GIVEN, "given step")
    ADD(TS_KEPT_BEST, "best %s", policy->by)
    ADD(TS_KEPT_NAMED, "named by another")
#undef ADD
    char *words = ts_strdup(text.data ? text.data : "");
    ts_text_free(&text);
    return words;
}

/* ---- what manifests say ---- */

/* "2026-01-31T12:00:00Z" in seconds since 1970; 0 where that is not what it says. */
static double time_of(const TsManifest *manifest)
{
    const char *stamp = json_string_value(json_object_get(manifest->provenance, "time"));
    struct tm parts = {0};
    if (!stamp || sscanf(stamp, "%4d-%2d-%2dT%2d:%2d:%2d", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
                         &parts.tm_hour, &parts.tm_min, &parts.tm_sec) != 6)
        return 0;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    return (double)timegm(&parts);
}

TsKeepItem ts_keep_item(const TsManifest *manifest, const TsKeepPolicy *policy)
{
    TsKeepItem item = {.step = manifest->step, .time_s = time_of(manifest)};
    const json_t *evaluated = json_object_get(manifest->state, "evaluated_step");
    const json_t *metric = policy->by ? json_object_get(json_object_get(manifest->state, "metrics"), policy->by) : NULL;
    bool own = !evaluated || json_integer_value(evaluated) == manifest->step;
    item.has_metric = own && json_is_number(metric);
    item.metric = json_number_value(metric);
    return item;
}

/* Whether the text is a path of the directory. */
static bool is_path_of(const json_t *text, const char *path)
{
    char *named = json_is_string(text) ? realpath(json_string_value(text), NULL) : NULL;
    char *real = named ? realpath(path, NULL) : NULL;
    bool same = real && strcmp(named, real) == 0;
    free(named); /* the C library's */
    free(real);
    return same;
}

bool ts_keep_names(const TsManifest *manifest, const char *path)
{
    json_t *averaged = json_object_get(manifest->state, "averaged"), *item;
    size_t i;
    json_array_foreach(averaged, i, item) if (is_path_of(item, path)) return true;
    return is_path_of(json_object_get(json_object_get(manifest->state, "initialized"), "path"), path);
}

json_t *ts_keep_json(const TsKeepPolicy *policy)
{
    json_t *steps = json_array();
    for (int64_t i = 0; i < policy->step_count; i++)
        json_array_append_new(steps, json_integer(policy->steps[i]));
    json_t *json = json_pack("{s:I, s:I, s:f, s:o, s:I, s:b}", "latest", (json_int_t)policy->latest, "every_steps",
                             (json_int_t)policy->every_steps, "every_s", policy->every_s, "steps", steps, "best",
                             (json_int_t)policy->best, "higher", policy->higher);
    if (policy->by)
        json_object_set_new(json, "by", json_string(policy->by));
    return json;
}

TsKeepPolicy ts_keep_parse(const json_t *json, int64_t **steps)
{
    const json_t *list = json_object_get(json, "steps");
    *steps = ts_calloc(json_array_size(list) + 1, sizeof **steps);
    for (size_t i = 0; i < json_array_size(list); i++)
        (*steps)[i] = json_integer_value(json_array_get(list, i));
    return (TsKeepPolicy){.latest = json_integer_value(json_object_get(json, "latest")),
                          .every_steps = json_integer_value(json_object_get(json, "every_steps")),
                          .every_s = json_number_value(json_object_get(json, "every_s")),
                          .steps = *steps,
                          .step_count = (int64_t)json_array_size(list),
                          .best = json_integer_value(json_object_get(json, "best")),
                          .by = json_string_value(json_object_get(json, "by")),
                          .higher = json_is_true(json_object_get(json, "higher"))};
}

/* ---- pruning ---- */

/* The manifest of the checkpoint at `path`; NULL where it is not one that counts. */
static TsManifest *read_manifest(const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    TsManifest *manifest = NULL;
    if (ts_damage_known(NULL, path))
        return NULL;
    TsStatus status = ts_commit_read(&text, &bytes, path);
    if (!status)
        status = ts_manifest_parse(&manifest, text, bytes, path);
    ts_status_free(&status);
    ts_free(text);
    return manifest;
}

static void remove_unkept(const char *root, const TsKeepItem *items, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!items[i].because)
            ts_commit_remove(root, items[i].step);
}

void ts_keep_prune(const char *root, int64_t step, const TsKeepPolicy *policy)
{
    int64_t *steps = NULL, found = 0, count = 0;
    if (policy->latest == 0)
        return;
    TsStatus status = ts_directory_list(&steps, &found, root, false);
    if (status)
        ts_log(TS_LOG_WARNING, "%s; nothing is pruned", ts_status_message(status));
    ts_status_free(&status);
    TsKeepItem *items = ts_calloc((size_t)found + 1, sizeof *items);
    TsManifest **manifests = ts_calloc((size_t)found + 1, sizeof *manifests);
    for (int64_t i = found - 1; i >= 0; i--) { /* oldest first */
        char *path = ts_directory_path(root, steps[i]);
        TsManifest *manifest = steps[i] <= step ? read_manifest(path) : NULL;
        if (manifest) {
            items[count] = ts_keep_item(manifest, policy);
            items[count].step = steps[i]; /* by the name of the directory, which is what is removed */
            manifests[count++] = manifest;
        }
        ts_free(path);
    }
    for (int64_t i = 0; i < count; i++) {
        char *path = ts_directory_path(root, items[i].step);
        for (int64_t k = 0; k < count && !items[i].named; k++)
            items[i].named = k != i && ts_keep_names(manifests[k], path);
        ts_free(path);
    }
    ts_keep_decide(items, count, policy);
    remove_unkept(root, items, count);
    for (int64_t i = 0; i < count; i++)
        ts_manifest_free(&manifests[i]);
    ts_free(manifests);
    ts_free(items);
    ts_free(steps);
}
