/* SPDX-License-Identifier: Apache-2.0 */
#include "data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/collectives.h"

struct TsSource {
    char *path; /* owned */
    char *text; /* mapped, read only */
    size_t bytes;
};

static TsStatus map_open_file(TsSource *source, int file)
{
    struct stat found;
    if (fstat(file, &found) != 0)
        return ts_status_error(TS_CODE_IO, "%s: %s", source->path, strerror(errno));
    if (!S_ISREG(found.st_mode))
        return ts_status_error(TS_CODE_INVALID, "%s: is %s: expected a text file", source->path,
                               S_ISDIR(found.st_mode) ? "a directory" : "not a regular file");
    if (found.st_size == 0)
        return ts_status_error(TS_CODE_INVALID, "%s: is empty: expected a text", source->path);
    void *mapped = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        return ts_status_error(TS_CODE_IO, "%s: cannot be mapped into memory: %s", source->path, strerror(errno));
    source->text = mapped;
    source->bytes = (size_t)found.st_size;
    return TS_OK;
}

static TsStatus map_file(TsSource *source)
{
    int file = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return ts_status_error(errno == ENOENT ? TS_CODE_NOT_FOUND : TS_CODE_IO, "%s: cannot be read: %s", source->path,
                               strerror(errno));
    TsStatus status = map_open_file(source, file);
    close(file);
    return status;
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
    TsStatus status = ts_comm_agree(group, map_file(opened));
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
    if ((*source)->text)
        munmap((*source)->text, (*source)->bytes);
    ts_free((*source)->path);
    ts_free(*source);
    *source = NULL;
}

const char *ts_source_path(const TsSource *source)
{
    return source->path;
}

const char *ts_source_text(const TsSource *source)
{
    return source->text;
}

size_t ts_source_bytes(const TsSource *source)
{
    return source->bytes;
}
