/* SPDX-License-Identifier: Apache-2.0 */
#include "task/run/run_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "task/run/run_lock.h"

struct TsRunDir {
    TsGroup *group; /* borrowed */
    char *path;
    TsText config;   /* as config.yaml will be */
    FILE *metrics;   /* NULL but on rank 0 */
    TsRunLock *lock; /* the same */
};

/* Keys that may change from one start to the next: how long, how fast, what is kept and printed. */
static const char *const free_keys[] = {"run.dir",        "run.steps",    "run.stop_before",
                                        "run.threads",    "run.log",      "run.decode_every",
                                        "run.histograms", "run.progress", "run.evaluate",
                                        "plugins",        "run.mode",     "run.timeout",
                                        "early_stop",     "mesh",         "parameters",
                                        "checkpoint",     "decode",       "trace",
                                        "cluster",        "guard",        NULL};

static bool is_free(const char *path)
{
    for (const char *const *key = free_keys; *key; key++) {
        size_t length = strlen(*key);
        if (strncmp(path, *key, length) == 0 && (path[length] == 0 || path[length] == '.'))
            return true;
    }
    return false;
}

/* ---- the differences of two configurations ---- */

static void write_value(TsText *out, const TsYaml *node)
{
    if (!node)
        ts_text_append(out, "(not there)");
    else if (node->kind == TS_YAML_SCALAR)
        ts_text_append(out, "%s", node->text);
    else
        ts_text_append(out, node->kind == TS_YAML_MAP ? "{...}" : "[...]");
}

static void compare(TsText *out, const char *path, const TsYaml *old, const TsYaml *new);

static void compare_maps(TsText *out, const char *path, const TsYaml *old, const TsYaml *new)
{
    for (int side = 0; side < 2; side++) {
        const TsYaml *map = side ? new : old, *other = side ? old : new;
        for (int64_t i = 0; i < map->count; i++) {
            const TsYaml *there = ts_yaml_get(other, map->keys[i]);
            if (side && there)
                continue; /* compared from the other side */
            char *inner = ts_format("%s%s%s", path, path[0] ? "." : "", map->keys[i]);
            compare(out, inner, side ? there : map->items[i], side ? map->items[i] : there);
            ts_free(inner);
        }
    }
}

static void compare_lists(TsText *out, const char *path, const TsYaml *old, const TsYaml *new)
{
    for (int64_t i = 0; i < old->count || i < new->count; i++) {
        char *inner = ts_format("%s.%lld", path, (long long)i);
        compare(out, inner, i < old->count ? old->items[i] : NULL, i < new->count ? new->items[i] : NULL);
        ts_free(inner);
    }
}

/* Appends "  PATH: OLD, now NEW" for each value that differs and is not free. */
static void compare(TsText *out, const char *path, const TsYaml *old, const TsYaml *new)
{
    if (is_free(path))
        return;
    if (old && new && old->kind == new->kind && old->kind == TS_YAML_MAP) {
        compare_maps(out, path, old, new);
    } else if (old && new && old->kind == new->kind && old->kind == TS_YAML_LIST) {
        compare_lists(out, path, old, new);
    } else if (!old || !new || old->kind != new->kind || strcmp(old->text, new->text) != 0) {
        ts_text_append(out, "\n  %s: ", path);
        write_value(out, old);
        ts_text_append(out, ", now ");
        write_value(out, new);
    }
}

static TsStatus list_differences(TsText *differences, const char *path, const char *old, size_t old_bytes,
                                 const TsText *new)
{
    TsPool *pool = ts_pool_create();
    const TsYaml *was = NULL, *is = NULL;
    TsStatus status = ts_yaml_parse(pool, &was, path, old, old_bytes);
    if (!status)
        status = ts_yaml_parse(pool, &is, "the new configuration", new->data, new->size_bytes);
    if (!status)
        compare(differences, "", was, is);
    ts_pool_free(&pool);
    return status;
}

