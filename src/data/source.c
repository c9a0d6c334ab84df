/* SPDX-License-Identifier: Apache-2.0 */
#include "data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "comm/collectives.h"

struct TsSource {
    char *path; /* owned */
    int file;   /* open for reading, or -1 */
    size_t bytes;
};

static TsStatus open_file(TsSource *source)
{
    struct stat found;
    source->file =
        open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer is none to wait for */
    if (source->file < 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot be read: %s", source->path,
                               strerror(errno));
    if (fstat(source->file, &found) != 0)
        return ts_status_error(TS_CODE_IO, "%s: %s", source->path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: is %s: expected a text file", source->path,
                               S_ISDIR(found.st_mode) ? "a directory" : "not a regular file");
    if (found.st_size == 0)
        return ts_status_error(TS_CODE_INVALID, "%s: is empty: expected a text", source->path);
    source->bytes = (size_t)found.st_size;
    return TS_OK;
}

/* That this rank sees the file that rank 0 sees. Collective. */
static TsStatus compare_with_root(const TsSource *source, TsGroup *group)
{
    int64_t mine = (int64_t)source->bytes, root = 0;
    ts_broadcast(group,
                 (TsTransfer){.out = &root, .in = &mine, .count_elems = 1, .dtype = TS_I64, .label = "source file"}, 0);
    if (mine != root)
        return ts_status_error(TS_CODE_INVALID, "%s: has %lld bytes here, but rank 0 sees %lld: is it one file?",
                               source->path, (long long)mine, (long long)root);
    return TS_OK;
}

TsStatus ts_source_open_text(TsSource **source, TsGroup *group, const char *path)
{
    TsSource *opened = ts_calloc(1, sizeof *opened);
    opened->path = ts_strdup(path);
    TsStatus status = ts_comm_agree(group, open_file(opened));
    if (!status)
        status = ts_comm_agree(group, compare_with_root(opened, group));
    if (status)
        ts_source_free(&opened);
    else
        *source = opened;
    return status;
}

void ts_source_free(TsSource **source)
{
    if (!*source)
        return;
    if ((*source)->file >= 0)
        close((*source)->file);
    ts_free((*source)->path);
    ts_free(*source);
    *source = NULL;
}

const char *ts_source_path(const TsSource *source)
{
    return source->path;
}

size_t ts_source_bytes(const TsSource *source)
{
    return source->bytes;
}

void ts_source_read(const TsSource *source, char *text, size_t first, size_t bytes)
{
    TS_CHECK(first <= source->bytes && bytes <= source->bytes - first, "%s: bytes %zu to %zu of %zu", source->path,
             first, first + bytes, source->bytes);
    while (bytes > 0) {
        ssize_t got = pread(source->file, text, bytes, (off_t)first);
        if (got < 0 && errno == EINTR)
            continue;
        TS_CHECK(got >= 0, "%s: cannot be read any more: %s", source->path, strerror(errno));
        TS_CHECK(got > 0, "%s: has become shorter while it was read: byte %zu of %zu is gone", source->path, first,
                 source->bytes);
        text += got;
        first += (size_t)got;
        bytes -= (size_t)got;
    }
}
