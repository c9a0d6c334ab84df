/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ckpt/parts.h"

#define MARK   "unfinished"
#define PREFIX "step_"
#define SUFFIX ".tmp"

/* What a directory of ours can hold; and what ts_file_write makes of these names before it renames. */
static const char *const our_files[] = {TS_CHECKPOINT_COMMIT, TS_CHECKPOINT_MANIFEST, TS_CHECKPOINT_STATE, MARK,
                                        TS_CHECKPOINT_DAMAGED_MARK};
enum { OUR_FILES = sizeof our_files / sizeof our_files[0] };

char *ts_directory_root(const char *run_dir)
{
    return ts_file_join(run_dir, "checkpoints");
}

char *ts_directory_path(const char *root, int64_t step)
{
    return ts_format("%s/" PREFIX "%08" PRId64, root, step);
}

char *ts_directory_tmp_path(const char *root, int64_t step)
{
    return ts_format("%s/" PREFIX "%08" PRId64 SUFFIX, root, step);
}

/* The step that `name`, ending with `suffix`, stands for; -1 where it stands for none. */
static int64_t step_of(const char *name, const char *suffix)
{
    size_t prefix = strlen(PREFIX), digits = 0;
    if (strncmp(name, PREFIX, prefix) != 0)
        return -1;
    while (name[prefix + digits] >= '0' && name[prefix + digits] <= '9')
        digits++;
    bool canonical = digits == 8 || (digits > 8 && digits <= 18 && name[prefix] != '0');
    return canonical && strcmp(name + prefix + digits, suffix) == 0 ? strtoll(name + prefix, NULL, 10) : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

TsStatus ts_directory_list(int64_t **steps, int64_t *count, const char *root, bool temporary)
{
    *steps = NULL;
    *count = 0;
    DIR *dir = opendir(root);
    if (!dir && errno == ENOENT)
        return TS_OK;
    if (!dir)
        return ts_status_error(TS_CODE_IO, "%s: cannot be listed: %s", root, strerror(errno));
    int64_t *found = NULL, capacity = 0, length = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int64_t step = step_of(entry->d_name, temporary ? SUFFIX : "");
        if (step < 0)
            continue;
        if (length == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            found = ts_realloc(found, (size_t)capacity * sizeof *found);
        }
        found[length++] = step;
    }
    closedir(dir);
    if (length)
        qsort(found, (size_t)length, sizeof *found, newest_first);
    *steps = found;
    *count = length;
    return TS_OK;
}

bool ts_directory_exists(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

bool ts_directory_holds(const char *path, const char *name)
{
    char *file = ts_file_join(path, name);
    bool there = ts_directory_exists(file);
    ts_free(file);
    return there;
}

static bool is_our_name(const char *name)
{
    for (int i = 0; i < OUR_FILES; i++) {
        size_t length = strlen(our_files[i]);
        if (strncmp(name, our_files[i], length) == 0 &&
            (name[length] == '\0' || strncmp(name + length, SUFFIX ".", strlen(SUFFIX ".")) == 0))
            return true;
    }
    return ts_parts_is_file_name(name);
}

/* Counts what `path` holds; fails at the first entry that has not a name of ours. */
static TsStatus count_ours(const char *path, int *count)
{
    *count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return ts_status_error(TS_CODE_INVALID, "%s: is in the way of a checkpoint and cannot be listed: %s", path,
                               strerror(errno));
    TsStatus status = TS_OK;
    for (struct dirent *entry; !status && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (*count)++;
        if (!is_our_name(entry->d_name))
            status = ts_status_error(TS_CODE_INVALID,
                                     "%s: is in the way of a checkpoint, and holds %s, which is not part of one: "
                                     "move it elsewhere",
                                     path, entry->d_name);
    }
    closedir(dir);
    return status;
}

TsStatus ts_directory_expect_ours(const char *path)
{
    int count;
    return count_ours(path, &count);
}

TsStatus ts_directory_mark(const char *path)
{
    static const char text[] = "A checkpoint that is being written or removed. The next save removes it.\n";
    char *mark = ts_file_join(path, MARK);
    int file =
        open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666); /* under its name at once: a directory without is not ours */
    bool made = file >= 0 && write(file, text, sizeof text - 1) == (ssize_t)(sizeof text - 1);
    TsStatus status =
        made ? TS_OK : ts_status_error(TS_CODE_IO, "%s: cannot be marked as unfinished: %s", path, strerror(errno));
    if (file >= 0)
        close(file);
    ts_free(mark);
    return status ? status : ts_file_sync(path);
}

void ts_directory_unmark(const char *path)
{
    char *mark = ts_file_join(path, MARK);
    if (unlink(mark) != 0)
        ts_log(TS_LOG_WARNING, "%s: cannot be removed: %s", mark, strerror(errno));
    ts_free(mark);
}

static TsStatus unlink_in(const char *path, const char *name)
{
    char *file = ts_file_join(path, name);
    bool failed = unlink(file) != 0 && errno != ENOENT;
    ts_free(file);
    return failed ? ts_status_error(TS_CODE_IO, "%s: cannot remove %s: %s", path, name, strerror(errno)) : TS_OK;
}

/* Removes all files but the mark. */
static TsStatus unlink_contents(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return ts_status_error(TS_CODE_IO, "%s: cannot be listed: %s", path, strerror(errno));
    TsStatus status = TS_OK;
    for (struct dirent *entry; !status && (entry = readdir(dir));)
        if (is_our_name(entry->d_name) && strcmp(entry->d_name, MARK) != 0)
            status = unlink_in(path, entry->d_name);
    closedir(dir);
    return status;
}

TsStatus ts_directory_remove(const char *path)
{
    int count;
    TS_TRY(count_ours(path, &count));
    if (count > 0 && !ts_directory_holds(path, MARK))
        return ts_status_error(TS_CODE_INVALID,
                               "%s: is in the way of a checkpoint, and not a save that was cut off: move it elsewhere",
                               path);
    TS_TRY(unlink_contents(path));
    TS_TRY(unlink_in(path, MARK));
    if (rmdir(path) != 0)
        return ts_status_error(TS_CODE_IO, "%s: cannot remove the directory: %s", path, strerror(errno));
    return TS_OK;
}
