/* SPDX-License-Identifier: Apache-2.0 */
#include "ckpt/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

char *ts_durable_join(const char *dir, const char *name)
{
    size_t length = strlen(dir);
    return ts_format("%s%s%s", dir, length && dir[length - 1] == '/' ? "" : "/", name);
}

static TsStatus system_error(const char *path, const char *what)
{
    int reason = errno;
    return ts_status_error(reason == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot %s: %s", path, what,
                           strerror(reason));
}

TsStatus ts_durable_sync(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return system_error(path, "open it to make it last");
    TsStatus status = fsync(file) == 0 ? TS_OK : system_error(path, "make it last");
    if (close(file) != 0 && !status)
        status = system_error(path, "close it");
    return status;
}

/* The directory that `path` is in; owned by the caller. */
static char *parent_of(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    while (end > 1 && path[end - 1] == '/')
        end--;
    return end == 0 ? ts_strdup(".") : ts_format("%.*s", (int)end, path);
}

static TsStatus make_in(const char *parent, const char *path)
{
    TS_TRY(ts_durable_make_directory(parent));
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return system_error(path, "make the directory");
    return ts_durable_sync(parent);
}

TsStatus ts_durable_make_directory(const char *path)
{
    struct stat found;
    if (stat(path, &found) == 0)
        return S_ISDIR(found.st_mode) ? TS_OK
                                      : ts_status_error(TS_CODE_INVALID, "%s: is a file: expected a directory", path);
    if (errno != ENOENT && errno != ENOTDIR)
        return system_error(path, "read it");
    char *parent = parent_of(path);
    TsStatus status = make_in(parent, path);
    ts_free(parent);
    return status;
}

static TsStatus write_all(int file, const char *path, const char *text, size_t text_bytes)
{
    while (text_bytes > 0) {
        ssize_t written = write(file, text, text_bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return system_error(path, "write it");
        text += written;
        text_bytes -= (size_t)written;
    }
    return fsync(file) == 0 ? TS_OK : system_error(path, "make it last");
}

TsStatus ts_durable_write(const char *path, const char *text, size_t text_bytes)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return system_error(path, "make the file");
    TsStatus status = write_all(file, path, text, text_bytes);
    if (close(file) != 0 && !status)
        status = system_error(path, "close it");
    return status;
}

static TsStatus read_open_file(char **text, size_t *text_bytes, int file, const char *path, size_t limit_bytes)
{
    struct stat found;
    if (fstat(file, &found) != 0)
        return system_error(path, "read it");
    if (!S_ISREG(found.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: is not a regular file", path);
    if ((size_t)found.st_size > limit_bytes)
        return ts_status_error(TS_CODE_CORRUPT, "%s: has %lld bytes, more than it can have", path,
                               (long long)found.st_size);
    char *read_text = ts_alloc((size_t)found.st_size + 1);
    size_t length = 0;
    while (length < (size_t)found.st_size) {
        ssize_t got = read(file, read_text + length, (size_t)found.st_size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            TsStatus status = system_error(path, "read it");
            ts_free(read_text);
            return status;
        }
        if (got == 0)
            break;
        length += (size_t)got;
    }
    read_text[length] = '\0';
    *text = read_text;
    *text_bytes = length;
    return TS_OK;
}

TsStatus ts_durable_read(char **text, size_t *text_bytes, const char *path, size_t limit_bytes)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return system_error(path, "read it");
    TsStatus status = read_open_file(text, text_bytes, file, path, limit_bytes);
    close(file);
    return status;
}