/* Compares with the config.yaml at `path`. */
static TsStatus check_config(const char *dir, const char *path, const TsText *text, bool force)
{
    TsText differences = {0};
    char *old = NULL;
    size_t old_bytes = 0;
    TsStatus status = ts_file_read(&old, &old_bytes, path, TS_YAML_BYTES);
    if (!status)
        status = list_differences(&differences, path, old, old_bytes, text);
    if (differences.data && force)
        ts_log(TS_LOG_WARNING, "%s was made by another configuration; going on by force:%s", dir, differences.data);
    else if (differences.data)
        status = ts_status_error(TS_CODE_INVALID,
                                 "%s holds a run of another configuration; give another run.dir, or --force to go on "
                                 "with:%s",
                                 dir, differences.data);
    ts_free(old);
    ts_text_free(&differences);
    return status;
}

/* ---- on rank 0 ---- */

static TsStatus suits_run(const char *dir, const TsText *text, bool force)
{
    char *path = ts_format("%s/config.yaml", dir);
    TsStatus status = ts_file_exists(path) ? check_config(dir, path, text, force) : TS_OK;
    ts_free(path);
    return status;
}

static TsStatus write_config(const TsRunDir *dir)
{
    char *path = ts_format("%s/config.yaml", dir->path);
    TsStatus status = ts_file_write(path, dir->config.data, dir->config.size_bytes);
    ts_free(path);
    return status;
}

static TsStatus open_log(const char *dir)
{
    char *path = ts_format("%s/log.txt", dir);
    TsStatus status = ts_log_open(path);
    ts_free(path);
    return status;
}

static TsStatus open_metrics(TsRunDir *dir)
{
    char *path = ts_format("%s/metrics.jsonl", dir->path);
    dir->metrics = fopen(path, "ab");
    TsStatus status = dir->metrics ? TS_OK : ts_status_error(TS_CODE_IO, "%s: %s", path, strerror(errno));
    ts_free(path);
    return status;
}

static TsStatus open_files(TsRunDir *dir, bool force)
{
    TS_TRY(ts_status_annotate(ts_file_make_directory(dir->path), "run.dir"));
    TS_TRY(ts_run_lock_take(&dir->lock, dir->path));
    TS_TRY(suits_run(dir->path, &dir->config, force));
    TS_TRY(open_log(dir->path));
    return open_metrics(dir);
}

TsStatus ts_run_dir_open(TsRunDir **dir, TsGroup *group, const char *path, const TsConfig *config, bool force)
{
    TsRunDir *made = ts_calloc(1, sizeof *made);
    made->path = ts_strdup(path);
    made->group = group;
    ts_config_write(config, &made->config);
    TsStatus status = ts_comm_agree(group, ts_group_rank(group) == 0 ? open_files(made, force) : TS_OK);
    if (status)
        ts_run_dir_close(&made);
    *dir = made;
    return status;
}

TsStatus ts_run_dir_write_config(TsRunDir *dir)
{
    return ts_comm_agree(dir->group, ts_group_rank(dir->group) == 0 ? write_config(dir) : TS_OK);
}

void ts_run_dir_close(TsRunDir **dir)
{
    if (!*dir)
        return;
    if ((*dir)->metrics)
        fclose((*dir)->metrics);
    TsStatus closed = ts_log_open(NULL);
    ts_status_free(&closed);
    ts_run_lock_release(&(*dir)->lock);
    ts_text_free(&(*dir)->config);
    ts_free((*dir)->path);
    ts_free(*dir);
    *dir = NULL;
}

const char *ts_run_dir_path(const TsRunDir *dir)
{
    return dir->path;
}

char *ts_run_dir_config_hash(const TsRunDir *dir)
{
    return ts_format("%08" PRIx32, ts_crc32c(0, dir->config.data, dir->config.size_bytes));
}

bool ts_run_dir_lost(const TsRunDir *dir)
{
    return dir->lock && ts_run_lock_lost(dir->lock);
}

void ts_run_dir_add_metrics(TsRunDir *dir, json_t *object)
{
    if (dir->metrics) {
        char *line = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
        bool good = line && fprintf(dir->metrics, "%s\n", line) > 0 && fflush(dir->metrics) == 0;
        free(line); /* jansson's */
        if (!good) {
            ts_log(TS_LOG_WARNING, "%s/metrics.jsonl: %s; no more metrics are written", dir->path, strerror(errno));
            fclose(dir->metrics);
            dir->metrics = NULL;
        }
    }
    json_decref(object);
}
