/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static TsStatus failed(const char *path, const char *what)
{
    int error = errno;
    return ts_status_error(error == ENOENT   ? TS_CODE_NOT_FOUND
                           : error == ENOSPC ? TS_CODE_RESOURCES
                                             : TS_CODE_IO,
                           "%s: cannot %s: %s", path[0] ? path : "\"\"", what, strerror(error));
}

/* Reads to the end, or to one byte more than allowed. */
static TsStatus read_all(char **bytes, size_t *size_bytes, int file, size_t guess_bytes, const char *path,
                         size_t most_bytes)
{
    size_t capacity = (guess_bytes < most_bytes ? guess_bytes : most_bytes) + 1;
    char *data = ts_alloc(capacity + 1);
    size_t held = 0;
    for (;;) {
        if (held == capacity) {
            capacity = capacity < most_bytes / 2 ? 2 * capacity : most_bytes + 1;
            data = ts_realloc(data, capacity + 1);
        }
        ssize_t got = read(file, data + held, capacity - held);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            ts_free(data);
            return failed(path, "read");
        }
        held += (size_t)got;
        if (held > most_bytes) {
            ts_free(data);
            return ts_status_error(TS_CODE_INVALID, "%s: more than the %zu bytes that are allowed here", path,
                                   most_bytes);
        }
        if (got == 0)
            break;
    }
    data[held] = '\0';
    *bytes = data;
    *size_bytes = held;
    return TS_OK;
}

TsStatus ts_file_read(char **bytes, size_t *size_bytes, const char *path, size_t most_bytes)
{
    *bytes = NULL;
    *size_bytes = 0;
    if (most_bytes > SIZE_MAX / 4)
        most_bytes = SIZE_MAX / 4;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0)
        return failed(path, "open");
    TsStatus status = TS_OK;
    if (fstat(file, &info) != 0)
        status = failed(path, "read");
    else if (S_ISDIR(info.st_mode))
        status = ts_status_error(TS_CODE_INVALID, "%s: is a directory, expected a file", path);
    else if (S_ISREG(info.st_mode) && (uint64_t)info.st_size > most_bytes)
        status = ts_status_error(TS_CODE_INVALID, "%s: %lld bytes, more than the %zu that are allowed here", path,
                                 (long long)info.st_size, most_bytes);
    else
        status =
            read_all(bytes, size_bytes, file, S_ISREG(info.st_mode) ? (size_t)info.st_size : 4096, path, most_bytes);
    close(file);
    return status;
}

char *ts_file_join(const char *dir, const char *name)
{
    size_t length = strlen(dir);
    return ts_format("%s%s%s", dir, length && dir[length - 1] == '/' ? "" : "/", name);
}

char *ts_file_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ts_strdup(".");
    return ts_format("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

TsStatus ts_file_sync(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return failed(path, "open");
    /* some file systems cannot sync a directory, and say EINVAL: there is nothing more to do there */
    TsStatus status = fsync(file) != 0 && errno != EINVAL ? failed(path, "fsync") : TS_OK;
    close(file);
    return status;
}

static TsStatus sync_directory_of(const char *path)
{
    char *directory = ts_file_directory(path);
    TsStatus status = ts_file_sync(directory);
    ts_free(directory);
    return status;
}

TsStatus ts_file_rename(const char *from, const char *to)
{
    if (rename(from, to) != 0)
        return ts_status_annotate(failed(to, "rename to this name"), "%s", from);
    return sync_directory_of(to);
}

static TsStatus write_all(int file, const char *bytes, size_t size_bytes, const char *path)
{
    while (size_bytes > 0) {
        ssize_t put = write(file, bytes, size_bytes < (size_t)1 << 30 ? size_bytes : (size_t)1 << 30);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return failed(path, "write");
        bytes += put;
        size_bytes -= (size_t)put;
    }
    return fsync(file) != 0 ? failed(path, "fsync") : TS_OK;
}

TsStatus ts_file_write(const char *path, const void *bytes, size_t size_bytes)
{
    char *temporary = ts_format("%s.tmp.%ld", path, (long)getpid());
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    TsStatus status = file < 0 ? failed(path, "write") : write_all(file, bytes, size_bytes, path);
    if (file >= 0 && close(file) != 0 && !status)
        status = failed(path, "close");
    if (!status)
        status = ts_file_rename(temporary, path);
    if (status && file >= 0)
        unlink(temporary);
    ts_free(temporary);
    return status;
}

/* Who may make names in a directory may not always open it: then it cannot be synced. */
static TsStatus sync_where_made(const char *path)
{
    char *directory = ts_file_directory(path);
    TsStatus status = access(directory, R_OK) == 0 ? ts_file_sync(directory) : TS_OK;
    ts_free(directory);
    return status;
}

static TsStatus make_one_directory(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0)
        return sync_where_made(path);
    if (errno != EEXIST || stat(path, &info) != 0)
        return failed(path, "make the directory");
    return S_ISDIR(info.st_mode) ? TS_OK : ts_status_error(TS_CODE_IO, "%s: is a file, expected a directory", path);
}

TsStatus ts_file_make_directory(const char *path)
{
    char *part = ts_strdup(path);
    size_t bytes = strlen(part);
    TsStatus status = bytes ? TS_OK : make_one_directory(path);
    for (size_t end = 1; end <= bytes && !status; end++) {
        char kept = part[end];
        if (kept && kept != '/')
            continue;
        part[end] = '\0';
        status = make_one_directory(part);
        part[end] = kept;
    }
    ts_free(part);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

TsStatus ts_file_remove(const char *path)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return failed(path, "remove");
    return TS_OK;
}

bool ts_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
