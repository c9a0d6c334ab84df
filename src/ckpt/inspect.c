/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run has, and which checkpoint a path means.
 */
#include "ckpt/inspect.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "ckpt/commit.h"
#include "ckpt/damage.h"
#include "ckpt/directory.h"
#include "ckpt/keep.h"
#include "ckpt/manifest.h"
#include "ckpt/root.h"

/* ---- one directory ---- */

/* Bytes of all files in a directory; what vanishes meanwhile does not count. */
static int64_t directory_bytes(const char *path)
{
    int64_t bytes = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat found;
        char *file = ts_file_join(path, entry->d_name);
        if (lstat(file, &found) == 0 && S_ISREG(found.st_mode))
            bytes += (int64_t)found.st_size;
        ts_free(file);
    }
    if (dir)
        closedir(dir);
    return bytes;
}

/* Seconds since COMMIT, or the directory, changed. */
static double age_of(const char *path)
{
    struct stat found;
    struct timespec now;
    char *commit = ts_file_join(path, TS_CHECKPOINT_COMMIT);
    bool known = stat(commit, &found) == 0 || stat(path, &found) == 0;
    ts_free(commit);
    clock_gettime(CLOCK_REALTIME, &now);
    return known ? fmax(0, (double)(now.tv_sec - found.st_mtim.tv_sec) +
                               1e-9 * (double)(now.tv_nsec - found.st_mtim.tv_nsec))
                 : 0;
}

/* Reads manifest and COMMIT; a damaged one is no error but a condition. The manifest is owned by the caller; NULL where
 * the checkpoint is of no use. */
static TsManifest *read_committed(TsCheckpointSummary *summary, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    TsManifest *manifest = NULL;
    TsStatus status = ts_commit_read(&text, &bytes, path);
    if (!status)
        status = ts_manifest_parse(&manifest, text, bytes, path);
    if (status)
        summary->reason = ts_strdup(ts_status_message(status));
    else if (ts_damage_known(&summary->reason, path))
        ts_manifest_free(&manifest);
    if (!manifest)
        summary->condition = TS_CHECKPOINT_DAMAGED;
    json_t *metrics = manifest ? json_object_get(manifest->state, "metrics") : NULL;
    summary->metrics = json_is_object(metrics) ? json_incref(metrics) : NULL;
    ts_status_free(&status);
    ts_free(text);
    return manifest;
}

/* *manifest is of a checkpoint that can be used, and owned by the caller; else NULL. */
static TsCheckpointSummary summarize(TsManifest **manifest, const char *root, int64_t step, bool temporary)
{
    char *path = temporary ? ts_directory_tmp_path(root, step) : ts_directory_path(root, step);
    TsCheckpointSummary summary = {.step = step, .size_bytes = directory_bytes(path), .age_s = age_of(path)};
    if (temporary)
        summary.condition = TS_CHECKPOINT_UNFINISHED;
    else if (!ts_directory_holds(path, TS_CHECKPOINT_COMMIT))
        summary.condition = TS_CHECKPOINT_UNCOMMITTED;
    else
        *manifest = read_committed(&summary, path);
    ts_free(path);
    return summary;
}

/* ---- a run ---- */

/* Says why each that can be used is kept, by the rules that the newest was saved under. manifests[i] is of items[i], or
 * NULL. */
static void explain(TsCheckpointList *list, TsManifest *const *manifests, const char *root)
{
    TsKeepItem *items = ts_calloc((size_t)list->count + 1, sizeof *items);
    int64_t *steps = NULL, count = 0;
    const json_t *rules = NULL;
    for (int64_t i = 0; i < list->count; i++)
        if (manifests[i])
            rules = json_object_get(manifests[i]->provenance, "keep");
    TsKeepPolicy policy = ts_keep_parse(rules, &steps);
    for (int64_t i = 0; i < list->count; i++)
        if (manifests[i]) {
            char *path = ts_directory_path(root, list->items[i].step);
            items[count] = ts_keep_item(manifests[i], &policy);
            for (int64_t k = 0; k < list->count; k++)
                items[count].named |= k != i && manifests[k] && ts_keep_names(manifests[k], path);
            count++;
            ts_free(path);
        }
    ts_keep_decide(items, count, &policy);
    for (int64_t i = 0, k = 0; i < list->count; i++)
        if (manifests[i])
            list->items[i].kept = rules ? ts_keep_words(items[k++].because, &policy) : NULL;
    ts_free(items);
    ts_free(steps);
}

