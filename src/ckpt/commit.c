/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/commit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "ckpt/directory.h"
#include "ckpt/parts.h"

static const size_t commit_limit_bytes = (size_t)1 << 24, manifest_limit_bytes = (size_t)1 << 30;

TsStatus ts_commit_prepare(const char *root)
{
    TS_TRY(ts_file_make_directory(root));
    if (access(root, W_OK | X_OK) != 0)
        return ts_status_error(TS_CODE_IO, "%s: checkpoints cannot be written there: %s", root, strerror(errno));
    return TS_OK;
}

/* Removes what was left over; what is not ours is left alone, unless it is where `step` is to be written. */
static TsStatus remove_left_overs(const char *root, int64_t step)
{
    int64_t *steps, count;
    TS_TRY(ts_directory_list(&steps, &count, root, true));
    TsStatus status = TS_OK;
    for (int64_t i = 0; !status && i < count; i++) {
        char *path = ts_directory_tmp_path(root, steps[i]);
        status = ts_directory_remove(path);
        if (!status) {
            ts_log(TS_LOG_INFO, "%s: removed, left over from a save that was cut off", path);
        } else if (steps[i] != step) {
            ts_log(TS_LOG_WARNING, "%s; left alone", ts_status_message(status));
            ts_status_free(&status);
        }
        ts_free(path);
    }
    ts_free(steps);
    return status;
}