static TsStatus expect_directory(const char *root)
{
    struct stat found;
    if (stat(root, &found) != 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: no checkpoints: %s", root,
                               strerror(errno));
    if (!S_ISDIR(found.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: no checkpoints: it is not a directory", root);
    return TS_OK;
}

static TsStatus list_root(TsCheckpointList *list, const char *root)
{
    TS_TRY(expect_directory(root));
    int64_t *steps[2] = {NULL}, count[2] = {0}; /* finished, temporary; newest first */
    TsStatus status = ts_directory_list(&steps[0], &count[0], root, false);
    if (!status)
        status = ts_directory_list(&steps[1], &count[1], root, true);
    size_t all = (size_t)(count[0] + count[1]);
    TsManifest **manifests = ts_calloc(all + 1, sizeof *manifests);
    if (!status)
        list->items = ts_calloc(all, sizeof *list->items);
    while (!status && count[0] + count[1] > 0) {
        bool temporary = count[0] == 0 || (count[1] > 0 && steps[1][count[1] - 1] < steps[0][count[0] - 1]);
        list->items[list->count] =
            summarize(&manifests[list->count], root, steps[temporary][--count[temporary]], temporary);
        list->count++;
    }
    explain(list, manifests, root);
    for (int64_t i = 0; i < list->count; i++)
        ts_manifest_free(&manifests[i]);
    ts_free(manifests);
    ts_free(steps[0]);
    ts_free(steps[1]);
    return status;
}

TsStatus ts_checkpoint_list_create(TsCheckpointList **list, const char *run_dir)
{
    TsCheckpointList *made = ts_calloc(1, sizeof *made);
    char *root = ts_directory_root(run_dir);
    TsStatus status = list_root(made, root);
    ts_free(root);
    if (status)
        ts_checkpoint_list_free(&made);
    *list = made;
    return status;
}

void ts_checkpoint_list_free(TsCheckpointList **list)
{
    if (!*list)
        return;
    for (int64_t i = 0; i < (*list)->count; i++) {
        ts_free((*list)->items[i].reason);
        ts_free((*list)->items[i].kept);
        json_decref((*list)->items[i].metrics); /* NULL is fine */
    }
    ts_free((*list)->items);
    ts_free(*list);
    *list = NULL;
}

/* ---- which is meant ---- */

/* The directory of the checkpoint that `path` means; owned by the caller. Not collective. */
static TsStatus find_named(char **found, const char *path)
{
    char *root = ts_directory_root(path);
    int64_t *steps = NULL, count = 0;
    TsStatus status = TS_OK;
    *found = NULL;
    if (ts_directory_holds(path, TS_CHECKPOINT_COMMIT) || !ts_directory_exists(root))
        *found = ts_strdup(path);
    else
        status = ts_directory_list(&steps, &count, root, false);
    for (int64_t i = 0; i < count && !*found; i++) {
        *found = ts_directory_path(root, steps[i]);
        if (!ts_directory_holds(*found, TS_CHECKPOINT_COMMIT)) {
            ts_free(*found);
            *found = NULL;
        }
    }
    if (!status && !*found)
        status = ts_status_error(TS_CODE_NOT_FOUND, "%s: holds no checkpoint that is committed", root);
    ts_free(steps);
    ts_free(root);
    return status;
}

TsStatus ts_checkpoint_open_named(TsCheckpoint **checkpoint, TsGroup *group, const char *path)
{
    bool finds = ts_group_rank(group) == 0;
    char *found = NULL;
    *checkpoint = NULL;
    TS_TRY(ts_root_status(group, finds ? find_named(&found, path) : TS_OK));
    size_t bytes = finds ? strlen(found) : 0;
    ts_root_text(group, &found, &bytes);
    TsStatus status = ts_checkpoint_open(checkpoint, group, found);
    ts_free(found);
    return status;
}