/* Fails where the final place of a step is taken by what no save of ours made. */
static TsStatus expect_place(const char *path)
{
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT ? TS_OK : ts_status_error(TS_CODE_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISDIR(found.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: is a file where a checkpoint is to be: move it elsewhere", path);
    return ts_directory_expect_ours(path);
}

static TsStatus expect_space(const char *root, int64_t needed_bytes)
{
    struct statvfs system;
    if (statvfs(root, &system) != 0 || system.f_blocks == 0) /* the file system does not tell */
        return TS_OK;
    double left_bytes = (double)system.f_bavail * (double)system.f_frsize;
    if (left_bytes < (double)needed_bytes)
        return ts_status_error(TS_CODE_RESOURCES,
                               "%s: too little space: a checkpoint needs %.1f MiB, %.1f MiB are left", root,
                               (double)needed_bytes / (1 << 20), left_bytes / (1 << 20));
    return TS_OK;
}

static TsStatus make_tmp(const char *tmp)
{
    if (mkdir(tmp, 0777) != 0)
        return ts_status_error(TS_CODE_IO, "%s: the directory cannot be made: %s", tmp, strerror(errno));
    return ts_directory_mark(tmp);
}

TsStatus ts_commit_begin(const char *root, int64_t step, int64_t needed_bytes)
{
    TS_TRY(ts_commit_prepare(root));
    TS_TRY(remove_left_overs(root, step));
    char *path = ts_directory_path(root, step), *tmp = ts_directory_tmp_path(root, step);
    TsStatus status = expect_place(path);
    if (!status)
        status = expect_space(root, needed_bytes);
    if (!status)
        status = make_tmp(tmp);
    ts_free(path);
    ts_free(tmp);
    return status;
}

static TsStatus file_bytes(int64_t *bytes, const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot be read: %s", path,
                               strerror(errno));
    *bytes = (int64_t)found.st_size;
    return TS_OK;
}

/* The name is synced too, before anything speaks of it. */
static TsStatus write_in(const char *dir, const char *name, const char *text, size_t text_bytes)
{
    char *path = ts_file_join(dir, name);
    TsStatus status = ts_file_write(path, text, text_bytes);
    ts_free(path);
    return status;
}

/* Appends "NAME 1048576 bytes". */
static TsStatus append_length(TsText *text, const char *dir, const char *name)
{
    char *path = ts_file_join(dir, name);
    int64_t bytes = 0;
    TsStatus status = file_bytes(&bytes, path);
    if (!status)
        ts_text_append(text, "%s %" PRId64 " bytes\n", name, bytes);
    ts_free(path);
    return status;
}

TsStatus ts_commit_measure(char **lengths, const char *tmp, int parts)
{
    TsText text = {0};
    TsStatus status = append_length(&text, tmp, TS_CHECKPOINT_STATE);
    for (int part = 0; part < parts && !status; part++) {
        char *name = ts_parts_file_name(part);
        status = append_length(&text, tmp, name);
        ts_free(name);
    }
    *lengths = status ? NULL : ts_strdup(text.data);
    ts_text_free(&text);
    return status;
}

/* Writes the manifest and, once all that it speaks of is on disk, COMMIT; then looks at what came of it. */
static TsStatus write_commit(const char *tmp, const char *manifest, size_t manifest_bytes, const char *lengths)
{
    TS_TRY(write_in(tmp, TS_CHECKPOINT_MANIFEST, manifest, manifest_bytes));
    char *text = ts_format("tessera checkpoint %d\n" TS_CHECKPOINT_MANIFEST " %zu bytes crc32c %08" PRIx32 "\n%s",
                           TS_CHECKPOINT_VERSION, manifest_bytes, ts_crc32c(0, manifest, manifest_bytes), lengths);
    TsStatus status = write_in(tmp, TS_CHECKPOINT_COMMIT, text, strlen(text));
    ts_free(text);
    char *back = NULL;
    size_t back_bytes = 0;
    if (!status)
        status = ts_commit_read(&back, &back_bytes, tmp);
    ts_free(back);
    return status;
}

/* Exchanges the names of two directories. A file system that cannot do that at once gets three renames; a crash between
 * them leaves both directories whole, under names that nothing removes. */
static bool exchange(const char *tmp, const char *path)
{
    if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
        return false;
    char *aside = ts_format("%s.replaced", path);
    bool done = rename(path, aside) == 0 && rename(tmp, path) == 0 && rename(aside, tmp) == 0;
    ts_free(aside);
    return done;
}

static TsStatus rename_into_place(const char *root, const char *tmp, const char *path)
{
    bool taken = ts_directory_exists(path);
    if (taken)
        TS_TRY(ts_directory_mark(path)); /* it will be the one to remove */
    if (!(taken ? exchange(tmp, path) : rename(tmp, path) == 0))
        return ts_status_error(TS_CODE_IO, "%s: cannot be renamed to %s: %s", tmp, path, strerror(errno));
    return ts_file_sync(root);
}

TsStatus ts_commit_finish(const char *root, int64_t step, const char *manifest, size_t manifest_bytes,
                          const char *lengths)
{
    char *path = ts_directory_path(root, step), *tmp = ts_directory_tmp_path(root, step);
    TsStatus status = write_commit(tmp, manifest, manifest_bytes, lengths);
    if (!status)
        status = rename_into_place(root, tmp, path);
    if (!status) {
        ts_directory_unmark(path);
        ts_commit_discard(root, step); /* what was replaced */
    }
    ts_free(path);
    ts_free(tmp);
    return status;
}

/* Removes a directory, or says why that cannot be. */
static void remove_or_warn(const char *path)
{
    TsStatus status = ts_directory_remove(path);
    if (status)
        ts_log(TS_LOG_WARNING, "%s", ts_status_message(status));
    ts_status_free(&status);
}

void ts_commit_discard(const char *root, int64_t step)
{
    char *tmp = ts_directory_tmp_path(root, step);
    if (ts_directory_exists(tmp))
        remove_or_warn(tmp);
    ts_free(tmp);
}

/* Takes its name away first, so that what a crash leaves of it is a left-over and not half a checkpoint. */
void ts_commit_remove(const char *root, int64_t step)
{
    char *path = ts_directory_path(root, step), *tmp = ts_directory_tmp_path(root, step);
    TsStatus status = ts_directory_expect_ours(path);
    if (!status)
        status = ts_directory_mark(path);
    if (!status && rename(path, tmp) != 0)
        status = ts_status_error(TS_CODE_IO, "%s: cannot be renamed to be removed: %s", path, strerror(errno));
    if (status)
        ts_log(TS_LOG_WARNING, "%s; not pruned", ts_status_message(status));
    else
        remove_or_warn(tmp);
    ts_status_free(&status);
    ts_free(path);
    ts_free(tmp);
}

/* What COMMIT says. */
typedef struct Commit {
    long long manifest_bytes;
    uint32_t manifest_crc;
    char *files; /* "state.h5 1048576 bytes\n…", owned */
} Commit;

static TsStatus parse_commit(Commit *commit, const char *text, const char *path)
{
    int version = 0, end = 0;
    if (sscanf(text, "tessera checkpoint %9d\n", &version) != 1)
        return ts_status_error(TS_CODE_INVALID, "%s: not a checkpoint of this program, by its " TS_CHECKPOINT_COMMIT,
                               path);
    if (version > TS_CHECKPOINT_VERSION)
        return ts_status_error(TS_CODE_UNSUPPORTED, "%s: of layout %d, newer than this program, which reads up to %d",
                               path, version, TS_CHECKPOINT_VERSION);
    if (sscanf(text, "tessera checkpoint %9d\n" TS_CHECKPOINT_MANIFEST " %18lld bytes crc32c %8" SCNx32 "%n", &version,
               &commit->manifest_bytes, &commit->manifest_crc, &end) != 3 ||
        strncmp(text + end, "\n" TS_CHECKPOINT_STATE " ", strlen("\n" TS_CHECKPOINT_STATE " ")) != 0)
        return ts_status_error(TS_CODE_CORRUPT, "%s: its " TS_CHECKPOINT_COMMIT " is damaged", path);
    commit->files = ts_strdup(text + end + 1);
    return TS_OK;
}

static TsStatus read_commit(Commit *commit, const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return ts_status_error(TS_CODE_NOT_FOUND, "%s: no checkpoint: %s", path, strerror(errno));
    if (!S_ISDIR(found.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: no checkpoint: it is a file, not a directory", path);
    if (!ts_directory_holds(path, TS_CHECKPOINT_COMMIT))
        return ts_status_error(TS_CODE_NOT_FOUND, "%s: not committed: it has no " TS_CHECKPOINT_COMMIT, path);
    char *file = ts_file_join(path, TS_CHECKPOINT_COMMIT), *text;
    size_t text_bytes;
    TsStatus status = ts_file_read(&text, &text_bytes, file, commit_limit_bytes);
    ts_free(file);
    if (!status) {
        status = parse_commit(commit, text, path);
        ts_free(text);
    }
    return status;
}

static TsStatus expect_bytes(const char *path, const char *name, long long expected)
{
    char *file = ts_file_join(path, name);
    int64_t bytes = 0;
    TsStatus status = file_bytes(&bytes, file);
    if (!status && bytes != expected)
        status =
            ts_status_error(TS_CODE_CORRUPT, "%s: has %lld bytes, should have %lld", file, (long long)bytes, expected);
    ts_free(file);
    return status;
}

/* That each file is as long as its line says. */
static TsStatus expect_files(const Commit *commit, const char *path)
{
    for (const char *line = commit->files; *line;) {
        char name[64];
        long long bytes;
        int end = 0;
        if (sscanf(line, "%63s %18lld bytes%n", name, &bytes, &end) != 2 || end == 0 || line[end] != '\n' ||
            (strcmp(name, TS_CHECKPOINT_STATE) != 0 && !ts_parts_is_file_name(name)))
            return ts_status_error(TS_CODE_CORRUPT, "%s: its " TS_CHECKPOINT_COMMIT " is damaged", path);
        TS_TRY(expect_bytes(path, name, bytes));
        line += end + 1;
    }
    return TS_OK;
}

TsStatus ts_commit_read(char **manifest, size_t *manifest_bytes, const char *path)
{
    Commit commit = {0};
    TS_TRY(read_commit(&commit, path));
    TsStatus whole = expect_files(&commit, path);
    ts_free(commit.files);
    TS_TRY(whole);
    char *file = ts_file_join(path, TS_CHECKPOINT_MANIFEST), *text = NULL;
    size_t bytes = 0;
    TsStatus status = ts_file_read(&text, &bytes, file, manifest_limit_bytes);
    if (!status && (bytes != (size_t)commit.manifest_bytes || ts_crc32c(0, text, bytes) != commit.manifest_crc))
        status = ts_status_error(TS_CODE_CORRUPT, "%s: does not match its checksum", file);
    ts_free(file);
    if (status) {
        ts_free(text);
        return status;
    }
    *manifest = text;
    *manifest_bytes = bytes;
    return TS_OK;
}
